"""What a task may use: a clock that stands still while it waits for its client, and bad limits."""

import asyncio
import time
from collections.abc import Callable

from kernel_runner.messages.options import Limits


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


def problem_of(limits: Limits) -> str | None:
    """Why a request's limits cannot be kept; better said than silently not done."""
    if limits.wall_s is not None and not limits.wall_s > 0:
        return f"limits.wall_s has to be above 0, not {limits.wall_s:g}"
    for name in limits.__struct_fields__:
        if name != "wall_s" and getattr(limits, name) is not None:
            return f"limits.{name} is not enforced by this version; leave it out"
    return None
