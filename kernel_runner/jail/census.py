"""The process above a tree comes in; whether the tree may grow goes out, without much counting.

The numbers only rise, by each process and thread that is allowed.  At the limit they are set
right; who asks meanwhile waits until that may be done again, so that a bomb costs little.
"""

from __future__ import annotations

import time

from kernel_runner.jail import tree

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from typing import Final

ROOMY_SHARE: Final = 10
FULL_SHARE: Final = 50
"""Counting takes at most one part in so many of the time."""

FULL_SECONDS: Final = 0.01


class Census:
    """The processes and threads below `root`, at most.

    Attributes:
        due_at: when they may be counted again.
    """

    def __init__(self, root: int, most_processes: int | None, most_threads: int | None) -> None:
        self._root = root
        self._most_processes = most_processes
        self._most_threads = most_threads
        self._processes = self._threads = 1
        self.due_at = 0.0

    def has_room(self, *, for_thread: bool) -> bool:
        if self._most_threads is not None and self._threads >= self._most_threads:
            return False
        if for_thread or self._most_processes is None:
            return True
        return self._processes < self._most_processes

    def add(self, *, thread: bool) -> None:
        self._threads += 1
        self._processes += not thread

    def count(self) -> None:
        """Set the numbers right."""
        start = time.monotonic()
        # the quick way may miss some in a tree that changes, and must not be used for more of them
        found = tree.quick_count(self._root)
        if found is None or not self._is_roomy(*found):
            threads = [one for one, _ in tree.below(self._root).values()]
            found = len(threads), sum(threads)
        self._processes, self._threads = found
        seconds = time.monotonic() - start
        if self._is_roomy(*found):
            self.due_at = start + ROOMY_SHARE * seconds
        else:
            self.due_at = start + max(FULL_SECONDS, FULL_SHARE * seconds)

    def _is_roomy(self, processes: int, threads: int) -> bool:
        """Whether half of what is allowed is free."""
        return (self._most_processes is None or 2 * processes <= self._most_processes) and (
            self._most_threads is None or 2 * threads <= self._most_threads
        )
