"""A cell comes in; its limits hold while it runs, and what it used goes out."""

import asyncio
from typing import Final

from kernel_runner.launcher import Budget, Spawned, Used
from kernel_runner.limits import budget_of
from kernel_runner.task import Task

LONG_SECONDS: Final = 0.1
"""A cell that runs for longer is measured from outside, even if it has no limits."""


class CellMeter:
    """Of one interpreter; of its memory and processes only what a cell adds counts."""

    def __init__(self, interpreter: Spawned) -> None:
        self._interpreter = interpreter
        self._is_on = False

    async def begin(self, task: Task) -> None:
        """From now on the limits of `task` hold, if it has any."""
        budget = budget_of(task.limits)
        if budget.watched or budget.rlimits:
            await self._watch(task, budget)

    def begin_late(self, task: Task) -> None:
        """The cell takes its time, so it is measured, with all that it has started."""
        if not self._is_on:
            self._watch(task, Budget())

    async def end(self) -> Used:
        """What was used since the begin; nothing when there was none."""
        if not self._is_on:
            return 0.0, 0
        self._is_on = False
        return await self._interpreter.unwatch()

    def _watch(self, task: Task, budget: Budget) -> asyncio.Future[Used]:
        self._is_on = True
        self._interpreter.on_limit = task.pass_limit
        return self._interpreter.watch(budget)
