"""Where a runner is, as words, environment or file say; a question goes there, its answer back.

Nothing here opens a session, so all of it works while the runner's own client reads nothing.
"""

import argparse
import asyncio
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from kernel_runner import __version__, addresses
from kernel_runner.cli import detached, output
from kernel_runner.cli.key_option import add_key
from kernel_runner.client.errors import (
    ClientError,
    IncompatibleRunner,
    RequestRefused,
    RunnerUnreachable,
)
from kernel_runner.client.socket import ClientSocket
from kernel_runner.errors import UsageError
from kernel_runner.keys import read_client
from kernel_runner.messages import commands, events
from kernel_runner.messages.session_wire import Received

ANSWER_SECONDS: Final = 2.0
ADDRESS_VARIABLE: Final = "KERNEL_RUNNER_ADDRESS"
FILE_VARIABLE: Final = "KERNEL_RUNNER_ADDRESS_FILE"

Answer = TypeVar("Answer", bound=events.AnyEvent)
Heard: TypeAlias = "asyncio.Queue[Received | ClientError]"


def add_address(parser: argparse.ArgumentParser) -> None:
    """The words that say which runner is meant."""
    parser.add_argument(
        "address",
        nargs="?",
        metavar="ADDRESS",
        help="of the session dialect, as `serve` prints it: tcp://HOST:PORT, PORT or ipc://PATH, "
        "or the name of detached work; "
        f"without it --address-file, {ADDRESS_VARIABLE}, {FILE_VARIABLE}, the default of "
        "`serve`, or the only detached work",
    )
    parser.add_argument(
        "--address-file", metavar="FILE", help="the file that `serve --address-file` writes"
    )
    add_key(parser)


def address_of(options: argparse.Namespace) -> str:
    """The address that is meant.

    Raises:
        UsageError: there are two, or the file has none.
    """
    if options.address is not None and options.address_file is not None:
        raise UsageError("an address and --address-file: give one of them")
    if options.address is not None:
        return in_full(options.address)
    if options.address_file is not None:
        return _read_address(options.address_file)
    if address := os.environ.get(ADDRESS_VARIABLE):
        return in_full(address)
    if file := os.environ.get(FILE_VARIABLE):
        return _read_address(file)
    default = addresses.private_session(os.environ)
    if Path(default.removeprefix("ipc://")).exists() or not (works := detached.every()):
        return default
    return detached.only(works).address


def in_full(address: str) -> str:
    """The address that is meant: a port alone is one of this machine, a name detached work."""
    if (work := detached.find(address)) is not None:
        return work.address
    return addresses.in_full(address)


def check_text(words: Iterable[str]) -> None:
    """Raises `UsageError` where one cannot be sent: words on the wire are UTF-8."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{word!r} is not UTF-8, and can only be used here") from None


def _read_address(file: str) -> str:
    try:
        address = json.loads(Path(file).read_text(encoding="utf-8"))["session"]
    except OSError as error:
        advice = "; is the runner there, and was it started with --address-file?"
        raise UsageError(f"{file}: {error.strerror}{advice}") from error
    except (ValueError, LookupError, TypeError) as error:
        advice = "--address-file takes the file that `kernel-runner serve --address-file` writes"
        raise UsageError(f"{file}: no addresses of a runner; {advice}") from error
    if not isinstance(address, str):
        raise UsageError(f"{file}: the runner has no session address; start it with --session")
    return address


def ask(
    address: str, command: commands.Command, kind: type[Answer], *, key_file: Path | None
) -> Answer:
    """The answer of the runner at an address.

    Raises:
        BadKey: the key file cannot be used.
        KeyRefused: the runner lets nobody in with it, or without one.
        RunnerUnreachable: nobody answers in time.
        IncompatibleRunner: what answers cannot be understood.
        BadAddress: what was given is no address.
        RequestRefused: the runner would not do it.
    """
    return asyncio.run(_ask(address, command, kind, key_file))


async def _ask(
    address: str, command: commands.Command, kind: type[Answer], key_file: Path | None
) -> Answer:
    heard: Heard = asyncio.Queue()
    keys = None if key_file is None else read_client(key_file)
    socket = ClientSocket(address, heard.put_nowait, on_error=heard.put_nowait, keys=keys)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            socket.send(commands.GetStatus(), "version")
            status = await _status(heard, address)
            if status.runner_version != __version__:
                output.note(f"the runner is version {status.runner_version}, this is {__version__}")
            socket.send(command, "question")
            return await _answer(heard, "question", kind)
    except TimeoutError as error:
        raise RunnerUnreachable(address, ANSWER_SECONDS, await socket.why_silent()) from error
    finally:
        socket.close()


async def _status(heard: Heard, address: str) -> events.Status:
    """What every runner of our protocol can tell, of whatever version it is."""
    try:
        return await _answer(heard, "version", events.Status)
    except RequestRefused as refused:
        raise IncompatibleRunner(address, refused.message) from refused


async def _answer(heard: Heard, request_id: str, kind: type[Answer]) -> Answer:
    while True:
        match await heard.get():
            case ClientError() as error:
                raise error
            case Received(event=events.Refused() as refused, id=name) if name == request_id:
                raise RequestRefused(refused.code, refused.message, refused.hint)
            case Received(event=event, id=name) if name == request_id and isinstance(event, kind):
                return event
