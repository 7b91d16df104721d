"""Processes that run and resource limits come in; the limits hold for them until they are restored.

Only the soft ones: a hard limit that was lowered could not be raised again.
"""

from __future__ import annotations

import resource

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAGE_BYTES = resource.getpagesize()


class SoftLimits:
    """What was lowered, and what it was before."""

    def __init__(self) -> None:
        self._before: list[tuple[int, int, tuple[int, int]]] = []

    def lower(self, pids: Iterable[int], limits: Mapping[int, int]) -> None:
        """Of RLIMIT_DATA each gets so much beyond what it has; who has ended is passed over."""
        for pid in pids:
            for which, value in limits.items():
                more = _data_bytes(pid) if which == resource.RLIMIT_DATA else 0
                self._set(pid, which, value + more)

    def restore(self) -> None:
        """Each has again what it had."""
        while self._before:
            pid, which, before = self._before.pop()
            try:
                resource.prlimit(pid, which, before)
            except (OSError, ValueError):  # it has ended, or has become another user
                continue

    def _set(self, pid: int, which: int, value: int) -> None:
        try:
            soft, hard = resource.prlimit(pid, which)
            if hard != resource.RLIM_INFINITY:
                value = min(value, hard)
            resource.prlimit(pid, which, (value, hard))
        except (OSError, ValueError):
            return
        self._before.append((pid, which, (soft, hard)))


def _data_bytes(pid: int) -> int:
    """What counts for RLIMIT_DATA of it now."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:  # noqa: PTH123  pathlib would cost 10 ms
            return int(file.read().split()[5]) * PAGE_BYTES
    except OSError:
        return 0
