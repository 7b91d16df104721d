"""A command line in; its screen as text out, while keys are typed: a terminal with a person."""

import os
import re
import select
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import pexpect
import pyte

WAIT_SECONDS: Final = 30.0
"""Only a failure takes this long."""
KEYS: Final = {
    "enter": "\r",
    "tab": "\t",
    "escape": "\x1b",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "f1": "\x1bOP",
    "ctrl-a": "\x01",
    "ctrl-c": "\x03",
    "ctrl-d": "\x04",
}


class Terminal:
    """One program in a terminal of its own."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        rows: int = 40,
        columns: int = 100,
    ) -> None:
        self.raw = b""
        self._screen = _AnsweringScreen(columns, rows, lambda answer: self.type(answer))
        self._stream = pyte.ByteStream(self._screen)
        self.child = pexpect.spawn(
            argv[0],
            list(argv[1:]),
            cwd=str(cwd),
            env={**os.environ, "TERM": "xterm-256color", **env},
            dimensions=(rows, columns),
            timeout=WAIT_SECONDS,
        )
        self.child.delaybeforesend = None

    def close(self) -> None:
        """Hang up, and wait for the program: killed, it could not clean up."""
        if self.child.isalive():
            pidfd = os.pidfd_open(self.child.pid)
            self.hang_up()
            select.select([pidfd], [], [], WAIT_SECONDS)
            os.close(pidfd)
        self.child.close(force=True)

    def hang_up(self) -> None:
        """The terminal goes away, and nobody tells the program but the kernel."""
        self.child.ptyproc.fileobj.close()
        self.child.ptyproc.fileobj.close()
        self.child.ptyproc.closed = self.child.closed = True

    @property
    def text(self) -> str:
        """What is on the screen, without the empty lines at its end."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @property
    def cursor_line(self) -> str:
        return self._screen.display[self._screen.cursor.y].rstrip()

    def type(self, *words: str) -> None:
        """Text as it is, and keys by their names between angle brackets: ``<enter>``."""
        for word in words:
            name = word[1:-1] if word.startswith("<") and word.endswith(">") else ""
            self.child.send(KEYS.get(name, word))

    def line(self, text: str) -> None:
        self.type(text, "<enter>")

    def paste(self, text: str) -> None:
        """As a terminal does it that was asked to say what is pasted."""
        self.child.send(f"\x1b[200~{text}\x1b[201~")

    def resize(self, rows: int, columns: int) -> None:
        self._screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def until(self, pattern: str, *, seconds: float = WAIT_SECONDS) -> str:
        """Wait until a line of the screen matches; its text."""
        end = time.monotonic() + seconds
        while (found := re.search(pattern, self.text, re.MULTILINE)) is None:
            assert time.monotonic() < end, f"{pattern!r} is not on the screen:\n{self.text}"
            self._read()
        return found[0]

    def until_prompt(self, prompt: str) -> None:
        """Wait until the cursor stands behind an empty prompt."""
        end = time.monotonic() + WAIT_SECONDS
        while self.cursor_line != prompt:
            assert time.monotonic() < end, f"the cursor is not at {prompt!r}:\n{self.text}"
            self._read()

    def until_typed(self, text: str) -> None:
        """Wait until the cursor stands behind this text."""
        end = time.monotonic() + WAIT_SECONDS
        while not self.cursor_line.endswith(text):
            assert time.monotonic() < end, f"the cursor is not behind {text!r}:\n{self.text}"
            self._read()

    def until_end(self) -> int:
        """Wait until the program has ended: its exit code, 128+n for signal n."""
        end = time.monotonic() + WAIT_SECONDS
        while not self.child.eof():
            assert time.monotonic() < end, f"it has not ended:\n{self.text}"
            self._read()
        self.child.wait()
        if self.child.exitstatus is not None:
            return int(self.child.exitstatus)
        return 128 + int(self.child.signalstatus or 0)

    def _read(self) -> None:
        try:
            piece = self.child.read_nonblocking(65_536, timeout=0.2)
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            assert self.child.eof()
            return
        self.raw += piece
        self._stream.feed(piece)


class _AnsweringScreen(pyte.Screen):
    """Answers when it is asked where the cursor is, as terminals do."""

    def __init__(self, columns: int, rows: int, answer: Callable[[str], None]) -> None:
        super().__init__(columns, rows)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer(data)
