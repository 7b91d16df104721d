"""Work that takes time in, done beside everything else; a bug in it ends it and nothing more."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeAlias

from kernel_runner.errors import SEE_THE_LOG, KernelRunnerError
from kernel_runner.hooks import attempt
from kernel_runner.messages.request import Request

Work: TypeAlias = Coroutine[object, None, None]
Refuse: TypeAlias = Callable[[Request, str, str, str], None]


class Errands:
    """The tasks of one group.

    Args:
        refuse: called with a request whose work was not done, a code and a sentence.
    """

    tasks: asyncio.TaskGroup | None = None
    """The server sets it, at once after the channels are open."""

    def __init__(self, refuse: Refuse) -> None:
        self._refuse = refuse

    def begin(self, work: Work, name: str, request: Request | None = None) -> None:
        """Start a piece of work; the request is refused when the group has ended."""
        if self.tasks is None:  # a client was quick
            asyncio.get_running_loop().call_soon(self.begin, work, name, request)
            return
        surviving = self._survive(work, name, request)
        try:
            task = self.tasks.create_task(surviving, name=name)
        except RuntimeError:
            surviving.close()
            self._drop(work, request)
            return

        def look_at(done: asyncio.Task[None]) -> None:
            if done.cancelled():
                self._drop(work, request)

        task.add_done_callback(look_at)

    async def _survive(self, work: Work, name: str, request: Request | None) -> None:
        try:
            await attempt(work, name)
        except KernelRunnerError as error:
            if request is not None:
                self._refuse(request, "failed", str(error), SEE_THE_LOG)

    def _drop(self, work: Work, request: Request | None) -> None:
        """The runner stops: what has not ended never will."""
        work.close()
        if request is not None:
            self._refuse(request, "stopping", "the runner was shut down", "start another one")
