"""A program and a kernel in; it is built and executed in front of the user, its exit code out."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Final, Literal

import msgspec

from kernel_runner.base import BaseRunner
from kernel_runner.cli.foreground import Foreground
from kernel_runner.client.kernel import Kernel
from kernel_runner.messages import commands, events
from kernel_runner.messages.options import Limits, StandardStream, TaskOptions, Terminal

RUN = "run"
QUIET_DEATHS: Final = (signal.SIGINT, signal.SIGPIPE)


class Program(msgspec.Struct, frozen=True):
    """What to run: files by their names here, or source text in `code`."""

    language: type[BaseRunner]
    sources: tuple[str, ...]
    code: bytes | None
    args: tuple[str, ...]
    limits: Limits
    runtime_path: Path | None


def hidden_name(program: Program) -> str:
    """A new name for a file with the program's source text."""
    return f".kernel-runner-{os.urandom(4).hex()}{next(iter(program.language.extensions), "")}"


async def build_and_execute(
    program: Program, sources: tuple[str, ...], kernel: Kernel, foreground: Foreground
) -> int:
    """Both steps, the second one if the first succeeds."""
    terminal = foreground.terminal
    options = TaskOptions(run=RUN, sources=sources)
    build = msgspec.structs.replace(
        options, stdin="none", tty=_only(terminal, "stderr") if terminal else False
    )
    execute = msgspec.structs.replace(
        options,
        stdin="stream",
        tty=terminal or False,
        args=program.args,
        limits=program.limits,
    )
    steps = [
        kernel.send(commands.Build("*", build)),
        kernel.send(commands.Execute("*", execute)),
    ]
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
    if message := finish.message or foreground.failure or _death(finish, foreground):
        foreground.tell(message)
    await foreground.flush()
    return finish.exit_code or int(foreground.failure is not None)


def _death(finish: events.Finished, foreground: Foreground) -> str | None:
    """What a shell says of a program that a signal has ended, in its terminal."""
    if finish.signal in (None, *QUIET_DEATHS) or not foreground.is_seen:
        return None
    return f"the program was ended by {signal.Signals(finish.signal).name}"


def _only(terminal: Terminal, stream: StandardStream) -> Terminal | Literal[False]:
    """The same terminal for one stream alone, if it is that stream's."""
    if stream not in terminal.streams:
        return False
    return msgspec.structs.replace(terminal, streams=(stream,))
