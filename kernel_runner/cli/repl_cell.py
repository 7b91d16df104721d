"""A cell comes in; it runs, is shown, asked and interrupted, and its finish goes out."""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Final

from kernel_runner.cli.repl_screen import Screen
from kernel_runner.client import ClientError, Kernel, Reply, RequestRefused, RunnerDied
from kernel_runner.messages import events

AGAIN_SECONDS: Final = 1.0
"""A second Ctrl-C within this time is meant more seriously."""
ANSWER_SECONDS: Final = 2.0
"""A runner that is there answers sooner."""


class RunnerSilent(ClientError):
    """The runner does not end a cell; nobody waits for it any more."""


class Cell:
    """One cell that runs; `run` once."""

    def __init__(self, kernel: Kernel, screen: Screen, code: str) -> None:
        self._kernel = kernel
        self._screen = screen
        self._code = code
        self._started = False
        self._silent = False
        self._pressed: list[float] = []
        self._prompt: asyncio.Task[None] | None = None
        self._requests: set[asyncio.Task[None]] = set()

    async def run(self) -> events.Finished:
        """Returns when the cell has ended, however.

        Raises:
            ClientError: the runner is gone, or refused the cell.
        """
        self._reply = self._kernel.query(
            self._code, stdin="prompt" if self._screen.in_terminal else "none"
        )
        with self._screen.without_echo(), _on_ctrl_c(self._interrupted):
            try:
                return await self._follow(self._reply)
            finally:
                await self._end()

    async def _follow(self, reply: Reply) -> events.Finished:
        async for event in reply:
            match event:
                case events.Output():
                    await self._screen.output(event)
                case events.Media():
                    await self._screen.show(event)
                case events.WaitingInput():
                    self._open_prompt(event)
                case events.Accepted() if event.position:
                    await self._screen.tell(f"waits for {event.position} other tasks")
                case events.Started():
                    self._started = True
                case events.Log() if event.level not in ("debug", "info"):
                    await self._screen.tell(event.sentence)
                case events.Refused():
                    raise RequestRefused(event.code, event.message, event.hint)
                case events.Finished():
                    return event
        raise AssertionError("the last event is a finish or an error")

    async def _end(self) -> None:
        tasks = {*self._requests, *filter(None, [self._prompt])}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._screen.fresh_line()

    # Input ------------------------------------------------------------------------------------

    def _open_prompt(self, event: events.WaitingInput) -> None:
        if self._prompt is None or self._prompt.done():
            asked = self._ask(is_password=event.is_password)
            self._prompt = asyncio.create_task(asked, name="input")

    async def _ask(self, *, is_password: bool) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.formatted_text import ANSI

        session: PromptSession[str] = PromptSession(is_password=is_password)  # no history
        try:
            text = await session.prompt_async(ANSI(self._screen.take_line()), handle_sigint=False)
            await self._answer(self._kernel.input(text + "\n"))
        except EOFError:
            await self._answer(self._kernel.eof())
        except KeyboardInterrupt:
            self._interrupted()

    async def _answer(self, request: Coroutine[None, None, None]) -> None:
        """What goes wrong is told; that the runner died is told by the cell itself."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await request
        except RunnerDied:
            return
        except RequestRefused as error:
            await self._screen.tell(str(error))
        except (ClientError, TimeoutError) as error:
            self._silent = True
            reason = str(error) or "the runner does not answer"
            await self._screen.tell(f"{reason}; Ctrl-C ends the waiting")

    # Interrupts -------------------------------------------------------------------------------

    def _interrupted(self) -> None:
        """Ctrl-C: stop it; a second one at once: kill it; a third one: wait no more."""
        now = time.monotonic()
        if self._pressed and now - self._pressed[-1] > AGAIN_SECONDS:
            self._pressed.clear()
        self._pressed.append(now)
        match 3 if self._silent else len(self._pressed):
            case 1:
                self._request(self._stop())
            case 2:
                self._request(self._kill())
            case _:
                self._reply.fail(RunnerSilent("the runner does not end the cell"))

    def _request(self, request: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(request, name="interrupt")
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)

    async def _stop(self) -> None:
        if self._started:
            await self._answer(self._kernel.interrupt(self._reply.id))
        else:
            await self._answer(self._kernel.cancel(self._reply.id))

    async def _kill(self) -> None:
        await self._screen.tell("killed; what it kept in its variables is lost")
        await self._answer(self._kernel.interrupt(self._reply.id, force=True))


@contextmanager
def _on_ctrl_c(act: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C in a terminal that is not read key by key; after the block it does nothing."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, act)
    try:
        yield
    finally:
        loop.add_signal_handler(signal.SIGINT, lambda: None)
