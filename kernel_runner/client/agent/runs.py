"""Runs in; one at a time goes to the runner, and each keeps what it printed until that is taken.

A run is active until the runner has answered all its steps, whoever asks for its results when: so
nothing that arrives between two questions is lost, and nobody who stops asking holds up the rest
for ever.

This side never cancels.  A step that comes back cancelled says that the runner stops, and then the
whole line would come back so; or that another client took it.  So it is held until that is known.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeGuard

from kernel_runner.client.agent.console import NextResult
from kernel_runner.client.agent.errors import (
    RunAbandoned,
    RunIsOpen,
    RunNotActive,
    UnknownRun,
)
from kernel_runner.client.agent.run import Leftovers, Run
from kernel_runner.errors import ClientError
from kernel_runner.messages import commands, events
from kernel_runner.messages.agent_wire import Frames, encode_command

MAX_UNCLAIMED_BYTES: Final = 64 * 1024 * 1024
"""What runs that have ended and were not told to their end may keep; then the oldest go."""
MAX_UNCLAIMED_RUNS: Final = 1_024

FINISHES: Final = frozenset(kind.answer for kind in commands.QUEUED)

log = logging.getLogger(__name__)


class Runs:
    """The line, the one that is active, and those that have ended and were not told to their end.

    Args:
        send: sends one command; never waits.
        on_change: called when more or less is kept than before.
        on_doubt: called when the runner may be about to stop; `go_on` or `close` has to follow.
        max_bytes: a run that keeps so much is told of before its flush timeout.
        abandon_seconds: see `connect`.
    """

    def __init__(
        self,
        send: Callable[[Frames], None],
        on_change: Callable[[], None],
        on_doubt: Callable[[], None],
        *,
        max_bytes: int,
        abandon_seconds: float | None,
    ) -> None:
        self._send, self._on_change, self._on_doubt = send, on_change, on_doubt
        self._max_bytes, self._abandon_seconds = max_bytes, abandon_seconds
        self._loop = asyncio.get_running_loop()
        self._is_open = False
        self._ended: ClientError | None = None
        self._active: Run | Leftovers | None = None
        self._cancelled: events.Finished | None = None
        """The end of the active run's step, held as long as it is in doubt what it says."""
        self._line: deque[Run] = deque()
        self._known: dict[str, Run] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def kept_bytes(self) -> int:
        """What the active run keeps: only that one can be made to wait."""
        return self._active.console.size_bytes if isinstance(self._active, Run) else 0

    @property
    def is_unattended(self) -> bool:
        return isinstance(self._active, Run) and self._active.is_unattended

    def add(self, run: Run) -> None:
        """Put it in line."""
        if self._ended is not None:
            raise self._ended
        if run.id in self._known:
            raise RunIsOpen(run.id)
        self._known[run.id] = run
        self._line.append(run)
        self._start_next()

    async def next_result(
        self, run_id: str, *, flush_timeout_seconds: float | None, api_version: int
    ) -> NextResult:
        """See `CodeRunner.next_result`.  Nothing is taken before the wait is over."""
        run = self._find(run_id)
        run.askers += 1
        try:
            async with asyncio.timeout(flush_timeout_seconds):
                await self._something_to_tell(run)
        except TimeoutError:
            pass  # then it is what there is
        finally:
            run.askers -= 1
            run.asked_at = self._loop.time()
        if self._known.get(run_id) is not run:
            raise UnknownRun(run_id)
        if run.dropped_bytes is not None:
            self._forget(run)
            raise RunAbandoned(run_id, run.dropped_bytes)
        if run.error is not None and run.console.is_empty:
            self._forget(run)
            raise run.error
        result = run.console.take(run_id, api_version)
        if run.is_over and run.console.is_empty and run.error is None:
            self._forget(run)
        self._on_change()
        return result

    async def _something_to_tell(self, run: Run) -> None:
        while not (
            run.console.has_stop
            or run.error is not None
            or run.dropped_bytes is not None
            or run.console.size_bytes >= self._max_bytes
        ):
            run.changed.clear()
            await run.changed.wait()

    def put(self, event: events.AnyEvent) -> None:
        """An event of the active run; what comes while there is none is only logged."""
        if self._active is None or self._cancelled is not None:
            log.info("no run is active for %s", event)
        elif isinstance(self._active, Run) and _is_cancelled(event):
            self._cancelled = event
            self._on_doubt()
        else:
            self._active.put(event)
            self._continue()

    def go_on(self) -> None:
        """The runner does not stop: what was cancelled was so by another client, and ends."""
        if isinstance(self._active, Run) and self._cancelled is not None:
            self._active.cancel(self._cancelled)
            self._cancelled = None
            self._continue()

    def unreadable(self, kind: str, error: ClientError) -> None:
        """Something of the active run could not be read; its caller is told."""
        if self._active is None or self._cancelled is not None:
            return
        if kind in FINISHES:
            self._active.finish(kind)
            self._active.fail(error)
        else:
            now = events.local_time(time.time())
            self._active.put(events.Log("warning", now, __name__, str(error)))
        self._continue()

    def check_active(self, run_id: str) -> None:
        """Raises `UnknownRun` or `RunNotActive`."""
        if self._find(run_id) is not self._active:
            raise RunNotActive(run_id)

    def take_out(self, run_id: str) -> bool:
        """End a run that waits in line; False when it waits no more."""
        run = self._find(run_id)
        if run not in self._line:
            return False
        self._line.remove(run)
        run.end_unrun()
        return True

    def release(self, run_id: str) -> None:
        """Nobody will ask for this run: end it, and keep nothing of it."""
        run = self._find(run_id)
        if run in self._line:
            self._line.remove(run)
        elif run is self._active:
            self.interrupt()
        self._forget(run)

    def interrupt(self) -> None:
        """End what is active, all steps of it."""
        self._send(encode_command(commands.Interrupt()))
        if self._active is not None:
            self._active.interrupt()
            self._feed(self._active)

    def open(self, *, is_idle: bool) -> None:
        """There is a connection; `is_idle` says that nothing is left in the runner."""
        self._is_open = True
        if not is_idle:
            self._start(Leftovers())
        self._start_next()

    def close(self, error: ClientError) -> None:
        """The runner has gone: the active run ends, unless it was not begun.

        That one waits with the others for the next runner.
        """
        self._is_open = False
        run, self._active = self._active, None
        cancelled, self._cancelled = self._cancelled, None
        if isinstance(run, Run):
            if cancelled is None:
                run.lose(error)
            elif run.take_back(cancelled):
                self._line.appendleft(run)
            else:
                run.cancel(cancelled)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self, error: ClientError) -> None:
        """There will be no other connection: every run fails, and every later one."""
        self.close(error)
        self._ended = error
        for run in self._line:
            run.lose(error)
        self._line.clear()

    def _find(self, run_id: str) -> Run:
        if (run := self._known.get(run_id)) is None:
            raise UnknownRun(run_id)
        return run

    def _start_next(self) -> None:
        if self._is_open and self._active is None and self._line:
            self._start(self._line.popleft())
        self._watch()

    def _start(self, run: Run | Leftovers) -> None:
        self._active = run
        if isinstance(run, Run):
            run.asked_at = self._loop.time()
        self._feed(run)

    def _feed(self, run: Run | Leftovers) -> None:
        for frames in run.feed():
            self._send(frames)

    def _continue(self) -> None:
        """Feed the next step, or the next run, if it is time for it."""
        if self._active is not None:
            self._feed(self._active)
            if self._active.is_over:
                self._active = None
                self._bound_unclaimed()
                self._start_next()
        self._on_change()

    def _forget(self, run: Run) -> None:
        del self._known[run.id]
        run.drop()
        self._on_change()

    def _bound_unclaimed(self) -> None:
        unclaimed = [run for run in self._known.values() if run.is_over]
        kept_bytes = sum(run.console.size_bytes for run in unclaimed)
        for count, run in zip(range(len(unclaimed), 1, -1), unclaimed, strict=False):
            if kept_bytes <= MAX_UNCLAIMED_BYTES and count <= MAX_UNCLAIMED_RUNS:
                return
            kept_bytes -= run.console.size_bytes
            log.warning("nobody asked for %s bytes of run %r", run.console.size_bytes, run.id)
            self._forget(run)

    def _watch(self) -> None:
        """Give the active run up when nobody asks for it, others wait, and the time has come."""
        run, patience = self._active, self._abandon_seconds
        if not isinstance(run, Run) or not self._line or patience is None or self._timer:
            return
        left = patience - (0 if run.askers else self._loop.time() - run.asked_at)
        if left <= 0:
            if run.dropped_bytes is None:
                run.drop()
            self.interrupt()  # again if it did not help: it climbs
            self._on_change()
            left = patience
        self._timer = self._loop.call_later(left, self._watch_again)

    def _watch_again(self) -> None:
        self._timer = None
        self._watch()


def _is_cancelled(event: events.AnyEvent) -> TypeGuard[events.Finished]:
    return isinstance(event, events.Finished) and event.reason == "cancelled"
