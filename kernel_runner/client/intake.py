"""What arrives for replies and what is taken from them in; whether more is let in out.

Events that nobody takes stay in memory, so there is an end to it: the link is paused, and the
runner keeps what follows until its own memory and disk for it are full and the program waits.  But
an answer may stand behind them, that of another request or the rest of the same one.  So whoever
waits for an event that has not come opens the link until it is there.  A second connection for
answers would not do in its place: the end of a later request is behind those events as well.
"""

from collections.abc import Callable
from typing import Final, Protocol
from weakref import WeakSet

MAX_UNREAD_BYTES: Final = 64 << 20


class Holder(Protocol):
    """A reply, as it is seen here."""

    unread_bytes: int


class Intake:
    """The one link of many replies; `pause` and `resume` are those of the link."""

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self.max_unread_bytes = MAX_UNREAD_BYTES
        self._pause, self._resume = pause, resume
        self._holders: WeakSet[Holder] = WeakSet()  # a reply that nobody has any more holds nothing
        self._bytes = self._waiting = 0
        self._is_held = self._is_full = False
        self._is_open = True

    @property
    def unread_bytes(self) -> int:
        return sum(holder.unread_bytes for holder in self._holders)

    def hold(self) -> None:
        """Let nothing in until `let_go`, whoever waits."""
        self._is_held = True
        self._decide()

    def let_go(self) -> None:
        self._is_held = False
        self._decide()

    def add(self, holder: Holder, size_bytes: int) -> None:
        """Something has arrived for this reply."""
        if holder.unread_bytes == 0:
            self._holders.add(holder)
        holder.unread_bytes += size_bytes
        self._bytes += size_bytes
        if self._bytes > self.max_unread_bytes:
            self._bytes = self.unread_bytes  # some of them may be gone
        self._decide()

    def take(self, holder: Holder, size_bytes: int) -> None:
        """It was taken."""
        holder.unread_bytes -= size_bytes
        self._bytes -= size_bytes
        if holder.unread_bytes == 0:
            self._holders.discard(holder)
        self._decide()

    def want(self) -> None:
        """Somebody waits for an event that has not come; each time `unwant` follows."""
        self._waiting += 1
        self._decide()

    def unwant(self) -> None:
        """It has come, or is not waited for any more."""
        self._waiting -= 1
        self._decide()

    def _decide(self) -> None:
        if self._bytes > self.max_unread_bytes:
            self._is_full = True
        elif self._bytes <= self.max_unread_bytes // 2:  # not with each event
            self._is_full = False
        is_open = not self._is_held and (self._waiting > 0 or not self._is_full)
        if is_open != self._is_open:
            self._is_open = is_open
            (self._resume if is_open else self._pause)()
