"""One request from the queue to its finish: its events, its clock, how it ends."""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol, assert_never

from kernel_runner.errors import (
    NEVER_RAN,
    NoProgram,
    NoSignal,
    NotNow,
    Reason,
    TaskError,
)
from kernel_runner.lane import Session
from kernel_runner.launcher import Exit, TreeEnd
from kernel_runner.limit_words import REASONS, sentence, size
from kernel_runner.limits import OutputCut, WallClock
from kernel_runner.messages import events
from kernel_runner.messages.commands import (
    ProgramCommand,
    QueuedCommand,
    Resize,
    SendSignal,
)
from kernel_runner.messages.options import Limits, TaskOptions
from kernel_runner.metrics import TaskEnd
from kernel_runner.task_input import TaskInput

HOOK_SECONDS: Final = 5.0
"""What a hook of a language gets to end by itself, or to begin with what can be interrupted."""


class Activity(Protocol):
    """What a task is busy with: a program, an interpreter, a question to the client."""

    def interrupt(self, *, force: bool) -> None:
        """Do what Ctrl-C does; a second one, or `force`, does not stop at what keeps the state."""

    def stop_for_limit(self, name: str) -> None:
        """End it: it has used up what it may."""


class Controls(Protocol):
    """What a client can do to a program of its own beside ending it."""

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to its process group."""

    def resize(self, rows: int, cols: int) -> None:
        """Give its terminal another size; raises `NoTerminal`."""


class Patience:
    """The activity of a task that waits for its client."""

    def __init__(self, room: Coroutine[object, None, None]) -> None:
        self._waiting = asyncio.ensure_future(room)

    async def ended(self) -> None:
        """Return when there is room, or waiting for it has no use."""
        try:
            await asyncio.wait({self._waiting})
        finally:
            self._waiting.cancel()

    def interrupt(self, *, force: bool) -> None:
        self._waiting.cancel()

    def stop_for_limit(self, name: str) -> None:
        self._waiting.cancel()


class Interrupted(TaskError):
    """The task was told to end before it could start (another) program."""

    reason = "interrupted"

    def __init__(self, reason: Reason) -> None:
        super().__init__("nothing more was started")
        self.exit_code = 130 if reason == "interrupted" else NEVER_RAN


class Task:
    """The mutable state of one queued command.

    Args:
        limits: those that hold for it; None: those of its options.
    """

    def __init__(
        self,
        command: QueuedCommand,
        identity: str,
        session: Session,
        limits: Limits | None = None,
    ) -> None:
        self.command = command
        self.identity = identity
        self.session = session
        self.limits = command.options.limits if limits is None else limits
        self.limits_hit: list[str] = []
        self.end_reason: Reason | None = None
        self.message: str | None = None
        self.signal: int | None = None
        self.signals: list[str] = []
        self.exit_code = 0
        self.output_bytes = 0
        self.cpu_seconds = 0.0
        self.max_rss_bytes = 0
        self.traceback: events.ErrorDetails | None = None
        self.activity: Activity | None = None
        self.program: Controls | None = None
        self._missed: list[Callable[[Activity], None]] = []
        self._hook: asyncio.Task[object] | None = None
        self._is_given_up = False
        self._clock: WallClock | None = None
        self._input: TaskInput | None = None
        most = self.limits.output_bytes
        self._cut = OutputCut(most) if most is not None else None
        self._has_ended = False
        self._arrived = time.monotonic()
        self._waited_seconds: float | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.session.name, self.identity

    @property
    def options(self) -> TaskOptions:
        return self.command.options

    @property
    def clock(self) -> WallClock:
        assert self._clock is not None, "the task has started"
        return self._clock

    @property
    def input(self) -> TaskInput:
        if self._input is None:
            self._input = TaskInput(self)
        return self._input

    def start(self) -> None:
        """The task has left the queue: its clock runs."""
        self._waited_seconds = time.monotonic() - self._arrived
        self._clock = WallClock(self.limits.wall_s, lambda: self.pass_limit("wall_s"))
        self.post(events.Started())

    def post(self, event: events.AnyEvent) -> None:
        """Send an event of this task; never waits."""
        self.session.post(event, self.identity)

    def finish(self, finished: events.Finished) -> None:
        """Send the last event of this task."""
        self.post(finished)
        end = TaskEnd(
            identity=self.identity,
            session=self.session.name,
            op=self.command.op,
            waited_seconds=self._waited_seconds,
            age_seconds=time.monotonic() - self._arrived,
            env=self.options.env,
            finish=finished,
        )
        self.session.metrics.end(end)

    async def emit(self, event: events.AnyEvent) -> None:
        """Send an event of this task; waits, off the clock, while the client reads too slowly."""
        self.post(event)
        await self.room()

    async def room(self) -> None:
        """Return when the client has caught up; the clock stands still until then.

        Returns as well when the task is told to end while it is busy with nothing else.
        """
        if not self.session.full:
            return
        resume = self.clock.pause()
        patience = Patience(self.session.room())
        if is_ours := self.activity is None:
            self.begin(patience)
        try:
            await patience.ended()
        finally:
            if is_ours:
                self.activity = None
            resume()

    def output(self, stream: events.StreamName, data: bytes) -> None:
        """Send a piece of output; whoever has more should look at `session.full` first."""
        self.output_bytes += len(data)
        if self._cut is None:
            self.post(events.Output(stream, data))
            return
        for piece in self._cut.feed(stream, data):
            self.post(events.Output(*piece))
        most = self.limits.output_bytes
        if most is not None and self.output_bytes > most and not self._has_ended:
            if self.limits.on_output_limit == "drop":
                self.note_limit("output_bytes")
            else:
                self.pass_limit("output_bytes")

    def begin(self, activity: Activity) -> None:
        """The task is busy with this now; what was to end it before reaches it at once."""
        self.activity = activity
        missed, self._missed = self._missed, []
        for call in missed:
            call(activity)

    def interrupt(self, *, force: bool) -> None:
        """Interrupt what the task is busy with, or what it is just about to begin."""
        self.reach(lambda activity: activity.interrupt(force=force))

    def reach(self, call: Callable[[Activity], None]) -> None:
        """Call with what the task is busy with, now or as soon as it begins."""
        if self.activity is not None:
            call(self.activity)
        else:
            self._missed.append(call)
            asyncio.get_running_loop().call_later(HOOK_SECONDS, self._give_up)

    @contextmanager
    def in_hook(self) -> Iterator[None]:
        """The language has the task inside the block; cancelled when it does not end with it.

        Raises:
            Interrupted: the language awaited something of its own and had to be cancelled.
        """
        self._hook = asyncio.current_task()
        try:
            yield
        except asyncio.CancelledError:
            if not self._is_given_up or self._hook is None:
                raise
            self._hook.uncancel()
            raise Interrupted(self.end_reason or "interrupted") from None
        finally:
            self._hook = None

    def _give_up(self) -> None:
        """The hook is still busy with what nobody but itself knows of."""
        if self._missed and self._hook is not None and not self._is_given_up:
            self._is_given_up = True
            self._hook.cancel()

    def check_interrupted(self) -> None:
        """Raise `Interrupted` when the task was told to end: nothing more is to be started."""
        if self.end_reason is not None:
            raise Interrupted(self.end_reason)

    def control(self, command: ProgramCommand) -> None:
        """Pass a signal or a size on to the program.

        Raises:
            NoProgram: none of this task's runs.
            NoTerminal: it has none.
            NoSignal: there is no such signal.
        """
        call = _call_of(command)
        if self.program is not None:
            call(self.program)
        elif self.activity is None:
            self._missed.append(lambda _: self._control_late(call))
        else:
            raise NoProgram("this request has no program of its own, as a query to an interpreter")

    def _control_late(self, call: Callable[[Controls], None]) -> None:
        """For a program that was just about to start when its client spoke to it."""
        if self.program is not None:
            with suppress(NotNow):
                call(self.program)

    def add_usage(self, cpu_seconds: float, max_rss_bytes: int) -> None:
        self.cpu_seconds += cpu_seconds
        self.max_rss_bytes = max(self.max_rss_bytes, max_rss_bytes)

    def pass_limit(self, name: str) -> None:
        """It went beyond this limit, so it is to end."""
        if self.end_reason is None and not self._has_ended:
            self.end_reason = REASONS[name]
            self.message = self.message or sentence(name, getattr(self.limits, name))
            self.reach(lambda activity: activity.stop_for_limit(name))

    def violate(self, sentence: str) -> None:
        """What it did was not allowed, and its jail ends it."""
        if self.end_reason is None and not self._has_ended:
            self.end_reason, self.message = "jail-violation", sentence

    def note_limit(self, name: str) -> None:
        """It went beyond this limit, and goes on."""
        if name not in self.limits_hit:
            self.limits_hit.append(name)

    def add_program(self, exited: Exit | None, end: TreeEnd | None) -> None:
        """A program of it has ended, as far as is known."""
        if end is not None:
            self.add_usage(end.cpu_seconds, end.max_rss_bytes)
            for name in end.refused:
                self.note_limit(name)
        if exited is not None:
            self.signal, self.exit_code = exited.signal, exited.exit_code
            if exited.signal == signal.SIGXFSZ and self.limits.file_bytes is not None:
                self.note_limit("file_bytes")

    def stop(self) -> events.Usage:
        """The task has ended; what it took."""
        self.clock.stop()
        self._has_ended = True
        if self._input is not None:
            self._input.drop_early()
        return events.Usage(
            wall_s=round(self.clock.elapsed_seconds, 6),
            cpu_s=round(self.cpu_seconds, 6),
            max_rss_bytes=self.max_rss_bytes,
            output_bytes=self.output_bytes,
            dropped_bytes=self._send_tail(),
        )

    def _send_tail(self) -> int:
        """Send what is kept of too much output; how many bytes before it are not sent."""
        if self._cut is None:
            return 0
        tail, dropped = self._cut.end(), self._cut.dropped_bytes
        if dropped:
            text = f"{dropped} bytes of output ({size(dropped)}) were left out here"
            now = events.local_time(time.time())
            self.post(events.Log("warning", now, __name__, text))
        for piece in tail:
            self.post(events.Output(*piece))
        return dropped

    @property
    def limits_message(self) -> str | None:
        """Of the limits that were hit while it went on, a sentence."""
        known = [sentence(name, getattr(self.limits, name)) for name in self.limits_hit]
        return "; ".join(known) or None


def _call_of(command: ProgramCommand) -> Callable[[Controls], None]:
    match command:
        case SendSignal(name=name):
            number = _signal_of(name)
            return lambda program: program.send_signal(number)
        case Resize(rows=rows, cols=cols):
            return lambda program: program.resize(rows, cols)
        case _:
            assert_never(command)


def _signal_of(name: str) -> signal.Signals:
    try:
        return signal.Signals["SIG" + name.upper().removeprefix("SIG")]
    except KeyError:
        raise NoSignal(name) from None
