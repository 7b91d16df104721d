"""A tree of processes and what it may use in; what it took, and which limits it went beyond, out.

All of it is read from /proc, or from a cgroup where the tree has one.  Processor time that is
hidden in children is found twice over: in what their parents waited for, and in what each process
had when it was seen last.
"""

from __future__ import annotations

import os
import time

from kernel_runner import process_tree

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final, TypeAlias

    from kernel_runner.cgroup import Cgroup
    from kernel_runner.process_tree import Process

    Limits: TypeAlias = Mapping[str, float]

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
PROCESSORS: Final = os.cpu_count() or 1
FASTEST_GROWTH: Final = 4e9
"""Bytes of memory a second that a program can touch."""
SHORTEST_PAUSE_SECONDS: Final = 0.005
LONGEST_PAUSE_SECONDS: Final = 0.1
PROCESSES_PAUSE_SECONDS: Final = 0.02
UNLIMITED_PAUSE_SECONDS: Final = 1.0
SHARE: Final = 5
"""A look may cost at most one part in so many of the time."""


class Meter:
    """Measures what is below `root` from now on.

    Args:
        program: what `root` has started; one of both leads the session.
        limits: `cpu_s`, `memory_bytes` and `processes`, which counts threads, too.
        reaped_seconds: the processor time of those that `root` has waited for.
        growth: of a tree that was there before only what it takes from now on counts.
    """

    def __init__(
        self,
        root: int,
        program: int,
        limits: Limits,
        cgroup: Cgroup | None = None,
        *,
        reaped_seconds: float = 0.0,
        growth: bool = False,
    ) -> None:
        self.limits = limits
        self.passed: list[str] = []
        self.peak_bytes = 0
        self.present: frozenset[int] = frozenset()
        self.sessions = (root, program)
        self._root = root
        self._cgroup = cgroup
        self._waited_seconds = self._seen_seconds = self._gone_seconds = 0.0
        self._last_seen: dict[tuple[int, bytes], float] = {}
        self._tasks = 0
        self._pause_seconds = LONGEST_PAUSE_SECONDS
        self._base_waited = self._base_seen = 0.0
        self._base_bytes = self._base_tasks = 0
        self.look_at = time.monotonic()
        if growth:
            self.present = frozenset(self._measure(reaped_seconds))
            self._base_waited, self._base_seen = self._waited_seconds, self._seen_seconds
            self._base_bytes, self._base_tasks = self.peak_bytes, self._tasks
        self._plan(0.0)

    @property
    def cpu_seconds(self) -> float:
        """What all processes of the tree took, those that have ended with them."""
        waited = self._waited_seconds - self._base_waited
        return max(waited, self._seen_seconds - self._base_seen)

    def look(self, reaped_seconds: float) -> list[str]:
        """Measure; the limits that are passed now and were not before."""
        began = time.thread_time()
        self._measure(reaped_seconds)
        self._plan(time.thread_time() - began)
        return self._newly_passed(self.peak_bytes - self._base_bytes)

    def end(self, reaped_seconds: float, largest_bytes: int, floor_bytes: int) -> list[str]:
        """None is left: `largest_bytes` had the largest one; the limits that only show now.

        Args:
            floor_bytes: what each had before it was the program.
        """
        self._waited_seconds = max(self._waited_seconds, reaped_seconds)
        peak = self.peak_bytes
        self.peak_bytes = max(peak, largest_bytes)
        if self._cgroup is not None:
            self._waited_seconds = max(self._waited_seconds, self._cgroup.cpu_seconds())
            self.peak_bytes = max(self.peak_bytes, self._cgroup.peak_bytes())
            if "memory_bytes" in self.limits and self._cgroup.was_out_of_memory():
                peak = self.peak_bytes = max(self.peak_bytes, int(self.limits["memory_bytes"]) + 1)
        self._tasks = 0
        return self._newly_passed(max(peak, largest_bytes if largest_bytes > floor_bytes else 0))

    def refused(self) -> list[str]:
        """The limits that made calls fail, as far as they can be known."""
        return ["processes"] if self._cgroup is not None and self._cgroup.refused_forks() else []

    def _newly_passed(self, taken_bytes: int) -> list[str]:
        used = {
            "cpu_s": self.cpu_seconds,
            "memory_bytes": taken_bytes,
            "processes": self._tasks - self._base_tasks,
        }
        unlimited = float("inf")
        fresh = [
            name
            for name, amount in used.items()
            if amount > self.limits.get(name, unlimited) and name not in self.passed
        ]
        self.passed += fresh
        return fresh

    def _measure(self, reaped_seconds: float) -> list[int]:
        cgroup = self._cgroup
        tasks = 0
        if cgroup is None:
            processes = process_tree.descendants(self._root, sessions=self.sessions)
        else:
            # where the kernel counts them it refuses more
            tasks = 0 if "pids" in cgroup.controllers else cgroup.tasks()
            processes = cgroup.processes()
        self._tasks = tasks if cgroup is not None else sum(one.threads for one in processes)
        waited = reaped_seconds + sum(one.cpu_ticks for one in processes) / TICKS_PER_SECOND
        if cgroup is not None:
            waited = cgroup.cpu_seconds()
        self._waited_seconds = max(self._waited_seconds, waited)
        self._see(processes)
        self.peak_bytes = max(self.peak_bytes, memory_of(processes, self.peak_bytes))
        return [one.pid for one in processes]

    def _see(self, processes: list[Process]) -> None:
        """Whoever has gone keeps what it had when it was seen last."""
        now = {(one.pid, one.start_ticks): one.own_ticks / TICKS_PER_SECOND for one in processes}
        self._gone_seconds += sum(
            seconds for key, seconds in self._last_seen.items() if key not in now
        )
        self._last_seen = now
        self._seen_seconds = max(self._seen_seconds, self._gone_seconds + sum(now.values()))

    def _plan(self, cost_seconds: float) -> None:
        """The next look comes before a limit can be passed by much."""
        if not self.limits:
            pause = self._pause_seconds
            self._pause_seconds = min(2 * pause, UNLIMITED_PAUSE_SECONDS)
        else:
            pause = LONGEST_PAUSE_SECONDS
            if "cpu_s" in self.limits:
                pause = min(pause, (self.limits["cpu_s"] - self.cpu_seconds) / PROCESSORS)
            if "memory_bytes" in self.limits:
                left = self.limits["memory_bytes"] - self.peak_bytes + self._base_bytes
                pause = min(pause, left / FASTEST_GROWTH)
            if "processes" in self.limits:
                pause = min(pause, PROCESSES_PAUSE_SECONDS)
        pause = max(pause, SHORTEST_PAUSE_SECONDS, SHARE * cost_seconds)
        self.look_at = time.monotonic() + pause


def go_before_others() -> None:
    """Else a program with a thousand processes is not stopped before it has ten thousand."""
    try:
        first = os.sched_param(1)
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, first)
    except OSError:  # only root may
        return


def memory_of(processes: list[Process], known_bytes: int) -> int:
    """What they have together; pages in common are counted once, where that can matter."""
    resident = sum(one.resident_pages for one in processes) * PAGE_BYTES
    if resident <= known_bytes or len(processes) < 2:
        return resident
    # twice: who forks while the shares are read is counted with its child's share, too
    return min(sum(_share_of(one) for one in processes) for _ in range(2))


def _share_of(process: Process) -> int:
    try:
        fd = os.open(f"/proc/{process.pid}/smaps_rollup", os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:  # another user's
        return process.resident_pages * PAGE_BYTES
    except OSError:  # it has ended
        return 0
    try:
        text = os.read(fd, 4096)
    except OSError:
        return 0
    finally:
        os.close(fd)
    for line in text.splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return 0
