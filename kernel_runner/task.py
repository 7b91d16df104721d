"""One request from the queue to its finish: its events, its input, its clock, how it ends."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, assert_never

from kernel_runner.errors import (
    NEVER_RAN,
    InputFull,
    NoProgram,
    NoPrompt,
    NoSignal,
    NotNow,
    Reason,
    TaskError,
)
from kernel_runner.lane import Session
from kernel_runner.limits import WallClock
from kernel_runner.messages import events
from kernel_runner.messages.commands import (
    ProgramCommand,
    QueuedCommand,
    Resize,
    SendSignal,
)
from kernel_runner.messages.options import TaskOptions
from kernel_runner.streams import MAX_INPUT_BYTES, InputSide


class Activity(Protocol):
    """What a task is busy with: a program, an interpreter, a question to the client."""

    def interrupt(self, *, force: bool) -> None:
        """Do what Ctrl-C does; a second one, or `force`, does not stop at what keeps the state."""

    def stop_for_limit(self) -> None:
        """End it: it has used up what it may."""


class Controls(Protocol):
    """What a client can do to a program of its own beside ending it."""

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to its process group."""

    def resize(self, rows: int, cols: int) -> None:
        """Give its terminal another size; raises `NoTerminal`."""


class Interrupted(TaskError):
    """The task was told to end before it could start (another) program."""

    reason = "interrupted"

    def __init__(self, reason: Reason) -> None:
        super().__init__("nothing more was started")
        self.exit_code = 130 if reason == "interrupted" else NEVER_RAN


class Task:
    """The mutable state of one queued command."""

    def __init__(self, command: QueuedCommand, identity: str, session: Session) -> None:
        self.command = command
        self.identity = identity
        self.session = session
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
        self._clock: WallClock | None = None
        self._input: TaskInput | None = None

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
    def input(self) -> "TaskInput":
        if self._input is None:
            self._input = TaskInput(self)
        return self._input

    def start(self) -> None:
        """The task has left the queue: its clock runs."""
        self._clock = WallClock(self.options.limits.wall_s, self._expire)
        self.post(events.Started())

    def post(self, event: events.AnyEvent) -> None:
        """Send an event of this task; never waits."""
        self.session.post(event, self.identity)

    async def emit(self, event: events.AnyEvent) -> None:
        """Send an event of this task; waits, off the clock, while the client reads too slowly."""
        self.post(event)
        await self.room()

    async def room(self) -> None:
        """Return when the client has caught up; the clock stands still until then."""
        if self.session.full:
            resume = self.clock.pause()
            try:
                await self.session.room()
            finally:
                resume()

    def output(self, stream: events.StreamName, data: bytes) -> None:
        """Send a piece of output; whoever has more should look at `session.full` first."""
        self.output_bytes += len(data)
        self.post(events.Output(stream, data))

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

    def stop(self) -> events.Usage:
        """The task has ended; what it took."""
        self.clock.stop()
        if self._input is not None:
            self._input.drop_early()
        return events.Usage(
            wall_s=round(self.clock.elapsed_seconds, 6),
            cpu_s=self.cpu_seconds,
            max_rss_bytes=self.max_rss_bytes,
            output_bytes=self.output_bytes,
        )

    def _expire(self) -> None:
        self.end_reason = self.end_reason or "timeout"
        self.message = self.message or f"it ran longer than {self.options.limits.wall_s:g} s"
        self.reach(lambda activity: activity.stop_for_limit())


class TaskInput:
    """Who may feed the task, and when: its `stdin` option."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._side: InputSide | None = None
        self._resume_clock: Callable[[], None] | None = None
        self._early: list[tuple[bytes, asyncio.Future[None]]] = []
        self._ended = False
        self.fed = asyncio.Event()
        """Set whenever input came: whoever waited for it goes on."""

    @property
    def prompt_open(self) -> bool:
        """Whether the client was asked for input and has not sent any yet."""
        return self._resume_clock is not None

    def connect(self, side: InputSide) -> None:
        """A program takes input from now on."""
        self._side = side
        options = self._task.options
        if options.stdin_bytes is not None:
            side.feed(options.stdin_bytes)
        for data, taken in self._early:
            side.feed(data).add_done_callback(partial(_resolve, taken))
        self._early.clear()
        if self._ended or not self._takes_input:
            side.end()

    def disconnect(self) -> None:
        """The program has ended; a prompt of its has, too."""
        self._side = None
        self.close_prompt()

    def open_prompt(self, *, certain: bool, is_password: bool) -> None:
        """The program waits for input and there is none: ask the client, off the clock."""
        if self.prompt_open or self._side is None:
            return
        if self._ended or not self._takes_input:
            self._side.end()
            return
        self._resume_clock = self._task.clock.pause()
        self._task.post(events.WaitingInput(is_password, certain))

    @property
    def is_raw(self) -> bool:
        """Whether the program reads keys itself, Ctrl-C among them."""
        return self._side is not None and self._side.is_raw()

    def close_prompt(self) -> None:
        if self._resume_clock is not None:
            resume, self._resume_clock = self._resume_clock, None
            resume()

    def feed(self, data: bytes) -> asyncio.Future[None]:
        """Give input to the program; done when the kernel took it.

        Raises:
            NoPrompt: nothing waits for input, and this task does not take it before.
            InputFull: too much waits already.
        """
        self._check_welcome()
        self.close_prompt()
        self.fed.set()
        if self._side is not None:
            return self._side.feed(data)
        waiting = sum(len(piece) for piece, _ in self._early)
        if waiting and waiting + len(data) > MAX_INPUT_BYTES:
            raise InputFull(f"{waiting} bytes of input wait already; send on after an ok")
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._early.append((data, taken))
        return taken

    def end(self) -> None:
        """End the input; raises `NoPrompt` as `feed` does."""
        self._check_welcome()
        self.close_prompt()
        self.fed.set()
        self._ended = self._task.options.stdin == "stream"
        if self._side is not None:
            self._side.end()

    def drop_early(self) -> None:
        """The task has ended: what no program took will be taken by none."""
        for _, taken in self._early:
            _resolve(taken, None)
        self._early.clear()

    def _check_welcome(self) -> None:
        if not self._takes_input:
            raise NoPrompt("this task was given its input with the request")
        if self._task.options.stdin == "prompt" and not self.prompt_open:
            raise NoPrompt("no program waits for input; it was not kept for a later prompt")

    @property
    def _takes_input(self) -> bool:
        return self._task.options.stdin != "none" and self._task.options.stdin_bytes is None


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


def _resolve(taken: asyncio.Future[None], _: object) -> None:
    if not taken.done():
        taken.set_result(None)
