"""Reads of the user's input: `waiting` out, a line of descriptor 0 in."""

from __future__ import annotations

import builtins
import io
import os
import sys
from fcntl import ioctl

from kernel_runner_driver.streams import FIONREAD, NOTHING

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from kernel_runner_driver.interrupts import Interrupts
    from kernel_runner_driver.streams import Output


class Asking:
    """`input`, `getpass` and sys.stdin."""

    def __init__(self, output: Output, interrupts: Interrupts) -> None:
        self._output = output
        self._descriptor = os.dup(0)
        self._stdin: io.TextIOWrapper | None = None
        self._file: _Input | None = None
        self.question: bytes | None = None
        interrupts.allow_in(_Input.readinto.__code__)
        builtins.input = self.input

    def install(self) -> None:
        """A sys.stdin that holds nothing of what an earlier cell left unread."""
        os.dup2(self._descriptor, 0)
        self.question = None
        if self._stdin is None or self._file is None or self._file.was_used or self._file.closed:
            self._file = _Input(self)
            self._stdin = io.TextIOWrapper(
                io.BufferedReader(self._file), encoding="utf-8", errors="surrogateescape"
            )
        sys.stdin = sys.__stdin__ = self._stdin

    def input(self, prompt: object = "", /) -> str:
        """Read a line; the prompt is printed first."""
        return self._ask(str(prompt), b"waiting 0 password=0\n")

    def getpass(self, prompt: str = "Password: ", stream: object = None, **_options: object) -> str:
        """Read a line that should not be shown."""
        return self._ask(prompt, b"waiting 0 password=1\n")

    def _ask(self, prompt: str, question: bytes) -> str:
        if sys.stdout is not None:
            sys.stdout.write(prompt)
            sys.stdout.flush()
        if sys.stdin is None:
            raise RuntimeError("input(): lost sys.stdin")
        self._output.flush()
        self.question = question
        try:
            line = sys.stdin.readline()
        finally:
            self.question = None
        if not line:
            raise EOFError("the input has ended")
        return line[:-1] if line.endswith("\n") else line

    def before_read(self) -> None:
        """Say that the driver is about to wait, when `input` or `getpass` is."""
        output = self._output
        if output.is_child:
            return
        output.flush()
        question, self.question = self.question, None
        if question is not None and not _holds_unread():
            output.wire.post(question)
            output.wire.flush()


def _holds_unread() -> bool:
    try:
        return ioctl(0, FIONREAD, NOTHING) != NOTHING
    except OSError:  # /dev/null, for one, cannot tell
        return False


class _Input(io.FileIO):
    """Descriptor 0; nothing is read ahead of what the user asks for."""

    def __init__(self, asking: Asking) -> None:
        super().__init__(0, "r", closefd=False)
        self._asking = asking
        self.was_used = False

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self.was_used = True
        self._asking.before_read()
        return super().readinto(buffer)
