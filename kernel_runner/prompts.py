"""Watches a running program from outside; opens a prompt when it waits for input and has none.

Works for every language with nothing patched inside it: the keeper looks in /proc.  Two looks with
no output between have to agree, since a program may be just about to read what is on its way.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from kernel_runner.launcher import Spawned, Waiting
from kernel_runner.streams import InputSide
from kernel_runner.supervision import watched
from kernel_runner.task_input import TaskInput

QUIET_SECONDS: Final = 0.02
"""Only a program that has printed nothing for this long is looked at."""
LONGEST_SECONDS: Final = 0.2
"""Between two looks at a program that keeps on doing whatever it does."""


class Watcher:
    """Watches one program while its task runs; nothing happens in a task shorter than a look.

    Args:
        last_output: when the program printed last, in the loop's time.
    """

    def __init__(
        self,
        spawned: Spawned,
        side: InputSide,
        task_input: TaskInput,
        last_output: Callable[[], float],
    ) -> None:
        self._spawned = spawned
        self._side = side
        self._task_input = task_input
        self._last_output = last_output
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(QUIET_SECONDS, self._start)

    def stop(self) -> None:
        """The program or its task has ended."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        self._task = watched(self._watch(), "prompts")

    async def _watch(self) -> None:
        """Open a prompt each time the program waits; runs until cancelled."""
        task_input = self._task_input
        pause_seconds = QUIET_SECONDS
        seen = self._last_output()
        while True:
            if task_input.prompt_open:
                await task_input.fed.wait()
            task_input.fed.clear()
            await _pause(task_input, pause_seconds)
            if self._last_output() != seen or task_input.fed.is_set():
                seen, pause_seconds = self._last_output(), QUIET_SECONDS
            is_quiet = self._loop.time() - seen >= QUIET_SECONDS
            if task_input.prompt_open or not is_quiet or self._side.unread():
                continue
            waiting = await self._agreed_look()
            if waiting is None:
                pause_seconds = min(pause_seconds * 2, LONGEST_SECONDS)
                continue
            pause_seconds = QUIET_SECONDS
            is_password = self._side.asks_for_password()
            task_input.open_prompt(certain=waiting == "certain", is_password=is_password)

    async def _agreed_look(self) -> Waiting:
        """What two looks agree on; None when anything happened between them."""
        before = self._last_output()
        first = await self._spawned.look()
        if first is None:
            return None
        await asyncio.sleep(QUIET_SECONDS)
        if self._last_output() != before or self._side.unread():
            return None
        second = await self._spawned.look()
        return "maybe" if second is not None and "maybe" in (first, second) else second


async def _pause(task_input: TaskInput, seconds: float) -> None:
    """Let some time pass, or input come."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await task_input.fed.wait()
