"""A program and a kernel in; it is built and executed in front of the user, its exit code out."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from kernel_runner.base import BaseRunner
from kernel_runner.cli import USAGE_ERROR
from kernel_runner.cli.foreground import Foreground
from kernel_runner.client.kernel import Kernel
from kernel_runner.errors import NEVER_RAN, Reason, UsageError
from kernel_runner.messages import commands, events
from kernel_runner.messages.options import Limits, StandardStream, TaskOptions, Terminal

RUN = "run"
Tty: TypeAlias = Terminal | Literal[False] | None
REFUSED: Final[Mapping[Reason, int]] = {
    "bad-request": USAGE_ERROR,
    "queue-full": USAGE_ERROR,
    "cancelled": 128 + signal.SIGINT,
}
"""Our exit code where the runner did not run it for one of these reasons."""
QUIET_DEATHS: Final = (signal.SIGINT, signal.SIGPIPE)
FAULTS: Final = (
    *(signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS),
    *(signal.SIGTRAP, signal.SIGXCPU, signal.SIGXFSZ, signal.SIGKILL),
)
"""Deaths that nobody has asked for by a signal to us: told in a pipe and a file as well."""


class Program(msgspec.Struct, frozen=True):
    """What to run: files by their names here, or source text in `code`."""

    language: type[BaseRunner]
    sources: tuple[str, ...]
    code: bytes | None
    args: tuple[str, ...]
    limits: Limits
    runtime_path: Path | None
    jail: str | None = None
    """The policy of the jail that it is put into where it runs here."""


def hidden_name(program: Program) -> str:
    """A new name for a file with the program's source text."""
    ending = next(iter(program.language.extensions), "")
    return f".kernel-runner-{os.urandom(4).hex()}{ending}"


def write_hidden(
    program: Program, remove_at_end: Callable[[Path], None], elsewhere: Callable[[], Path]
) -> Path:
    """A file with its source text: in the current folder, beside the modules that it may import.

    Args:
        elsewhere: the folder for it where the current one takes no new file.

    Raises:
        UsageError: that one takes none either.
    """
    assert program.code is not None, "it has source text"
    name = hidden_name(program)
    try:
        return _write(Path.cwd() / name, program.code, remove_at_end)
    except OSError:  # permissions do not tell: /proc says that it can be written to
        try:
            return _write(elsewhere() / name, program.code, remove_at_end)
        except OSError as error:
            text = f"the code cannot be written to a file: {error.strerror}"
            raise UsageError(f"{text}; does TMPDIR name a folder with room?") from error


def _write(file: Path, content: bytes, remove_at_end: Callable[[Path], None]) -> Path:
    remove_at_end(file)
    try:
        file.write_bytes(content)
    except OSError:
        with suppress(OSError):
            file.unlink()
        raise
    return file


async def build_and_execute(
    program: Program, sources: tuple[str, ...], kernel: Kernel, foreground: Foreground
) -> int:
    """Both steps, the second one if the first succeeds."""
    terminal = foreground.terminal
    build_tty = _only(terminal, "stderr") if terminal else False
    requests = requests_of(program, sources, build_tty=build_tty, tty=terminal or False)
    steps = [kernel.send(request) for request in requests]
    try:
        with foreground.status.showing("building ..."):
            finish = await foreground.follow(steps[0], stdout_fd=2)
        if finish.exit_code == 0:
            finish = await foreground.follow(steps[1], takes_input=True)
    except asyncio.CancelledError:
        if foreground.feeds_stdin:  # a runner that goes on without us; one of our own ends with us
            for step in reversed(steps):
                kernel.send(commands.Cancel(step.id))
        raise
    return await exit_code_of(finish, foreground)


def requests_of(
    program: Program, sources: tuple[str, ...], *, build_tty: Tty, tty: Tty
) -> tuple[commands.Build, commands.Execute]:
    """What is asked of a runner: to build the program, and to execute it with the user's input."""
    options = TaskOptions(run=RUN, sources=sources)
    build = msgspec.structs.replace(options, stdin="none", tty=build_tty)
    execute = msgspec.structs.replace(
        options, stdin="stream", tty=tty, args=program.args, limits=program.limits
    )
    return commands.Build("*", build), commands.Execute("*", execute)


async def exit_code_of(finish: events.Finished, foreground: Foreground) -> int:
    """Ours, once all is written; beside what the program printed it is told why it ended."""
    message = finish.message or foreground.failure or _death(finish, foreground)
    exit_code = finish.exit_code or int(foreground.failure is not None)
    if exit_code == NEVER_RAN and finish.reason in REFUSED:
        exit_code = REFUSED[finish.reason]
        message = f"nothing was run: {message}"
    if message:
        foreground.tell(message)
    await foreground.flush()
    return exit_code


def _death(finish: events.Finished, foreground: Foreground) -> str | None:
    """What a shell says of a program that a signal has ended."""
    if finish.signal in (None, *QUIET_DEATHS):
        return None
    if finish.signal not in FAULTS and not foreground.is_seen:
        return None
    return f"the program was ended by {signal.Signals(finish.signal).name}"


def _only(terminal: Terminal, stream: StandardStream) -> Terminal | Literal[False]:
    """The same terminal for one stream alone, if it is that stream's."""
    if stream not in terminal.streams:
        return False
    return msgspec.structs.replace(terminal, streams=(stream,))
