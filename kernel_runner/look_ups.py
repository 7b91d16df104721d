"""Commands that do not wait in line but take time in, their answers out: code and files."""

import asyncio
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias, assert_never
from weakref import WeakValueDictionary

from kernel_runner.base import BaseRunner
from kernel_runner.errors import SEE_THE_LOG, KernelRunnerError, Refusal, WorkspaceError
from kernel_runner.hooks import attempt
from kernel_runner.messages import commands, events
from kernel_runner.messages.request import Peer, Request
from kernel_runner.outbox import Outbox
from kernel_runner.workspace import Workspace, part_of

if TYPE_CHECKING:
    from hashlib import _Hash

LookUp: TypeAlias = commands.LookUp | commands.FileCommand

MAX_WAITING_BYTES: Final = 256 << 20
"""What may wait to be written, of all clients."""
HASH_BYTES: Final = 4 << 20
"""Read in one turn: when the runner stops nobody waits for more than that."""


class LookUps:
    """Answers each command; those about files, for one connection, one at a time in their order."""

    def __init__(self, runner: BaseRunner, outbox: Outbox) -> None:
        self._runner = runner
        self._outbox = outbox
        self._waiting_bytes = 0
        self._turns: WeakValueDictionary[Peer, asyncio.Lock] = WeakValueDictionary()

    async def answer(self, command: LookUp, request: Request) -> None:
        try:
            answer = await self._in_turn(command, request.peer)
        except Refusal as error:
            answer = events.Refused(command.op, error.code, str(error), error.hint)
        except KernelRunnerError as error:
            answer = events.Refused(command.op, "failed", str(error), SEE_THE_LOG)
        self._outbox.answer(request.peer, answer, request.id)

    async def _in_turn(self, command: LookUp, peer: Peer) -> events.AnyEvent:
        if not isinstance(command, commands.Upload | commands.Download | commands.ListFiles):
            return await self._look_up(command)
        size = len(command.data) if isinstance(command, commands.Upload) else 0
        if self._waiting_bytes and self._waiting_bytes + size > MAX_WAITING_BYTES:
            text = f"{self._waiting_bytes} bytes wait to be written already"
            raise WorkspaceError("busy", command.path, text, "wait for answers before you send on")
        turn = self._turns.setdefault(peer, asyncio.Lock())
        self._waiting_bytes += size
        try:
            async with turn:
                await self._outbox.room(peer)  # who does not read what it asked for waits
                return await attempt(_transfer(self._runner.workspace, command), command.op)
        finally:
            self._waiting_bytes -= size

    async def _look_up(self, command: commands.LookUp) -> events.AnyEvent:
        runner = self._runner
        match command:
            case commands.Complete():
                return events.Completion(list(await attempt(runner.complete(command), command.op)))
            case commands.Inspect():
                return events.Inspection(await attempt(runner.inspect(command), command.op))
            case commands.IsComplete(code=code):
                return await attempt(runner.is_complete(code), command.op)
            case _:
                assert_never(command)


async def _transfer(files: Workspace, command: commands.FileCommand) -> events.AnyEvent:
    match command:
        case commands.Upload(offset=0, final=True):
            await _upload_whole(files, command)
            return events.Ok()
        case commands.Upload():
            return await _upload_piece(files, command)
        case commands.Download(path=path, offset=offset, length=length, digest=wants_digest):
            data, size = await asyncio.to_thread(files.read, path, offset, length)
            digest = None
            if wants_digest:
                digest, size = await _digest(files, path)
            return events.File(path, data, offset, size, digest)
        case commands.ListFiles(path=path):
            return events.Files(path, await asyncio.to_thread(files.entries, path))
        case _:
            assert_never(command)


async def _upload_whole(files: Workspace, upload: commands.Upload) -> None:
    path, data = upload.path, upload.data
    if upload.sha256 is not None:
        import hashlib  # late, as below: a start does not need it

        hashed = await asyncio.to_thread(hashlib.sha256, data)
        _check(path, hashed.hexdigest(), upload.sha256)
    await asyncio.to_thread(files.write, path, data, executable=upload.executable)


async def _upload_piece(files: Workspace, upload: commands.Upload) -> events.AnyEvent:
    path, data, offset = upload.path, upload.data, upload.offset
    if upload.sha256 is None:
        text = "a file in several pieces has to say its digest with each of them"
        raise WorkspaceError("bad-request", path, text, "give `sha256`, that of the whole file")
    hidden, leaf = part_of(path, upload.sha256)
    try:
        size = await asyncio.to_thread(
            files.write_part, hidden, data, offset=offset, executable=upload.executable
        )
    except WorkspaceError as error:
        has_ended = error.code == "bad-offset" and upload.final
        if has_ended and await _is_there(files, upload, offset + len(data)):
            return events.Ok()  # its answer did not arrive, so it was sent again
        raise
    if not upload.final:
        return events.Part(path, size)
    digest, _ = await _digest(files, hidden)
    try:
        _check(path, digest, upload.sha256)
        await asyncio.to_thread(files.rename, hidden, leaf)
    except WorkspaceError:
        await asyncio.to_thread(files.remove, hidden)
        raise
    return events.Ok()


async def _is_there(files: Workspace, upload: commands.Upload, size: int) -> bool:
    try:
        file, found = await asyncio.to_thread(files.open, upload.path)
    except WorkspaceError:
        return False
    with file:
        return found == size and await _digest_of(file, size) == upload.sha256


async def _digest(files: Workspace, name: str) -> tuple[str, int]:
    """The digest of a file as long as it is now, and its size."""
    file, size = await asyncio.to_thread(files.open, name)
    with file:
        return await _digest_of(file, size), size


async def _digest_of(file: BinaryIO, size: int) -> str:
    import hashlib

    hashed, left = hashlib.sha256(), size
    while left and (count := await asyncio.to_thread(_feed, hashed, file, min(left, HASH_BYTES))):
        left -= count
    return hashed.hexdigest()


def _feed(hashed: "_Hash", file: BinaryIO, size: int) -> int:
    data = file.read(size)
    hashed.update(data)
    return len(data)


def _check(path: str, found: str, wanted: str) -> None:
    if found != wanted:
        text = f"what has arrived has the digest {found}, not {wanted}; it was not kept"
        raise WorkspaceError("bad-digest", path, text, "send it again from its beginning")
