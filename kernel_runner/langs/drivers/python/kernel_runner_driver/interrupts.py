"""SIGINT in, KeyboardInterrupt out: in the user's code only, never inside the driver's."""

from __future__ import annotations

import _signal
import os
from _thread import get_ident

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from types import CodeType

FOLDER = os.path.dirname(os.path.abspath(__file__))
SIGINT = _signal.SIGINT


class Interrupts:
    """Decides where an interrupt may be raised by looking at the frame that it met.

    A flag that driver code raises and lowers has gaps; the interrupted frame has none.
    """

    def __init__(self) -> None:
        self.is_running = False
        self.is_pending = False
        self.main_thread = get_ident()
        self._interruptible: set[object] = set()
        self._handler = self._on_signal  # one object, to be recognised later
        self.install()

    def install(self) -> None:
        """SIGINT is ours again, whatever a cell did with it."""
        if _signal.getsignal(SIGINT) is not self._handler:
            _signal.signal(SIGINT, self._handler)

    def allow_in(self, code: CodeType) -> None:
        """This code of the driver only waits, and may be interrupted."""
        self._interruptible.add(code)

    def _on_signal(self, number: int, frame: object) -> None:
        if not self.is_running:
            return
        code = getattr(frame, "f_code", None)
        if (
            code is not None
            and code.co_filename.startswith(FOLDER)
            and code not in self._interruptible
        ):
            self.is_pending = True
            return
        self.is_pending = False
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise an interrupt that was held back, at the end of a section of the driver."""
        if self.is_pending and self.is_running and get_ident() == self.main_thread:
            self.is_pending = False
            raise KeyboardInterrupt

    def retry(self) -> None:
        """Send an interrupt once more that was held back and not raised since."""
        if self.is_pending and self.is_running:
            _signal.pthread_kill(self.main_thread, SIGINT)

    def start(self) -> None:
        self.is_pending = False
        self.is_running = True

    def stop(self) -> None:
        self.is_running = False
        self.is_pending = False
