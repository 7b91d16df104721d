"""Requests in, their replies out, over a link that may be cut and come back.

What was asked and is not answered when the connection comes back is asked again with its id: the
runner runs no id twice.  What has no such protection, as input, fails: its fate is not known.
"""

import asyncio
from collections.abc import Coroutine
from typing import Final

from kernel_runner.client.errors import (
    ClientError,
    ConnectionCut,
    RequestRefused,
    RunnerReplaced,
    RunnerUnreachable,
)
from kernel_runner.client.reply import Reply
from kernel_runner.client.requests import OpenLink, OpenRequest, Requests
from kernel_runner.messages import commands, events
from kernel_runner.messages.session_wire import Received

RECONNECT_SECONDS: Final = 300.0

ASKED_AGAIN: Final = (
    *commands.QUEUED,  # no id is run twice
    commands.Complete,
    commands.Inspect,
    commands.IsComplete,
    commands.Upload,
    commands.Download,
    commands.ListFiles,
    commands.GetStatus,
    commands.ListQueue,
    commands.ListServices,
    commands.Resize,
)
"""What does no harm when it is asked a second time."""


class Connection(Requests):
    """The requests of one client, which outlive a lost connection."""

    def __init__(self, open_link: OpenLink) -> None:
        super().__init__(open_link)
        self.reconnect_seconds = RECONNECT_SECONDS
        """How long a lost connection may stay away before the open requests are given up."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._coming_back: asyncio.Task[None] | None = None

    def close(self) -> None:
        super().close()
        for task in self._tasks:
            task.cancel()

    def come_back(self) -> None:
        """The link has a new connection: say hello on it, and ask again what is open."""
        if self._error is not None:
            return
        self._is_away = True
        if self._coming_back is not None:
            self._coming_back.cancel()
        self._coming_back = self._spawn(self._come_back(), "come-back")

    def _spawn(self, work: Coroutine[object, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _come_back(self) -> None:
        self._fail_open(self._unknown)
        try:
            async with asyncio.timeout(self.reconnect_seconds):
                if self.welcome is not None and not self._is_taken:
                    await self._greet(self.welcome.session)
        except TimeoutError:
            trouble = "the connection was lost and did not come back"
            self.fail(RunnerUnreachable(self.address, self.reconnect_seconds, trouble))
        except ClientError as error:
            if self._error is None:
                self.fail(error)
        self._is_away = False
        self._acknowledge_again()
        for request_id, request in list(self._open.items()):
            if not request.accepted:
                request.asked_again = request.asked
                self._put_on_link(request_id, request)

    def _acknowledge_again(self) -> None:
        """The last acknowledgement may be lost, and a program may wait for it."""
        if self._last_seq:
            self._link.send(commands.Acknowledge(self._last_seq), self._new_id())

    def _deliver(self, received: Received, request: OpenRequest) -> None:
        if self._overtook_hello(received.event, request):
            request.asked = False  # and is asked with the others, behind hello
        else:
            super()._deliver(received, request)

    def _overtook_hello(self, event: events.AnyEvent, request: OpenRequest) -> bool:
        """Whether the request went out on a new connection before we heard of the cut."""
        return (
            isinstance(event, events.Refused)
            and event.code == "no-session"
            and self.welcome is not None
            and not self._is_taken
            and not isinstance(request.command, commands.Hello)
        )

    def _unknown(self, request: OpenRequest) -> ClientError | None:
        """The error of a request that may have been carried out and cannot be asked again."""
        is_first_hello = isinstance(request.command, commands.Hello) and self.welcome is None
        if not request.asked or is_first_hello or isinstance(request.command, ASKED_AGAIN):
            return None
        return ConnectionCut(self.address, request.command.op)

    async def _greet(self, session: str) -> None:
        try:
            await self._ask_now(commands.Hello(session, self._last_seq))
        except RequestRefused as refused:
            if refused.code != "no-session":
                raise
            self._fail_open(lambda each: RunnerReplaced(self.address, each.command.op))
            await self._ask_now(commands.Hello())

    async def _ask_now(self, command: commands.Hello) -> None:
        """Ask while all others have to wait for the connection."""
        request_id = self._new_id()
        reply = Reply((request_id,), self.send, command.op, self._intake)
        self._open[request_id] = request = OpenRequest(command, reply)
        self._put_on_link(request_id, request)
        await reply.answer()
