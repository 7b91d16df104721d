"""A program in, run by a runner in this process; its exit code out."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from kernel_runner.base import BaseRunner
from kernel_runner.cli.foreground import Ended, Foreground
from kernel_runner.cli.local import local_kernel
from kernel_runner.cli.standard_streams import terminal_of_program
from kernel_runner.client.kernel import Kernel
from kernel_runner.errors import UsageError
from kernel_runner.launcher import Launcher
from kernel_runner.messages import commands
from kernel_runner.messages.options import Limits, StandardStream, TaskOptions, Terminal

RUN = "run"


class Program(msgspec.Struct, frozen=True):
    """What to run: files by their names here, or source text in `code`."""

    language: type[BaseRunner]
    sources: tuple[str, ...]
    code: bytes | None
    args: tuple[str, ...]
    wall_s: float | None
    runtime_path: Path | None


def run_here(program: Program, control: socket.socket, *, watch: bool) -> int:
    """Run it in the current folder; nothing is left of it when this returns.

    Args:
        control: leads to a guardian, which ends with it.
        watch: run it again whenever one of its sources changes, until Ctrl-C.
    """
    launcher = Launcher(control)
    try:
        if watch:
            from kernel_runner.cli.watch import run_at_changes

            return asyncio.run(run_at_changes(lambda: _run(program, launcher), program.sources))
        return asyncio.run(_run(program, launcher))
    except Ended as ended:
        return ended.exit_code
    finally:
        control.close()
        os.wait()  # the guardian, which leaves when all that was started has ended


async def _run(program: Program, launcher: Launcher) -> int:
    with _source_files(program, launcher) as sources:
        terminal = terminal_of_program()
        takes_keys = terminal is not None and "stdin" in terminal.streams
        async with local_kernel(
            program.language,
            launcher,
            work_dir=Path.cwd(),
            stdin_fd=None if takes_keys else 0,
            runtime_path=program.runtime_path,
        ) as (kernel, link):
            foreground = Foreground(kernel, link, terminal)
            with foreground.attached():
                return await _build_and_execute(program, sources, kernel, foreground)


async def _build_and_execute(
    program: Program, sources: tuple[str, ...], kernel: Kernel, foreground: Foreground
) -> int:
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
        limits=Limits(wall_s=program.wall_s),
    )
    steps = [
        kernel.send(commands.Build("*", build)),
        kernel.send(commands.Execute("*", execute)),
    ]
    for step, stdout_fd in zip(steps, (2, 1), strict=True):
        finish = await foreground.follow(step, stdout_fd=stdout_fd)
        if finish.message:
            foreground.tell(finish.message)
        if finish.exit_code:
            break
    await foreground.flush()
    return finish.exit_code


def _only(terminal: Terminal, stream: StandardStream) -> Terminal | Literal[False]:
    """The same terminal for one stream alone, if it is that stream's."""
    if stream not in terminal.streams:
        return False
    return msgspec.structs.replace(terminal, streams=(stream,))


@contextmanager
def _source_files(program: Program, launcher: Launcher) -> Iterator[tuple[str, ...]]:
    """The names of the sources; source text becomes a hidden file of the current folder.

    There it finds its neighbours: modules, headers.
    """
    if program.code is None:
        yield program.sources
        return
    ending = program.language.extensions[0]
    file = Path.cwd() / f".kernel-runner-{os.urandom(4).hex()}{ending}"
    launcher.remove_at_end(file)
    try:
        file.write_bytes(program.code)
        yield (str(file),)
    except OSError as error:
        raise UsageError(f"{file.parent}: {error.strerror}; the code is written there") from error
    finally:
        file.unlink(missing_ok=True)
