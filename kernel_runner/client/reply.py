"""What comes back for one request: its events one by one, and a result at the end."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import msgspec

from kernel_runner.client.errors import ClientError, RequestRefused
from kernel_runner.errors import Reason
from kernel_runner.messages import events
from kernel_runner.messages.session_wire import Received

PASSING = (
    events.Output,
    events.Media,
    events.Log,
    events.WaitingInput,
    events.Accepted,
    events.Started,
)


class Result(msgspec.Struct, frozen=True):
    """How a request ended, with everything it printed.

    `output` has both streams in the order of arrival; a byte that is not UTF-8 shows as U+FFFD.
    """

    exit_code: int
    reason: Reason
    message: str | None
    usage: events.Usage
    stdout: str
    stderr: str
    output: str
    media: tuple[events.Media, ...]

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


class Reply:
    """The events of one request: iterate over it, or await `result` or `answer`, once.

    `id` is what `Kernel.interrupt` and `Kernel.cancel` take as their target.
    """

    def __init__(self, request_id: str) -> None:
        self.id = request_id
        self._unread: deque[Received] = deque()
        self._arrived: asyncio.Future[None] | None = None
        self._ended = False
        self._error: ClientError | None = None
        self._result: Result | None = None

    def put(self, received: Received) -> None:
        """Called by the connection with each event of this request."""
        self._unread.append(received)
        self._wake()

    def fail(self, error: ClientError) -> None:
        """Nothing more will come: whoever waits gets this error."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def __aiter__(self) -> "Reply":
        return self

    async def __anext__(self) -> events.AnyEvent:
        if self._ended:
            raise StopAsyncIteration
        return (await self._next()).event

    async def received(self) -> AsyncIterator[Received]:
        """The events with their numbers and times; the last one is the terminal event."""
        while not self._ended:
            yield await self._next()

    async def _next(self) -> Received:
        while not self._unread:
            if self._error is not None:
                raise self._error
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        received = self._unread.popleft()
        self._ended = is_terminal(received.event)
        return received

    async def answer(self) -> events.AnyEvent:
        """The terminal event.

        Raises:
            RequestRefused: it was an error.
        """
        last: events.AnyEvent | None = None
        async for event in self:
            last = event
        if last is None:
            raise ValueError(f"the events of request {self.id!r} were read already")
        if isinstance(last, events.Refused):
            raise RequestRefused(last.code, last.message, last.hint)
        return last

    async def result(self) -> Result:
        """Collect everything up to the finish of a queued request; raises as `answer` does.

        It can be awaited again, but not after the events were read one by one.

        A program that fails raises nothing: see `Result.exit_code` and `Result.reason`.
        """
        if self._result is not None:
            return self._result
        outputs: list[events.Output] = []
        media: list[events.Media] = []
        async for event in self:
            match event:
                case events.Output():
                    outputs.append(event)
                case events.Media():
                    media.append(event)
                case events.Refused():
                    raise RequestRefused(event.code, event.message, event.hint)
                case events.Finished():
                    self._result = _result(event, outputs, media)
                    return self._result
        raise ValueError(f"the events of request {self.id!r} were read already")


def is_terminal(event: events.AnyEvent) -> bool:
    """Whether nothing more comes for the request."""
    return not isinstance(event, PASSING)


def _result(
    finish: events.Finished, outputs: list[events.Output], media: list[events.Media]
) -> Result:
    def text(*streams: str) -> str:
        return b"".join(o.data for o in outputs if o.type in streams).decode(errors="replace")

    return Result(
        exit_code=finish.exit_code,
        reason=finish.reason,
        message=finish.message,
        usage=finish.usage,
        stdout=text("stdout"),
        stderr=text("stderr"),
        output=text("stdout", "stderr"),
        media=tuple(media),
    )
