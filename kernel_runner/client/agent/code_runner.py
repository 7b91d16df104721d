"""What an agent asks of a runner in; commands of the agent dialect out, and results back."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from kernel_runner.client.agent import run
from kernel_runner.client.agent.console import NextResult
from kernel_runner.client.agent.errors import (
    RunnerClosed,
    RunnerLost,
    RunnerNotReady,
    Unreadable,
)
from kernel_runner.client.agent.questions import ANSWERS, Questions, frames_of
from kernel_runner.client.agent.run import Run
from kernel_runner.client.agent.runs import Runs
from kernel_runner.client.socket import AgentSockets
from kernel_runner.errors import ClientError, ProtocolError
from kernel_runner.messages import commands, events
from kernel_runner.messages.agent_wire import Frames, decode_event, encode_command

CONNECT_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 10.0
SERVICE_SECONDS: Final = 35.0
"""More than the runner itself waits for a service."""
ABANDON_SECONDS: Final = 60.0
MAX_BUFFERED_BYTES: Final = 16 * 1024 * 1024
HARD_FACTOR: Final = 4

log = logging.getLogger(__name__)


@asynccontextmanager
async def connect(
    commands_at: str,
    events_at: str,
    *,
    connect_seconds: float = CONNECT_SECONDS,
    keepalive_seconds: float | None = None,
    abandon_seconds: float | None = ABANDON_SECONDS,
    max_buffered_bytes: int = MAX_BUFFERED_BYTES,
) -> "AsyncIterator[CodeRunner]":
    """A connection that is ready, and becomes so again by itself while the block is open.

    Args:
        commands_at: what the runner announces as ``in``.
        events_at: what it announces as ``out``.
        connect_seconds: how long the runner may take to start.
        keepalive_seconds: ask for the status so often, so that nothing between the two ends
            forgets the connection.
        abandon_seconds: a run that nobody asked for so long, while others wait, is interrupted
            and its output thrown away; None lets it hold its place for ever.
        max_buffered_bytes: what a run may have printed before its program has to wait.

    Raises:
        BadAddress: one of the two is no address.
        RunnerNotReady: nobody answered in time, or another agent is connected.
    """
    runner = CodeRunner(
        commands_at,
        events_at,
        abandon_seconds=abandon_seconds,
        max_buffered_bytes=max_buffered_bytes,
    )
    keeping: asyncio.Task[None] | None = None
    try:
        await runner.connected(timeout_seconds=connect_seconds)
        if keepalive_seconds is not None:
            keeping = asyncio.create_task(runner.keep_alive(keepalive_seconds), name="keepalive")
        yield runner
    finally:
        if keeping is not None:
            keeping.cancel()
        runner.close()


class CodeRunner:
    """One runner, as an agent sees it; use `connect`.

    `feed_code` and `feed_batch` put a run in line and return at once; `next_result`, called until
    it says ``finished``, tells what the run does.  All others do not wait in line.

    One socket carries output and answers.  So when nobody takes the output of the active run:
    - above `max_buffered_bytes` this side stops reading, and the program has to wait;
    - but while a question is unanswered it reads on, up to four times as much, since the answer
      stands behind what was printed before;
    - above that the answer waits until somebody asks for results; when nobody has for 5 seconds,
      the output is thrown away up to the answer.  How much it was is told at its place.
    A client that asks at least every 5 seconds loses nothing, and no answer is later than that.
    """

    def __init__(
        self,
        commands_at: str,
        events_at: str,
        *,
        abandon_seconds: float | None,
        max_buffered_bytes: int,
    ) -> None:
        self.address = f"{commands_at} and {events_at}"
        self._max_bytes = max_buffered_bytes
        self._hard_bytes = max_buffered_bytes * HARD_FACTOR
        self._again: asyncio.TimerHandle | None = None
        self._is_ready = asyncio.Event()
        self._token = ""
        self._sockets = AgentSockets(
            commands_at,
            events_at,
            on_frames=self._receive,
            on_connected=self._synchronise,
            on_lost=self._lose,
        )
        self._questions = Questions(self._sockets.send, self._regulate)
        self._runs = Runs(
            self._sockets.send,
            self._regulate,
            self._synchronise,
            max_bytes=max_buffered_bytes,
            abandon_seconds=abandon_seconds,
        )

    async def connected(self, *, timeout_seconds: float) -> None:
        """Return when there is a connection; raises `RunnerNotReady`."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._is_ready.wait()
        except TimeoutError as error:
            raise RunnerNotReady(self.address, timeout_seconds) from error

    async def keep_alive(self, period_seconds: float) -> None:
        """Ask for the status for ever, unless somebody waits for it already."""
        while True:
            await asyncio.sleep(period_seconds)
            if self._is_ready.is_set() and not self._questions.is_busy(events.Status):
                try:
                    await self.feed_and_get_status()
                except ClientError as error:
                    log.warning("keep-alive: %s", error)

    def close(self) -> None:
        """End it; whoever waits gets `RunnerClosed`."""
        self._is_ready.clear()
        self._questions.end(RunnerClosed())
        self._runs.end(RunnerClosed())
        if self._again is not None:
            self._again.cancel()
        self._sockets.close()

    # Runs -------------------------------------------------------------------------------------

    async def feed_batch(
        self, *, clean: str = "", build: str = "", exec: str = "", run_id: str | None = None
    ) -> str:
        """Run the three steps; each is a shell command, ``*`` as the language does, or empty.

        Returns the id of the run, chosen here if none is given.

        Raises:
            RunIsOpen: there is a run of this id.
            RequestRefused: a text cannot be sent.
        """
        steps = (commands.Clean(clean), commands.Build(build), commands.Execute(exec))
        return self._add(run_id, steps)

    async def feed_code(self, code: str, *, run_id: str | None = None) -> str:
        """Run source text; what it defines is kept.  Returns and raises as `feed_batch`."""
        return self._add(run_id, [commands.Query(code)])

    async def next_result(
        self,
        run_id: str,
        *,
        flush_timeout_seconds: float | None = 2.0,
        api_version: int = 4,
    ) -> NextResult:
        """What the run printed since the last result, and how it stands.

        A step that ended, or a question for input, ends a result, in their order.  Otherwise it is
        ``continued`` after the flush timeout, or once `max_buffered_bytes` have come together.

        Args:
            flush_timeout_seconds: None for a client that does not declare the continuation.

        Raises:
            UnknownRun: it was never fed, or was told to its end.
            RunnerLost, Unreadable: it will have no end; all that it printed was given before.
            RunAbandoned: nobody asked for too long.
        """
        return await self._runs.next_result(
            run_id, flush_timeout_seconds=flush_timeout_seconds, api_version=api_version
        )

    async def feed_input(self, run_id: str, text: str) -> None:
        """Answer a program that waits for input; raises `UnknownRun` or `RunNotActive`."""
        self._runs.check_active(run_id)
        self._say(commands.Input(text.encode(errors="replace")))

    async def feed_interrupt(self, run_id: str | None = None) -> None:
        """End the run that is active, all steps of it.

        With an id only that run, which is never started if it still waits.
        """
        if run_id is not None:
            if self._runs.take_out(run_id):
                return
            self._runs.check_active(run_id)
        self._check_ready()
        self._runs.interrupt()

    async def release(self, run_id: str) -> None:
        """The client of this run is gone: end the run, and keep nothing of it."""
        self._runs.release(run_id)

    def _add(self, run_id: str | None, steps: Sequence[commands.QueuedCommand]) -> str:
        added = Run(run_id or secrets.token_hex(8), steps, hard_bytes=self._hard_bytes)
        self._runs.add(added)
        return added.id

    # What does not wait in line ---------------------------------------------------------------

    async def feed_event(self, kind: str, data: object = None) -> None:
        """Tell what the host saw happen to the runner, such as ``oom``."""
        self._say(commands.HostEvent(kind, data))

    async def feed_and_get_status(self) -> events.Status:
        """Raises `NoAnswer` or `RunnerLost`, as all of these do."""
        question = commands.GetStatus(secrets.token_hex(8))
        return await self._questions.ask(question, events.Status, timeout_seconds=ANSWER_SECONDS)

    async def feed_and_get_completion(self, code: str, cursor: int | None = None) -> list[str]:
        """How the code could go on at the cursor, counted in characters; by default its end."""
        question = commands.Complete(code, len(code) if cursor is None else cursor)
        answer = await self._questions.ask(
            question, events.Completion, timeout_seconds=ANSWER_SECONDS
        )
        return answer.suggestions

    async def feed_start_service(
        self,
        name: str,
        *,
        ports: Sequence[int] = (),
        protocol: str = "tcp",
        arguments: Mapping[str, object] | None = None,
        envs: Mapping[str, str] | None = None,
    ) -> events.ServiceResult:
        """Start a service; a failure is a result."""
        options = commands.ServiceOptions(
            None if arguments is None else dict(arguments), None if envs is None else dict(envs)
        )
        port = ports[0] if ports else None
        question = commands.StartService(name, port, tuple(ports), protocol, options)
        return await self._questions.ask(
            question, events.ServiceResult, timeout_seconds=SERVICE_SECONDS
        )

    async def feed_shutdown_service(self, name: str) -> None:
        self._say(commands.ShutdownService(name))

    async def feed_service_apps(self, name: str = "") -> events.AppsResult:
        """Which services there are, or the one of this name."""
        question = commands.ListServices(name)
        return await self._questions.ask(
            question, events.AppsResult, timeout_seconds=ANSWER_SECONDS
        )

    async def feed_start_model_service(
        self,
        name: str,
        model_path: str,
        service: Mapping[str, object],
        *,
        timeout_seconds: float = SERVICE_SECONDS,
    ) -> events.ModelServiceResult:
        """Start a model server; a failure is a result."""
        question = commands.StartModelService(name, model_path, dict(service))
        return await self._questions.ask(
            question, events.ModelServiceResult, timeout_seconds=timeout_seconds
        )

    def _say(self, command: commands.Command) -> None:
        frames = frames_of(command)
        self._check_ready()
        self._sockets.send(frames)

    def _check_ready(self) -> None:
        if not self._is_ready.is_set():
            raise RunnerLost(self.address)

    # The connection ---------------------------------------------------------------------------

    def _synchronise(self) -> None:
        """Ask who is there.  All before the answer was meant for an earlier connection."""
        self._token = secrets.token_hex(8)
        self._sockets.send(encode_command(commands.GetStatus(self._token)))

    def _lose(self) -> None:
        self._is_ready.clear()
        self._questions.close(RunnerLost(self.address))
        self._runs.close(RunnerLost(self.address))
        self._regulate()

    def _receive(self, frames: Frames) -> None:
        try:
            event = decode_event(frames)
        except ProtocolError as error:
            self._receive_unreadable(frames, error)
            return
        if isinstance(event, events.Status) and event.echo == self._token:
            self._meet(event)
        elif self._is_ready.is_set() and not self._questions.put(event):
            self._runs.put(event)
            self._regulate()

    def _meet(self, status: events.Status) -> None:
        """A runner that stops is none: what it is fed comes back."""
        if status.state == "stopping":
            self._lose()
        elif self._is_ready.is_set():
            self._runs.go_on()
        else:
            self._is_ready.set()
            self._questions.open()
            self._runs.open(is_idle=status.running is None and status.queue_length == 0)

    def _receive_unreadable(self, frames: Frames, error: ProtocolError) -> None:
        """Whoever it was meant for is told; the reading goes on."""
        log.warning("%s", error)
        kind = frames[0].decode(errors="replace") if frames else ""
        if kind in events.EVENTS and issubclass(events.EVENTS[kind], ANSWERS):
            self._questions.fail(kind, Unreadable(str(error)))
        elif self._is_ready.is_set():
            self._runs.unreadable(kind, Unreadable(str(error)))

    def _regulate(self) -> None:
        """Read, unless too much is kept; called whenever that may have changed."""
        kept_bytes, is_asked = self._runs.kept_bytes, self._questions.are_on_wire
        may_overflow = is_asked and (kept_bytes < self._hard_bytes or self._runs.is_unattended)
        if kept_bytes < self._max_bytes or may_overflow:
            self._sockets.resume()
            return
        self._sockets.pause()
        if is_asked and self._again is None:
            loop = asyncio.get_running_loop()
            self._again = loop.call_later(run.PATIENCE_SECONDS, self._regulate_again)

    def _regulate_again(self) -> None:
        self._again = None
        self._regulate()
