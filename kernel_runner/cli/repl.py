"""`repl`: cells typed at a prompt in; what they print out, with the state kept in between."""

import argparse
import asyncio
import errno
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel_runner import __version__, langs
from kernel_runner.cli.folders import current_folder
from kernel_runner.cli.key_option import add_key, key_file_of
from kernel_runner.cli.remote import ANSWER_SECONDS, in_full
from kernel_runner.cli.repl_cell import Cell, RunnerSilent
from kernel_runner.cli.repl_commands import CommandError, Commands, Quit, Restart, is_command
from kernel_runner.cli.repl_commands import names as command_names
from kernel_runner.cli.repl_screen import Screen
from kernel_runner.client import (
    ClientError,
    Kernel,
    RunnerDied,
    RunnerUnreachable,
    connect,
    launch,
)
from kernel_runner.errors import ConfigError, KernelRunnerError
from kernel_runner.messages import events
from kernel_runner.messages.session_wire import Received

if TYPE_CHECKING:
    from kernel_runner.cli.repl_input import CellPrompt

EXAMPLES: Final = """\
examples:
  kernel-runner repl python                 a prompt for Python, in the current folder
  kernel-runner repl shell --work-dir /srv  the same for the shell, in another folder
  kernel-runner repl --connect tcp://127.0.0.1:2010
                                            a prompt for a runner that is there
  echo 'print(6 * 7)' | kernel-runner repl python
                                            without a terminal: all of the input is one cell

At the prompt :help lists the commands, Ctrl-C interrupts and Ctrl-D ends.  Standard input that is
no terminal is run as one cell, cut at lines with a command such as :upload; the exit code is 1 if
the last cell failed, 2 if the runner of --connect is gone.
Python, the shell and other interpreters keep what is defined from cell to cell.  Of a compiled
language, such as C, each cell is a program of its own; `kernel-runner langs` tells which is which.
"""
FAILED: Final = 1
LEAVING: Final = ("exit", "exit()", "quit", "quit()")
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("language", nargs="?", metavar="LANG", help="such as python, c or shell")
    parser.add_argument("--connect", metavar="ADDRESS", help="use a runner that is there")
    add_key(parser)
    parser.add_argument(
        "--work-dir", metavar="FOLDER", type=Path, help="where the files are (the current folder)"
    )


def run(options: argparse.Namespace) -> int:
    """Read, run and show cells until their end.

    Raises:
        UnknownLanguage: nothing was started.
        ConfigError: the options do not go together.
        ClientError: the runner cannot be reached, or no longer.
    """
    _check(options)
    session = Session(options)
    try:
        with asyncio.Runner() as runner:
            return runner.run(_main(session))
    except asyncio.CancelledError:
        if not session.stopped_by:
            raise
        return 128 + session.stopped_by  # everything has been ended
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        return 128 + signal.SIGHUP  # whoever read what we print has left


def _check(options: argparse.Namespace) -> None:
    if options.connect is None and options.key is not None:
        raise ConfigError(["--key: only for a runner that is there, with --connect"])
    if options.connect is None:
        options.language = langs.load(options.language or "").name
    elif options.work_dir is not None:
        raise ConfigError(["--work-dir: only for a runner that is started here, not --connect"])
    if options.work_dir is not None and not options.work_dir.is_dir():
        raise ConfigError([f"--work-dir: {options.work_dir}: no such folder"])
    if options.connect is None:
        options.work_dir = (options.work_dir or current_folder()).resolve()
    if _in_terminal():
        import importlib.util

        for package in ("prompt_toolkit", "pygments"):
            if importlib.util.find_spec(package) is None:
                raise ConfigError(["the prompt is not installed: pip install 'kernel-runner[cli]'"])


def _in_terminal() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


async def _main(session: "Session") -> int:
    session.stop_on_signals()
    while True:
        async with session.opened() as kernel:
            if (exit_code := await session.use(kernel)) is not None:
                return exit_code


class Session:
    """One prompt, over all runners that it has one after the other."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._in_terminal = _in_terminal()
        self._screen = Screen(os.environ, in_terminal=self._in_terminal)
        self._prompt: CellPrompt | None = None
        self._ready: asyncio.Future[Kernel]
        self._gone: asyncio.Future[ClientError]
        self._first_line: asyncio.Task[str] | None = None
        self._late: set[asyncio.Task[None]] = set()
        self.stopped_by = 0

    def stop_on_signals(self) -> None:
        """The first one cancels this task; a terminal that closes may send it twice.

        Ctrl-C is one of them until the first line is used: nothing could be lost before.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None, "called by a task"

        def stop(number: int) -> None:
            self.stopped_by = number
            for one in STOP_SIGNALS:
                loop.add_signal_handler(one, lambda: None)
            task.cancel()

        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, stop, number)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Kernel]:
        """A runner of our own or somebody else's; one can type while it starts."""
        loop = asyncio.get_running_loop()
        self._ready, self._gone = loop.create_future(), loop.create_future()
        first = self._first_line = asyncio.create_task(self._read_first(), name="first line")
        try:
            async with self._kernel() as kernel:
                self._check_language(kernel)
                kernel.on_other = self._show_late
                if self._options.connect is not None:
                    kernel.reconnect_seconds = ANSWER_SECONDS  # a person looks at the prompt
                kernel.on_failure = self._gone.set_result
                self._ready.set_result(kernel)
                yield kernel
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    def _kernel(self) -> AbstractAsyncContextManager[Kernel]:
        if self._options.connect is not None:
            keys = key_file_of(self._options)
            address = in_full(self._options.connect)
            return connect(address, key_file=keys, timeout_seconds=ANSWER_SECONDS)
        return launch(self._options.language, work_dir=self._options.work_dir)

    def _check_language(self, kernel: Kernel) -> None:
        asked, actual = self._options.language, _language(kernel)
        if self._options.connect is not None and asked not in (None, actual):
            raise ConfigError([f"{kernel.address} runs {actual}, not {asked}"])

    async def _read_first(self) -> str:
        """Its first step, which loads much, comes after the runner's process was started."""
        if not self._in_terminal:
            return ""
        if self._prompt is None:
            if self._options.connect is None:
                language = self._options.language
            else:
                language = _language(await self._ready)
            self._prompt = _prompt(language)
            await self._screen.tell(f"{language}, kernel-runner {__version__}; :help, Ctrl-D ends")
        return await self._prompt.read(self._ready)

    async def use(self, kernel: Kernel) -> int | None:
        """Until the end of the cells: the exit code, or None when a new runner is wanted."""
        if not self._in_terminal:
            return await self._run_input(kernel)
        commands = self._commands(kernel)
        while True:
            try:
                await self._act(kernel, commands, await self._line())
            except (EOFError, Quit):
                return 0
            except Restart:
                await self._screen.tell("a new runner is started; what was defined is lost")
                return None
            except (RunnerDied, RunnerSilent, RunnerUnreachable) as error:
                if self._options.connect is not None:
                    raise
                lost = "a new one is started, what was defined is lost"
                await self._screen.tell(f"{error}; {lost}")
                return None
            except (ClientError, CommandError) as error:
                await self._screen.tell(str(error))

    async def _line(self) -> str:
        """The next line; raises `ClientError` when the runner is gone before there is one."""
        reading, self._first_line = self._first_line, None
        if reading is None:
            assert self._prompt is not None, "the first line was read at it"
            reading = asyncio.create_task(self._prompt.read(self._ready), name="line")
        try:
            either: set[asyncio.Future[str] | asyncio.Future[ClientError]] = {reading, self._gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise self._gone.result()
            return reading.result()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)  # the terminal is as it was

    async def _act(self, kernel: Kernel, commands: Commands, text: str) -> None:
        if text.strip() in LEAVING:
            raise Quit
        if is_command(text):
            await commands.carry_out(text.strip())
        elif text.startswith("?"):
            await self._inspect(kernel, text[1:].strip())
        elif text.strip():
            await self._run_cell(kernel, text)

    async def _inspect(self, kernel: Kernel, name: str) -> None:
        from kernel_runner.cli.repl_input import inspected

        for line in (await inspected(kernel, name)).splitlines():
            await self._screen.tell(line)

    async def _run_cell(self, kernel: Kernel, code: str) -> events.Finished:
        finish = await Cell(kernel, self._screen, code).run()
        if finish.message:
            await self._screen.tell(finish.message)
        elif finish.signal is not None:
            await self._screen.tell(f"ended by {signal.Signals(finish.signal).name}")
        elif finish.exit_code != 0 and finish.reason == "completed" and self._in_terminal:
            await self._screen.tell(f"exit code {finish.exit_code}")
        return finish

    async def _run_input(self, kernel: Kernel) -> int:
        """All of standard input, without prompts; 1 if the last cell failed."""
        text = await asyncio.to_thread(sys.stdin.buffer.read) if sys.stdin is not None else b""
        commands = self._commands(kernel)
        exit_code = 0
        for cell in _cells(text.decode(errors="replace")):
            try:
                if is_command(cell):
                    await commands.carry_out(cell.strip())
                    exit_code = 0
                else:
                    exit_code = int((await self._run_cell(kernel, cell)).exit_code != 0)
            except Quit:
                return exit_code
            except (RunnerDied, RunnerUnreachable):
                raise  # what is left of the input has nobody to run it
            except (ClientError, CommandError) as error:
                await self._screen.tell(f"kernel-runner: {error}")
                exit_code = FAILED
        return exit_code

    def _commands(self, kernel: Kernel) -> Commands:
        async def run_cell(code: str) -> None:
            await self._run_cell(kernel, code)

        own = self._options.connect is None and self._in_terminal
        return Commands(kernel, self._screen, run_cell, can_restart=own)

    def _show_late(self, received: Received) -> None:
        """What a thread or a background program prints after its cell has ended."""
        if isinstance(received.event, events.Output):
            task = asyncio.create_task(self._screen.output(received.event), name="late output")
            self._late.add(task)
            task.add_done_callback(self._late.discard)


def _language(kernel: Kernel) -> str:
    assert kernel.welcome is not None, "it has said hello"
    return kernel.welcome.language


def _prompt(language: str) -> "CellPrompt":
    from kernel_runner.cli.repl_input import CellPrompt

    try:
        endings = langs.load(language).extensions
    except KernelRunnerError:  # a language of the other machine's
        endings = ()
    return CellPrompt(language, endings[0] if endings else "", command_names(), os.environ)


def _cells(text: str) -> Iterator[str]:
    """Lines with a command each by itself, and all that is between two of them together."""
    for is_ours, lines in itertools.groupby(text.splitlines(keepends=True), is_command):
        if is_ours:
            yield from lines
        elif (cell := "".join(lines)).strip():
            yield cell
