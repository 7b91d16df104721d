"""Requests in, what comes back for each out to its reply, over one link."""

import asyncio
import itertools
import os
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias, TypeVar

from kernel_runner.client.errors import (
    ClientError,
    IncompatibleRunner,
    KernelClosed,
    SessionTaken,
)
from kernel_runner.client.intake import Intake
from kernel_runner.client.reply import Reply, is_terminal
from kernel_runner.messages import commands, events
from kernel_runner.messages.session_wire import Received

ACKNOWLEDGE_BYTES: Final = 1 << 20
"""How much may come before the runner is told that it has arrived."""
ACKNOWLEDGE_SECONDS: Final = 1.0
"""How long what came may stay untold."""
Answer = TypeVar("Answer")


class Link(Protocol):
    """What a kernel needs of a connection; never waits."""

    address: str

    def send(self, command: commands.Command, request_id: str) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None: ...


OpenLink: TypeAlias = Callable[[Callable[[Received], None]], Link]
"""Opens a link whose events, in the order of arrival, go to the given function."""


class OpenRequest:
    """A request that is not answered yet."""

    __slots__ = ("accepted", "asked", "asked_again", "command", "last_seq", "reply")

    def __init__(self, command: commands.Command, reply: Reply) -> None:
        self.command = command
        self.reply = reply
        self.asked = self.asked_again = self.accepted = False
        self.last_seq = 0

    @property
    def is_queued(self) -> bool:
        return isinstance(self.command, commands.QUEUED)


class Requests:
    """The requests of one client.

    `welcome` is what the runner told of itself and of our session; None before `hello`.
    """

    def __init__(self, open_link: OpenLink) -> None:
        self.welcome: events.Welcome | None = None
        self.on_other: Callable[[Received], None] = lambda received: None
        """Called with events that belong to no request that is open, such as logs."""
        self.on_failure: Callable[[ClientError], None] = lambda error: None
        """Called when the runner is gone for good, whether or not a request is open."""
        self.expected: Reply | None = None
        """What comes of the requests that `connect` was given."""
        self._open: dict[str, OpenRequest] = {}
        self._numbers = itertools.count(1)
        self._name = os.urandom(3).hex()  # ids of several clients stand in one queue
        self._last_seq = self._unacknowledged_bytes = 0
        self._keeps = False
        self._shown: deque[tuple[int, int]] = deque()  # number and size
        self._shown_bytes = 0
        self._acknowledging: asyncio.TimerHandle | None = None
        self._error: ClientError | None = None
        self._is_away = self._is_taken = False
        self._link = open_link(self._receive)
        self._intake = Intake(self._link.pause, self._link.resume)

    @property
    def address(self) -> str:
        """Where the runner is reached."""
        return self._link.address

    @property
    def max_unread_bytes(self) -> int:
        """How much may arrive and be taken by nobody, 64 MiB by default, over all replies.

        What is more stays with the runner, and its program waits in the end; it comes when some of
        it is taken, or somebody waits for something else.  What is on its way is not counted: up to
        4 MiB more of output may be here.
        """
        return self._intake.max_unread_bytes

    @max_unread_bytes.setter
    def max_unread_bytes(self, size_bytes: int) -> None:
        self._intake.max_unread_bytes = size_bytes

    @property
    def unread_bytes(self) -> int:
        """How much has arrived that nobody has taken yet."""
        return self._intake.unread_bytes

    def close(self) -> None:
        """End the connection: what is open fails, and so does every later request."""
        if not isinstance(self._error, KernelClosed):
            closed = self._error = KernelClosed()
            self._fail_open(lambda request: closed)
            self._acknowledge()  # so that the runner need not keep it for us
            self._link.close()

    def pause(self) -> None:
        """Take no events for now: they wait at the runner.  Answers wait as well.

        Example:
            ```python
            kernel.pause()
            reply = kernel.query("print('later')")
            kernel.resume()
            print((await reply.result()).stdout.strip())  # later
            ```
        """
        self._intake.hold()

    def resume(self) -> None:
        """Take events again, those that waited first.

        Example:
            ```python
            kernel.pause()
            kernel.resume()
            print((await kernel.status()).language)  # python
            ```
        """
        self._intake.let_go()

    def fail(self, error: ClientError) -> None:
        """The runner is gone: every open request, and every later one, gets this error."""
        is_news = self._error is None
        self._error = error
        self._fail_open(lambda request: error)
        if is_news:
            self.on_failure(error)

    def send(self, command: commands.Command, request_id: str | None = None) -> Reply:
        """Send any command; without an id it gets one.

        Raises:
            ValueError: a request with this id is still open.

        Example:
            ```python
            from kernel_runner.client import events
            from kernel_runner.messages.commands import ListQueue

            listing = await kernel.send(ListQueue()).answer()
            print(isinstance(listing, events.QueueListing))  # True
            ```
        """
        request_id = request_id or self._new_id()
        reply = Reply((request_id,), self.send, command.op, self._intake)
        self._post(command, request_id, reply)
        return reply

    async def hello(self, session: str | None) -> None:
        """Open a session, or take one over."""
        await self._ask(commands.Hello(session), events.Welcome)

    def expect(self, *request_ids: str) -> Reply:
        """What comes of requests that our session has had from another process; before `hello`."""
        reply = Reply(request_ids, self.send, commands.Execute.op, self._intake)
        for request_id in request_ids:
            request = self._open[request_id] = OpenRequest(commands.Execute(""), reply)
            request.asked = request.accepted = True
        return reply

    def keep(self) -> None:
        """Leave at the runner what nobody has taken here, and a quarter of what its memory holds.

        So whoever takes the session over after us, however we end, gets it again.
        """
        self._keeps = True

    async def forget(self) -> None:
        """Return when the runner has forgotten all that has come.

        Example:
            ```python
            from kernel_runner.client import connect

            async with connect(kernel.address, keep=True) as careful:
                result = await careful.query("6 * 7").result()
                print(result.stdout.strip())  # 42
                await careful.forget()  # it is printed: nobody needs it again
            ```
        """
        self._keeps = False
        await self._ask(commands.Acknowledge(self._last_seq), events.Ok)

    def _new_id(self) -> str:
        return f"{self._name}-{next(self._numbers)}"

    async def _ask(self, command: commands.Command, kind: type[Answer]) -> Answer:
        answer = await self.send(command).answer()
        if not isinstance(answer, kind):
            raise IncompatibleRunner(self.address, f"{command.op} was answered by {answer!r:.80}")
        return answer

    def _post(self, command: commands.Command, request_id: str, reply: Reply) -> None:
        """Send a command whose events go to `reply`, now or when the connection is back."""
        if request_id in self._open:
            raise ValueError(f"a request with the id {request_id!r} is still open")
        request = OpenRequest(command, reply)
        if self._error is not None:
            reply.fail(self._error)
        elif self._is_taken and request.is_queued:
            reply.fail(SessionTaken())
        else:
            self._open[request_id] = request
            if not self._is_away:
                self._put_on_link(request_id, request)

    def _put_on_link(self, request_id: str, request: OpenRequest) -> None:
        request.asked = True
        self._link.send(request.command, request_id)

    def _fail_open(self, error_of: Callable[[OpenRequest], ClientError | None]) -> None:
        """Give up those of the open requests for which there is an error."""
        for request_id, request in list(self._open.items()):
            if (error := error_of(request)) is not None:
                del self._open[request_id]
                request.reply.fail(error)

    # What arrives -----------------------------------------------------------------------------

    def _receive(self, received: Received) -> None:
        event, seq = received.event, received.seq
        request = self._open.get(received.id or "")
        if seq is not None:
            if seq <= (request.last_seq if request is not None else self._last_seq):
                return  # it was sent again, and we have it
            if seq > self._last_seq:
                self._last_seq = seq
                self._acknowledge_some(seq, event)
        if request is None:
            if isinstance(event, events.Superseded):
                self._is_taken = True
                self._fail_open(lambda each: SessionTaken() if each.is_queued else None)
            self.on_other(received)
        elif seq is not None or not _says_it_is_known(event, request):
            self._deliver(received, request)

    def _deliver(self, received: Received, request: OpenRequest) -> None:
        event = received.event
        request.last_seq = received.seq or request.last_seq
        if isinstance(event, events.Accepted):
            request.accepted = True
        elif is_terminal(event):
            del self._open[received.id or ""]
            if isinstance(event, events.Welcome):
                self._enter(event)
        request.reply.put(received)

    def _acknowledge_some(self, seq: int, event: events.AnyEvent) -> None:
        """Let the runner forget what we have, now and then: each time costs a message."""
        if self.welcome is None:
            return  # a runner in this process keeps nothing
        size_bytes = events.size_of(event)
        self._unacknowledged_bytes += size_bytes
        if self._keeps:
            self._shown.append((seq, size_bytes))
            self._shown_bytes += size_bytes
        share_bytes = self.welcome.max_pending_bytes // (16 if self._keeps else 4)
        if self._unacknowledged_bytes >= min(ACKNOWLEDGE_BYTES, share_bytes):
            self._acknowledge()
        elif self._acknowledging is None:
            self._acknowledge_later()

    def _acknowledge_later(self) -> None:
        self._unacknowledged_bytes = max(self._unacknowledged_bytes, 1)
        loop = asyncio.get_running_loop()
        self._acknowledging = loop.call_later(ACKNOWLEDGE_SECONDS, self._acknowledge)

    def _acknowledge(self) -> None:
        if self._acknowledging is not None:
            self._acknowledging.cancel()
            self._acknowledging = None
        if self._unacknowledged_bytes and not self._is_away:
            self._unacknowledged_bytes = 0
            if seq := self._not_wanted():
                self._link.send(commands.Acknowledge(seq), self._new_id())
            if self._keeps and self._intake.unread_bytes and self._error is None:
                self._acknowledge_later()  # it may have been taken then

    def _not_wanted(self) -> int:
        """The last event that the runner need not keep; 0: it is to keep all."""
        if not self._keeps or self.welcome is None:
            return self._last_seq
        # no more: its programs go on only when its memory is less than half full
        kept_bytes = self.welcome.max_pending_bytes // 4 + self._intake.unread_bytes
        seq = 0
        while self._shown and self._shown_bytes > kept_bytes:
            seq, size_bytes = self._shown.popleft()
            self._shown_bytes -= size_bytes
        return seq

    def _enter(self, welcome: events.Welcome) -> None:
        if self.welcome is None or self.welcome.session != welcome.session:
            self._last_seq = 0
        self.welcome = welcome
        if self._keeps:  # so that it has room for more than it keeps
            self.max_unread_bytes = welcome.max_pending_bytes // 8


def _says_it_is_known(event: events.AnyEvent, request: OpenRequest) -> bool:
    """Whether the runner tells that it has seen this request: its events come by themselves."""
    is_duplicate = isinstance(event, events.Refused) and event.code == "duplicate-id"
    return isinstance(event, events.Accepted) or (is_duplicate and request.asked_again)
