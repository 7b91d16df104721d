"""Requests in, one at a time and in order out: bounded, listable, cancellable."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import NoReturn

from kernel_runner.task import Task


class QueueFull(Exception):
    """The queue holds as many tasks as it may."""


class TaskQueue:
    """Tasks waiting for their turn.

    There is one consumer and it awaits each task before it takes the next, so order needs no
    lock.  When it is cancelled, `waiting()` is what the server answers as cancelled.
    """

    def __init__(self, run: Callable[[Task], Awaitable[None]], limit: int) -> None:
        self._run = run
        self._limit = limit
        self._waiting: OrderedDict[tuple[str, str], Task] = OrderedDict()
        self._arrived = asyncio.Event()
        self.running: Task | None = None

    def put(self, task: Task) -> int:
        """Append a task; the number of those before it.

        Raises:
            QueueFull: it was not taken.
        """
        if len(self._waiting) >= self._limit:
            raise QueueFull
        self._waiting[task.key] = task
        self._arrived.set()
        return len(self._waiting) - 1 + (self.running is not None)

    @property
    def current(self) -> Task | None:
        """The task that runs, or else the one that is about to: for its client it runs already."""
        return self.running or next(iter(self._waiting.values()), None)

    def find(self, identity: str, session: str) -> Task | None:
        """The task of this session and id that waits or runs."""
        found = (task for task in self.all_of(identity) if task.session.name == session)
        return next(found, None)

    def all_of(self, identity: str) -> list[Task]:
        """The tasks of this id in all sessions."""
        tasks = [*self._waiting.values(), *([self.running] if self.running else [])]
        return [task for task in tasks if task.identity == identity]

    @property
    def sessions(self) -> set[str]:
        """The names of those whose tasks wait or run."""
        running = [self.running] if self.running is not None else []
        return {task.session.name for task in (*running, *self._waiting.values())}

    def position(self, task: Task) -> int:
        """How many tasks are before this one; 0 when it runs."""
        if task is self.running:
            return 0
        return list(self._waiting).index(task.key) + (self.running is not None)

    def take_out(self, task: Task) -> None:
        """Remove a task that waits."""
        del self._waiting[task.key]

    def waiting(self) -> Iterable[Task]:
        """The tasks that wait, the next one first."""
        return self._waiting.values()

    def __len__(self) -> int:
        return len(self._waiting)

    async def consume(self) -> NoReturn:
        """Run tasks until cancelled; cancelling ends the running one too."""
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            _, self.running = self._waiting.popitem(last=False)
            try:
                await self._run(self.running)
            finally:
                self.running = None
