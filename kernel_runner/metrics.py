"""What happens in a runner comes in; its counts go out, to `status`, to scrapes and to listeners.

Whoever sees a thing happen counts it, on the loop's thread.  To count is an addition; all else is
done when somebody asks.
"""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Final

import msgspec

from kernel_runner.messages import events
from kernel_runner.supervision import attempt_now

WAIT_BOUNDS: Final = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0)
RUN_BOUNDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0, 600.0, 3_600.0)
"""Upper bounds of what is counted together, in seconds."""
SHOWN_OF_SESSION: Final = 8
"""Whoever knows the whole name of a session can take it over."""

log = logging.getLogger(__name__)


class Histogram:
    """How many values there were up to each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def counts(self) -> Sequence[int]:
        """Of each bound, how many values were not above it; the last one counts all."""
        return list(accumulate(self._counts))


class TaskEnd(msgspec.Struct, frozen=True):
    """One task at its end.

    `waited_seconds` are those in the queue, None when it never left it to run; `age_seconds` is
    how long ago it arrived; `env` is what its client said of the environment.
    """

    identity: str
    session: str
    op: str
    waited_seconds: float | None
    age_seconds: float
    env: Mapping[str, str]
    finish: events.Finished

    @property
    def words(self) -> Mapping[str, str]:
        return task_words(self.identity, self.op, self.session)


def task_words(identity: str, op: str, session: str) -> Mapping[str, str]:
    """What people are told of a task: lines of the log, and spans."""
    return {"task": identity, "op": op, "session": session[:SHOWN_OF_SESSION]}


class Now(msgspec.Struct, frozen=True):
    """What is not counted, but as it is when somebody looks.

    `readers` are the sessions whose events somebody reads, as far as that is known.
    """

    queue_length: int = 0
    running: int = 0
    sessions: int = 0
    readers: int = 0
    pending_events: int = 0
    interpreter_restarts: int = 0


class Metrics:
    """The counts of one runner since its start."""

    def __init__(self) -> None:
        self.tasks: Counter[tuple[str, str]] = Counter()
        """How many have ended, by op and reason."""
        self.wait_seconds = Histogram(WAIT_BOUNDS)
        self.run_seconds: dict[str, Histogram] = {}
        """Of each op."""
        self.cpu_seconds = 0.0
        self.sent_bytes = 0
        """Output that was handed to clients; what is sent again counts again."""
        self.dropped_bytes = 0
        self.replayed_events = 0
        self.look: Callable[[], Now] = Now
        """Whoever has a queue and sessions sets it."""
        self.listeners: list[Callable[[TaskEnd], None]] = []
        """Called at the end of each task."""

    def end(self, task: TaskEnd) -> None:
        """A task has ended, run or not."""
        usage = task.finish.usage
        self.tasks[task.op, task.finish.reason] += 1
        if task.waited_seconds is not None:
            self.wait_seconds.add(task.waited_seconds)
            if (of_op := self.run_seconds.get(task.op)) is None:
                of_op = self.run_seconds[task.op] = Histogram(RUN_BOUNDS)
            of_op.add(usage.wall_s)
        self.cpu_seconds += usage.cpu_s
        self.dropped_bytes += usage.dropped_bytes
        if log.isEnabledFor(logging.DEBUG):
            reason, exit_code = task.finish.reason, task.finish.exit_code
            log.debug("%s, exit code %d", reason, exit_code, extra={"task": task.words})
        for listener in self.listeners:
            attempt_now(partial(listener, task), "what hears of the end of tasks")

    def counts(self) -> events.Counts:
        """The essential ones."""
        tasks: dict[str, dict[str, int]] = {}
        for (op, reason), number in sorted(self.tasks.items()):
            tasks.setdefault(op, {})[reason] = number
        now = self.look()
        return events.Counts(
            tasks=tasks,
            wait_s=round(self.wait_seconds.sum, 6),
            run_s=round(sum(one.sum for one in self.run_seconds.values()), 6),
            sent_bytes=self.sent_bytes,
            dropped_bytes=self.dropped_bytes,
            replayed_events=self.replayed_events,
            interpreter_restarts=now.interpreter_restarts,
            sessions=now.sessions,
        )
