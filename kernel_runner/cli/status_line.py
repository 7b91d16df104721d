"""What we are busy with in; a line on the terminal that makes way for anything else out."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

SHOW_SECONDS: Final = 0.5
"""What takes no longer needs no words."""
ERASE: Final = b"\r\x1b[K"


class StatusLine:
    """Owned by whoever writes to the terminal; `write` puts bytes there."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._text = ""
        self._is_shown = False

    @contextmanager
    def showing(self, text: str) -> Iterator[None]:
        """Inside the block the line is there, from half a second on."""
        self._text = text
        timer = self._loop.call_later(SHOW_SECONDS, self._show)
        try:
            yield
        finally:
            timer.cancel()
            self.hide()

    def update(self, text: str) -> None:
        self._text = text
        if self._is_shown:
            self._show()

    def hide(self) -> None:
        """Make way for something else."""
        if self._is_shown:
            self._is_shown = False
            self._write(ERASE)

    def _show(self) -> None:
        self._is_shown = True
        self._write(ERASE + self._text.encode(errors="replace"))
