"""Files of this side in, files of the work directory out, and the other way round."""

import asyncio
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import BinaryIO, Final

import msgspec

from kernel_runner.client import files as local_files
from kernel_runner.client.connection import Connection
from kernel_runner.client.errors import IncompatibleRunner, RequestRefused, TransferBroken
from kernel_runner.client.files import Content, OnProgress, Progress
from kernel_runner.messages import commands, events

PIECE_BYTES: Final = 4 << 20
"""A larger file goes in pieces of this size, or of what the runner takes if that is less."""
MAX_RESTARTS: Final = 5
"""How often an upload is begun again when the part of it that was there is gone."""


class Transfers(Connection):
    """The work directory, as the client sees it."""

    async def upload(
        self,
        path: str | PurePath,
        content: Content,
        *,
        executable: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Write a file of the work directory, and the folders that lead to it.

        It is there as a whole or not at all.  A large one goes in pieces; one that was cut off goes
        on where it ended when the same content is uploaded again.

        Args:
            path: its name there, below the work directory.
            content: text, bytes, or a `Path` of this side.  A folder is sent with all that it
                holds; of folders that hold nothing nothing is seen on the other side.
            executable: whether it can be run; files of this side say so themselves.
            on_progress: called each time when a file, or a piece of one, has arrived.

        Raises:
            RequestRefused: the path leads out of the work directory, or cannot be written.
            LocalFileError: a file on this side cannot be read.

        Example:
            ```python
            await kernel.upload("data/numbers.txt", "1 2 3")
            result = await kernel.query("print(open('data/numbers.txt').read())").result()
            print(result.stdout.strip())  # 1 2 3
            ```
        """
        sending = local_files.outgoing({path: content})
        if executable:
            sending = [msgspec.structs.replace(file, executable=True) for file in sending]
        await self._upload(sending, on_progress)

    async def _upload(
        self, sending: Sequence[local_files.Outgoing], on_progress: OnProgress | None
    ) -> None:
        progress = _Reporter(sum(file.size_bytes for file in sending), on_progress)
        for file in sending:
            with file.opened() as opened:
                await self._send(file, opened, progress)

    async def _send(
        self, file: local_files.Outgoing, opened: BinaryIO, progress: "_Reporter"
    ) -> None:
        """Send one file: in one message, or in pieces from where an earlier upload has ended."""
        digest = await asyncio.to_thread(local_files.digest_of, opened)
        whole = commands.Upload(file.path, b"", file.executable, sha256=digest)
        there = 0
        if file.size_bytes > self._piece_bytes:
            there = await self._size_there(whole)
        for _ in range(MAX_RESTARTS):
            try:
                await self._send_rest(whole, opened, there, file.size_bytes, progress)
                return
            except RequestRefused as refused:
                if refused.code != "bad-offset":  # what was there was removed meanwhile
                    raise
            there = await self._size_there(whole)
        raise TransferBroken(file.path, "what has arrived there is removed again and again")

    async def _send_rest(
        self,
        whole: commands.Upload,
        opened: BinaryIO,
        start: int,
        size: int,
        progress: "_Reporter",
    ) -> None:
        progress.jump(start)
        offset, is_final = start, False
        opened.seek(start)
        while not is_final:
            data = await asyncio.to_thread(opened.read, self._piece_bytes)
            is_final = offset + len(data) >= size or not data
            piece = msgspec.structs.replace(whole, data=data, offset=offset, final=is_final)
            if is_final:
                await self._ask(piece, events.Ok)
            else:
                await self._ask(piece, events.Part)
            offset += len(data)
            progress.add(whole.path, len(data))
        progress.end_file()

    async def _size_there(self, whole: commands.Upload) -> int:
        return (await self._ask(msgspec.structs.replace(whole, final=False), events.Part)).size

    @property
    def _piece_bytes(self) -> int:
        allowed = self.welcome.max_body_bytes if self.welcome is not None else PIECE_BYTES
        return min(PIECE_BYTES, allowed)

    async def download(self, path: str) -> bytes:
        """The content of a file of the work directory.

        Raises:
            RequestRefused: there is no such file.
            TransferBroken: it was changed while it came.

        Example:
            ```python
            await kernel.query("open('made', 'w').write('by the code')").result()
            print(await kernel.download("made"))  # b'by the code'
            ```
        """
        return await self._fetch(path, None, _Reporter(0, None))

    async def download_to(
        self, path: str, local: Path | str, *, on_progress: OnProgress | None = None
    ) -> None:
        """Save a file of the work directory, or a folder with all that it holds, on this side.

        What is neither a file nor a folder, such as a link, is left out of a folder.  A file gets
        its name once it is there as a whole; one that was cut off goes on where it ended when it is
        downloaded again.

        Args:
            on_progress: called each time when a file, or a piece of one, has arrived.

        Raises:
            RequestRefused: there is no such file.
            LocalFileError: it cannot be written here.
            TransferBroken: a file was changed while it came.

        Example:
            ```python
            import tempfile
            from pathlib import Path

            await kernel.upload("plots/first.svg", "<svg/>")
            with tempfile.TemporaryDirectory() as folder:
                await kernel.download_to("plots", folder)
                print(Path(folder, "first.svg").read_text())  # <svg/>
            ```
        """
        found = await self._files_below(path, Path(local))
        progress = _Reporter(sum(size for _, _, size in found), on_progress)
        for name, target, _ in found:
            await self._fetch(name, target, progress)

    async def _fetch(self, path: str, target: Path | None, progress: "_Reporter") -> bytes:
        """Receive one file, piece by piece; its content if there is no `target`."""
        first = await self._ask(commands.Download(path, 0, self._piece_bytes, True), events.File)
        if first.sha256 is None:
            raise IncompatibleRunner(self.address, "a file came without its digest")
        incoming = await asyncio.to_thread(local_files.Incoming, target, first.sha256)
        try:
            progress.jump(incoming.size_bytes)
            data = first.data[: first.size] if incoming.size_bytes == 0 else b""
            while data or incoming.size_bytes < first.size:
                if not data:
                    data = await self._piece(path, incoming.size_bytes, first.size)
                await asyncio.to_thread(incoming.append, data)
                progress.add(path, len(data))
                data = b""
            if not await asyncio.to_thread(incoming.finish):
                raise TransferBroken(path, "it was changed while it was downloaded")
            if first.size == 0:
                progress.add(path, 0)
            progress.end_file()
            return incoming.content() if target is None else b""
        finally:
            incoming.close()

    async def _piece(self, path: str, offset: int, size: int) -> bytes:
        length = min(self._piece_bytes, size - offset)
        data = (await self._ask(commands.Download(path, offset, length), events.File)).data
        if not data:
            raise TransferBroken(path, "it became shorter while it was downloaded")
        return data[:length]

    async def _files_below(self, path: str, local: Path) -> list[tuple[str, Path, int]]:
        """Each file: its name there, where it goes here, and its size in bytes."""
        try:
            entries = await self.list_files(path)
        except RequestRefused as refused:
            if refused.code != "file-error":  # what is no folder is a file
                raise
            size = (await self._ask(commands.Download(path, 0, 0), events.File)).size
            return [(path, local, size)]
        found: list[tuple[str, Path, int]] = []
        for entry in entries:
            if not local_files.is_plain(entry.name):  # a runner need not be trusted with ours
                continue
            name, target = f"{path}/{entry.name}", local / entry.name
            if entry.kind == "folder":
                found += await self._files_below(name, target)
            elif entry.kind == "file":
                found.append((name, target, entry.size))
        return found

    async def list_files(self, path: str = ".") -> Sequence[events.FileEntry]:
        """What one folder of the work directory holds.

        Raises:
            RequestRefused: there is no such folder.

        Example:
            ```python
            await kernel.upload("folder/a.txt", "a")
            print([entry.name for entry in await kernel.list_files("folder")])  # ['a.txt']
            ```
        """
        return (await self._ask(commands.ListFiles(path), events.Files)).entries


class _Reporter:
    """Adds up what has arrived of several files."""

    def __init__(self, total_bytes: int, on_progress: OnProgress | None) -> None:
        self._total = total_bytes
        self._ended = self._current = 0
        self._on_progress = on_progress

    def jump(self, size: int) -> None:
        """So much of the current file is there."""
        self._current = size

    def add(self, path: str, size: int) -> None:
        self._current += size
        if self._on_progress is not None:
            self._on_progress(Progress(path, self._ended + self._current, self._total))

    def end_file(self) -> None:
        self._ended, self._current = self._ended + self._current, 0
