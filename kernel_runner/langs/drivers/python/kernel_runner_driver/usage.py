"""What a cell cost, as the keys of its `done`."""

from __future__ import annotations

from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage


class Usage:
    """CPU time of the interpreter and of its waited-for children during one cell."""

    def __init__(self) -> None:
        self._children = getrusage(RUSAGE_CHILDREN)
        self._own = getrusage(RUSAGE_SELF)

    def begin(self) -> None:
        self._own = getrusage(RUSAGE_SELF)

    def spent(self) -> bytes:
        own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
        seconds = own[0] + own[1] - self._own[0] - self._own[1]
        seconds += children[0] + children[1] - self._children[0] - self._children[1]
        self._children = children
        return b"cpu_us=%d rss_kib=%d" % (seconds * 1_000_000, own[2])
