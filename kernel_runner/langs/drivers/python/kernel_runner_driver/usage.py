"""What a cell cost, as the keys of its `done`."""

from __future__ import annotations

import os
from contextlib import suppress
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage


class Usage:
    """CPU time of the interpreter and of its waited-for children, and its memory, in one cell."""

    def __init__(self) -> None:
        self._children = getrusage(RUSAGE_CHILDREN)
        self._own = getrusage(RUSAGE_SELF)
        self._is_jailed = _is_jailed()

    def begin(self) -> None:
        if not self._is_jailed:
            _reset_peak()
        self._own = getrusage(RUSAGE_SELF)

    def spent(self) -> bytes:
        own, children = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
        seconds = own[0] + own[1] - self._own[0] - self._own[1]
        seconds += children[0] + children[1] - self._children[0] - self._children[1]
        self._children = children
        return b"cpu_us=%d rss_kib=%d" % (seconds * 1_000_000, own[2])


def _is_jailed() -> bool:
    """Whether we may be in a jail: it would tell of each write below /proc."""
    try:
        with open("/proc/self/status", "rb") as file:
            status = file.read()
    except OSError:
        return True
    return b"NoNewPrivs:\t1" in status and b"Seccomp:\t2" in status


def _reset_peak() -> None:
    """What was resident before does not count; where /proc does not let us, the peak stays."""
    with suppress(OSError):
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"5")
        finally:
            os.close(descriptor)
