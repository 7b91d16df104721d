"""What a cell prints comes in; the terminal or the pipes outside show it.

While a prompt is open, text is written above it.
"""

import codecs
import os
import re
import shutil
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kernel_runner.cli import media
from kernel_runner.messages import events

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
RED, DIM, PLAIN = "\x1b[31m", "\x1b[2m", "\x1b[0m"
COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
LONGEST_LINE: Final = 4_096
"""More of an unfinished line is not remembered: no prompt is that long."""


class Screen:
    """Standard output and standard error of the command.

    Args:
        in_terminal: a person reads it.
    """

    def __init__(self, environ: Mapping[str, str], *, in_terminal: bool) -> None:
        self._environ = environ
        self.in_terminal = in_terminal
        has_colours = "NO_COLOR" not in environ and environ.get("TERM", "dumb") != "dumb"
        self.coloured = has_colours and os.isatty(STDERR)
        self._terminal: media.TerminalKind | None = None
        self._decoders = {name: _decoder() for name in ("stdout", "stderr")}
        self._line = ""

    @contextmanager
    def without_echo(self) -> Iterator[None]:
        """What is typed in the block is kept, unseen, for the next prompt; Ctrl-C is a signal."""
        if not self.in_terminal:
            yield
            return
        before = termios.tcgetattr(STDIN)
        quiet = termios.tcgetattr(STDIN)
        quiet[0] &= ~termios.ICRNL
        quiet[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(STDIN, termios.TCSANOW, quiet)
        try:
            yield
        finally:
            termios.tcsetattr(STDIN, termios.TCSANOW, before)

    async def output(self, event: events.Output) -> None:
        """A piece of what the program prints, as it is; a cut character waits for its rest."""
        if not self.in_terminal:
            _write(STDOUT if event.type == "stdout" else STDERR, event.data)
            return
        text = self._decoders[event.type].decode(event.data)
        self._line = (self._line + text).rpartition("\n")[2][-LONGEST_LINE:]
        if event.type == "stdout":
            await self._above_prompt(lambda: _write(STDOUT, text.encode()))
        else:
            await self._above_prompt(lambda: _write(STDERR, self._in_red(text).encode()))

    async def show(self, shown: events.Media) -> None:
        """A picture is drawn or saved in the current folder."""
        if self._terminal is None:
            # the first picture: only now the terminal is asked
            self._terminal = media.terminal_kind(self._environ, STDIN, STDOUT)
        data = media.show(shown, self._terminal, Path())
        self.fresh_line()
        await self._above_prompt(lambda: _write(STDOUT, data))

    async def tell(self, text: str) -> None:
        """A line of ours: to standard error where no person reads."""
        line = media.printable(text)
        if self.coloured:
            line = f"{DIM}{line}{PLAIN}"
        self.fresh_line()
        await self._above_prompt(lambda: _write(STDERR, f"{line}\n".encode(errors="replace")))

    def fresh_line(self) -> None:
        """End a line that the program has not ended."""
        if self.in_terminal and self._line:
            _write(STDOUT, b"\n")
        self._line = ""

    def take_line(self) -> str:
        """What the program has printed as its question; the cursor is before it then.

        Empty, on a new line, when it is too long or moves the cursor.
        """
        question = self._line.rpartition("\r")[2]
        letters = COLOUR.sub("", question)
        from prompt_toolkit.utils import get_cwidth

        fits = get_cwidth(letters) < shutil.get_terminal_size().columns
        if not fits or media.printable(letters) != letters:
            self.fresh_line()
            return ""
        self._line = ""
        _write(STDOUT, b"\r")
        return question

    def _in_red(self, text: str) -> str:
        return f"{RED}{text}{PLAIN}" if self.coloured and text else text

    async def _above_prompt(self, write: Callable[[], None]) -> None:
        if self.in_terminal:
            from prompt_toolkit.application import get_app_or_none, run_in_terminal

            if (app := get_app_or_none()) is not None and app.is_running:

                def write_lines() -> None:
                    write()
                    self.fresh_line()

                await run_in_terminal(write_lines)
                return
        write()


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
