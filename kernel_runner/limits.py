"""What a task may use: a request's limits in, those that hold out; its clock, its output's cut."""

import asyncio
import resource
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from kernel_runner.launcher import Budget
from kernel_runner.limit_words import above, amount
from kernel_runner.messages.events import StreamName
from kernel_runner.messages.options import NUMBERS, Limits

MAX_TAIL_BYTES: Final = 1 << 20
"""Of output beyond its limit, the end that is kept; at most half of the limit."""
BACKSTOP_BYTES: Final = 256 << 20
"""What a process may ask for beyond twice its memory limit: it is not all touched."""
LARGEST_RLIMIT: Final = (1 << 62) - 1
WATCHED: Final = ("cpu_s", "memory_bytes", "processes")

Pieces: TypeAlias = Sequence[tuple[StreamName, bytes]]


class Allowance(msgspec.Struct, frozen=True):
    """What requests get that say nothing, and the most that they may ask for."""

    default: Limits = Limits()
    ceiling: Limits = Limits()

    def limits_of(self, requested: Limits) -> Limits:
        """Those that hold for a request; what neither says is as the ceiling."""
        if self == UNLIMITED:
            return requested
        fields = {
            name: _first(*(getattr(one, name) for one in (requested, self.default, self.ceiling)))
            for name in Limits.__struct_fields__
        }
        return msgspec.convert(fields, Limits)

    def problem_of(self, requested: Limits) -> str | None:
        """Why a request cannot have the limits that it asks for."""
        for name in NUMBERS:
            value = getattr(requested, name)
            if value is not None and not value > 0:
                hint = "leave it out for what the runner gives"
                return f"limits.{name} has to be above 0, not {value:g}; {hint}"
        passed = above(requested, self.ceiling)
        if passed is None:
            return None
        wanted, most = (amount(passed, getattr(one, passed)) for one in (requested, self.ceiling))
        return f"limits.{passed}: {wanted} is above what this runner allows, {most}; ask for less"


UNLIMITED: Final = Allowance()


def _first(*values: float | str | None) -> float | str | None:
    return next((value for value in values if value is not None), None)


def budget_of(limits: Limits, *, used_cpu_seconds: float = 0.0) -> Budget:
    """What the kernel and the keeper of a program are told of its task's limits.

    Args:
        used_cpu_seconds: what other programs of the task have used.
    """
    watched = {name: getattr(limits, name) for name in WATCHED}
    if limits.cpu_s is not None:
        watched["cpu_s"] = max(limits.cpu_s - used_cpu_seconds, 0)
    wanted = {
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
        # memory is watched; this is for what allocates faster than anybody can look
        resource.RLIMIT_DATA: limits.memory_bytes and 2 * limits.memory_bytes + BACKSTOP_BYTES,
    }
    return Budget(
        {name: float(value) for name, value in watched.items() if value is not None},
        {n: min(value, LARGEST_RLIMIT) for n, value in wanted.items() if value is not None},
    )


class OutputCut:
    """Lets the head of too much output through, keeps its tail, and counts what is between."""

    def __init__(self, max_bytes: int) -> None:
        self._tail_bytes = min(max_bytes // 2, MAX_TAIL_BYTES)
        self._head_left = max_bytes - self._tail_bytes
        self._kept: deque[tuple[StreamName, bytes]] = deque()
        self._kept_bytes = 0
        self._ended = False
        self.dropped_bytes = 0

    def feed(self, stream: StreamName, data: bytes) -> Pieces:
        """What of this is to be sent now."""
        head, rest = data[: self._head_left], data[self._head_left :]
        self._head_left -= len(head)
        if self._ended:  # what a query's threads print when it is over
            self.dropped_bytes += len(rest)
        elif rest:
            self._keep(stream, rest)
        return [(stream, head)] if head else []

    def end(self) -> Pieces:
        """Nothing more belongs before the finish: the tail."""
        self._ended = True
        kept, self._kept = self._kept, deque()
        return list(kept)

    def _keep(self, stream: StreamName, data: bytes) -> None:
        self._kept.append((stream, data))
        self._kept_bytes += len(data)
        while (over := self._kept_bytes - self._tail_bytes) > 0:
            oldest, first = self._kept[0]
            if len(first) <= over:
                self._kept.popleft()
            else:
                self._kept[0] = oldest, first[over:]
            cut = min(len(first), over)
            self._kept_bytes -= cut
            self.dropped_bytes += cut


class WallClock:
    """Calls `on_expire` once, when the task has run for `seconds`, pauses not counted.

    Without `seconds` it only measures.
    """

    def __init__(self, seconds: float | None, on_expire: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = self._resumed = time.monotonic()
        self._left = seconds
        self._on_expire = on_expire
        self._pauses = 0
        self._timer: asyncio.TimerHandle | None = None
        self._arm()

    @property
    def elapsed_seconds(self) -> float:
        """Since the start, pauses included."""
        return time.monotonic() - self._started

    def pause(self) -> Callable[[], None]:
        """The task waits for the client until the result is called; pauses nest."""
        self._pauses += 1
        if self._pauses == 1 and self._left is not None:
            self._left -= time.monotonic() - self._resumed
            self._disarm()
        return self._resume

    def _resume(self) -> None:
        self._pauses -= 1
        if self._pauses == 0:
            self._resumed = time.monotonic()
            self._arm()

    def stop(self) -> None:
        """The task has ended."""
        self._left = None
        self._disarm()

    def _arm(self) -> None:
        if self._left is not None:
            self._timer = self._loop.call_later(max(self._left, 0), self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._left = None
        self._on_expire()
