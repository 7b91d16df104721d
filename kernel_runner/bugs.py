"""Exceptions that nobody expected in; logs with their tracebacks out, and the end of what they hit.

A bug in a callback of the loop ends the request that runs, since some of its output or its end may
be lost with it.  The runner goes on unless that request cannot be ended or bugs come too often:
then it ends, so that it is never there without serving.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from kernel_runner.errors import RunnerBroken
from kernel_runner.task import Task
from kernel_runner.task_queue import TaskQueue

CRASH_SECONDS: Final = 5.0
"""What the request that a bug has hit gets to end."""
MAX_BUGS: Final = 100
PERIOD_SECONDS: Final = 60.0
"""With more bugs than that in such a time the runner ends."""

log = logging.getLogger(__name__)


class Bugs:
    """What has gone wrong with a runner."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue
        self._times: deque[float] = deque(maxlen=MAX_BUGS)
        self._broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """The loop's callbacks are supervised while the block is open."""
        loop = asyncio.get_running_loop()
        former = loop.get_exception_handler()
        loop.set_exception_handler(self._hear)
        try:
            yield
        finally:
            loop.set_exception_handler(former)

    async def too_many(self) -> None:
        """Raise `RunnerBroken` when the runner cannot go on; else run until cancelled."""
        raise RunnerBroken(await self._broken)

    def crash(self, error: BaseException | None) -> None:
        """End the request that runs: something that it needs has failed."""
        running = self._queue.running
        if running is None:
            return
        running.end_reason = "crashed"
        running.message = f"the runner failed: {type(error).__name__}: {error}"
        running.interrupt(force=True)
        asyncio.get_running_loop().call_later(CRASH_SECONDS, self._check_ended, running)

    def _check_ended(self, task: Task) -> None:
        if self._queue.running is task:
            self._give_up(f"the request {task.identity!r} does not end after a failure")

    def _hear(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        now = loop.time()
        if len(self._times) == MAX_BUGS and now - self._times[0] < PERIOD_SECONDS:
            self._give_up(f"more than {MAX_BUGS} failures within {PERIOD_SECONDS:g} s")
            return
        self._times.append(now)
        log.error("a failure of the runner: %s", context.get("message"), exc_info=error)
        if "future" not in context and "task" not in context:  # those that nobody asked for
            self.crash(error)

    def _give_up(self, why: str) -> None:
        if not self._broken.done():
            self._broken.set_result(why)
            log.error("the runner ends: %s", why)
