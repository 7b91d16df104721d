"""What comes back for one request: its events one by one, and a result at the end."""

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

from kernel_runner.client.errors import ClientError, RequestRefused
from kernel_runner.client.intake import Intake
from kernel_runner.client.result import Collected, Prompt, Result
from kernel_runner.messages import commands, events
from kernel_runner.messages.session_wire import Received

OnInput: TypeAlias = Callable[[str, bool], "str | Awaitable[str | None] | None"]
"""Asked for a line, with the text of the prompt and whether it is a password; None is the end."""
Send: TypeAlias = "Callable[[commands.Command], Reply]"
"""Sends a request of its own."""


class Reply:
    """The events of one request: iterate over it, or await its `result`.

    `id` is what `Kernel.interrupt` and `Kernel.cancel` take as their target.  The reply to
    `Kernel.run` has the events of all its steps.

    Example:
        ```python
        from kernel_runner.client import events

        reply = kernel.query("print('working'); 6 * 7")
        async for event in reply:
            if isinstance(event, events.Output):
                print(event.data.decode().strip())
        # working
        # 42
        ```
    """

    def __init__(
        self, request_ids: Sequence[str], send: Send, last_step: str, intake: Intake
    ) -> None:
        self.id = request_ids[-1]
        self.unread_bytes = 0
        """How much has arrived and was not taken yet."""
        self._intake = intake
        self._open_ids = list(request_ids)
        self._send = send
        self._unread: deque[Received] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self._patient: list[asyncio.Future[None]] = []  # these want to know of prompts and ends
        self._left = len(request_ids)
        self._error: ClientError | None = None
        self._collected = Collected(last_step)
        self._last: events.AnyEvent | None = None
        self.preparing: asyncio.Task[None] | None = None
        """What has to be done before the request is sent."""

    # What the connection calls ----------------------------------------------------------------

    def put(self, received: Received) -> None:
        """One event of this request."""
        self._unread.append(received)
        self._intake.add(self, events.size_of(received.event))
        self._wake(self._waiters)
        if is_terminal(received.event):
            if received.id in self._open_ids:
                self._open_ids.remove(received.id)
            self._wake(self._patient)
        elif isinstance(received.event, events.WaitingInput):
            self._wake(self._patient)

    def fail(self, error: ClientError) -> None:
        """Nothing more will come: whoever waits gets this error."""
        self._error = error
        self._wake(self._waiters)
        self._wake(self._patient)

    def _wake(self, waiters: list[asyncio.Future[None]]) -> None:
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
                self._intake.unwant()
        waiters.clear()

    # Event by event ---------------------------------------------------------------------------

    def __aiter__(self) -> "Reply":
        return self

    async def __anext__(self) -> events.AnyEvent:
        return (await self._next(self._waiters)).event

    async def received(self) -> AsyncIterator[Received]:
        """The events with their numbers and times; the last one is the terminal event."""
        with suppress(StopAsyncIteration):
            while self._left:
                yield await self._next(self._waiters)

    async def _next(self, waiters: list[asyncio.Future[None]]) -> Received:
        """The next event; raises `StopAsyncIteration` after the last one."""
        while not self._unread:
            if not self._left:
                raise StopAsyncIteration
            if self._error is not None:
                raise self._error
            await self._wait(waiters)
        received = self._unread.popleft()
        self._intake.take(self, events.size_of(received.event))
        if is_terminal(received.event):
            self._left -= 1
            self._last = received.event
            if isinstance(received.event, events.Finished):
                self._collected.end_step(received.event)
        return received

    async def _wait(self, waiters: list[asyncio.Future[None]]) -> None:
        waiter = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        self._intake.want()
        try:
            await waiter
        finally:
            if waiter.cancelled():  # else who has woken it has said so
                self._intake.unwant()

    # At the end -------------------------------------------------------------------------------

    async def answer(self) -> events.AnyEvent:
        """The terminal event.

        Raises:
            RequestRefused: it was an error.
        """
        with suppress(StopAsyncIteration):
            while self._left:
                await self._next(self._patient)
        assert self._last is not None, "nothing is left to come, so the last one has come"
        if isinstance(self._last, events.Refused):
            raise RequestRefused(self._last.code, self._last.message, self._last.hint)
        return self._last

    async def prompt(self) -> Prompt | None:
        """Return when the program waits for input, or None when the request has ended.

        What is printed until then is kept for the result.  Give the input with `Kernel.input`.

        Raises:
            ClientError: the request was refused, or its events do not come any more.

        Example:
            ```python
            reply = kernel.query("print('Hello', input('Your name? '))")
            prompt = await reply.prompt()
            assert prompt is not None  # it has not ended
            print(prompt.text.strip())  # Your name?
            await kernel.input("Ada\\n")
            result = await reply.result()
            print(result.stdout.splitlines()[-1][-9:])  # Hello Ada
            ```
        """
        with suppress(StopAsyncIteration):
            while self._left:
                match (await self._next(self._patient)).event:
                    case events.Output() as output:
                        self._collected.outputs.append(output)
                    case events.Media() as media:
                        self._collected.show(media)
                    case events.WaitingInput(is_password=is_password):
                        return self._collected.prompt(is_password=is_password)
                    case events.Refused() as refused:
                        raise RequestRefused(refused.code, refused.message, refused.hint)
        return None

    async def result(self, *, on_input: OnInput | None = None) -> Result:
        """How it ended and what it printed; returns when it has ended.

        It can be awaited again, also after a wait that was cancelled.  Events that were iterated
        over before are not kept: their text is not in the result.  A program that fails raises
        nothing, see `Result.check`.

        Args:
            on_input: asked for a line whenever the program waits for input, with the text of the
                prompt and whether it is a password.  It may be a coroutine function; None ends
                the input.  Without it the program waits until somebody calls `Kernel.input`.

        Raises:
            RequestRefused: the runner would not carry it out.
            ClientError: its events do not come any more; see `kernel_runner.client.errors`.

        Example:
            ```python
            def answer(prompt: str, is_password: bool) -> str:
                return "Ada"

            reply = kernel.query("name = input('Your name? ')")
            result = await reply.result(on_input=answer)
            print(result.ok)  # True
            ```
        """
        while (prompt := await self.prompt()) is not None:
            if on_input is not None:
                async with self.cancelled_on_failure():
                    line = on_input(prompt.text, prompt.is_password)
                    line = await line if inspect.isawaitable(line) else line
                await self.give(line)
        if isinstance(self._last, events.Refused):
            raise RequestRefused(self._last.code, self._last.message, self._last.hint)
        return self._collected.result(self.id)

    @asynccontextmanager
    async def cancelled_on_failure(self) -> AsyncIterator[None]:
        """Whoever was to answer has failed: nobody would, and others wait in line."""
        try:
            yield
        except BaseException:
            with suppress(RequestRefused):
                await self.cancel()
            raise

    async def give(self, line: str | None) -> None:
        """Answer a prompt: a line, or None for the end of the input.

        One that is no longer there, since a limit has ended the program, say, is no error.
        """
        try:
            if line is None:
                await self._send(commands.EndOfInput()).answer()
            else:
                text = line if line.endswith("\n") else line + "\n"
                await self._send(commands.Input(text.encode())).answer()
        except RequestRefused as refused:
            if refused.code != "no-prompt":
                raise

    async def interrupt(self, *, force: bool = False) -> None:
        """Stop it if it runs; the result then tells the reason ``interrupted``.

        Raises:
            RequestRefused: it does not run now.

        Example:
            ```python
            from kernel_runner.client import events

            reply = kernel.query("print('busy', flush=True)\\nwhile True: pass")
            async for event in reply:
                if isinstance(event, events.Output):
                    await reply.interrupt()
                    break
            print((await reply.result()).reason)  # interrupted
            ```
        """
        for request_id in self._open_ids[:-1]:  # a step that has just ended gives way to the next
            with suppress(RequestRefused):
                await self._send(commands.Interrupt(request_id, force)).answer()
                return
        await self._send(commands.Interrupt(self.id, force)).answer()

    async def cancel(self) -> None:
        """Take it from the queue, or interrupt it when it runs; all steps of a run.

        Raises:
            RequestRefused: it has ended.

        Example:
            ```python
            reply = kernel.execute("sleep 60")
            await reply.cancel()
            print((await reply.result()).reason)  # cancelled
            ```
        """
        if self.preparing is not None and not self.preparing.done():
            self.preparing.cancel()
            return
        for request_id in self._open_ids[:0:-1]:  # what waits goes first, so that it does not start
            await self._send(commands.Cancel(request_id)).answer()
        first = self._open_ids[0] if self._open_ids else self.id
        await self._send(commands.Cancel(first)).answer()


PASSING: Final = frozenset(
    (
        events.Output,
        events.Media,
        events.ClearOutput,
        events.Log,
        events.WaitingInput,
        events.Accepted,
        events.Started,
        events.Stopped,
    )
)


def is_terminal(event: events.AnyEvent) -> bool:
    """Whether nothing more comes for the request."""
    return type(event) not in PASSING
