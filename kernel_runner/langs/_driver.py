"""One running driver: cells and questions in, its events out; see docs/drivers.md."""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from kernel_runner import prompts, streams
from kernel_runner.errors import NEVER_RAN, InterpreterDied, LaunchError
from kernel_runner.langs import _bodies
from kernel_runner.langs._cell_meter import LONG_SECONDS, CellMeter
from kernel_runner.langs._frames import Frame, FrameReader, MalformedFrame, encode
from kernel_runner.langs._owners import Owners
from kernel_runner.launcher import Argv, Launcher
from kernel_runner.messages import events
from kernel_runner.process import STEP_SECONDS, Flow, Program, Streams
from kernel_runner.task import Task

COMMAND_FD: Final = 3
EVENT_FD: Final = 4
READY_SECONDS: Final = 30.0
BEGIN_SECONDS: Final = 0.1
"""By then a driver has begun the cell that it was told to run."""
MAX_EARLY_BYTES: Final = 1 << 20
"""What an interpreter may print before its first cell; then it has to wait for that."""

log = logging.getLogger(__name__)


class Driver:
    """Started by `start`, ended by `stop`; the state of the user's code lives as long."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader()
        self._ready: asyncio.Future[Frame] = self._loop.create_future()
        self._done: asyncio.Future[Frame] | None = None
        self._answers: dict[str, asyncio.Future[Frame]] = {}
        self._owners = Owners()
        self._interrupts = 0
        self._is_over = False
        self._told_at = 0.0
        self._timers: list[asyncio.TimerHandle] = []
        self.interrupt_again_seconds: float | None = None
        self._held: list[tuple[events.StreamName, bytes]] = []
        self._draining = False
        self._early: list[tuple[events.StreamName, bytes]] = []
        self._early_bytes = 0
        self._on_first_cell: list[Callable[[], None]] = []
        self.alive = False
        self.shell: str | None = None
        """What executes cells inside the interpreter, if it says so."""

    @classmethod
    async def start(
        cls,
        launcher: Launcher,
        command: Argv,
        name: str,
        *,
        env: Mapping[str, str],
        cwd: Path,
    ) -> "Driver":
        """Start it and return when it can take code.

        Raises:
            LaunchError: it could not be started.
            InterpreterDied: it ended at once, or was not ready in time.
        """
        driver = cls(name)
        await driver._launch(launcher, command, env, cwd)
        try:
            async with asyncio.timeout(READY_SECONDS):
                driver.shell = (await driver._ready).keys.get("shell")
        except BaseException as error:
            await driver.stop()
            if isinstance(error, TimeoutError):
                raise InterpreterDied(name, "did not get ready", NEVER_RAN) from error
            raise
        return driver

    async def _launch(
        self, launcher: Launcher, command: Argv, env: Mapping[str, str], cwd: Path
    ) -> None:
        self._streams = raw = Streams(self._flow())
        raw.open_input("terminal")
        raw.open_output("pipes")
        commands_out, commands_in = streams.open_input_pipe()
        events_in, events_out = streams.open_output_pipe()
        raw.give(commands_in, COMMAND_FD)
        raw.give(events_out, EVENT_FD)
        self._commands = streams.PipeInput(commands_out)
        self._events = streams.OutputReader(events_in, self._receive)
        raw.readers.append(self._events)
        try:
            self._program = await Program.start(
                launcher,
                [*command, str(COMMAND_FD), str(EVENT_FD)],
                env=env,
                cwd=cwd,
                program_streams=raw,
                signals=[],
                on_killed=self._violate,
            )
        except LaunchError:
            self._commands.close()
            raise
        self.meter = CellMeter(self._program.spawned)
        self.alive = True
        self._program.spawned.exited.add_done_callback(lambda _: self._lost())

    def _violate(self, sentence: str) -> None:
        if self._owners.last is not None:
            self._owners.last.violate(sentence)

    def _flow(self) -> Flow:
        return Flow(
            on_output=self._raw_output,
            is_full=self._is_full,
            when_room=self._when_room,
            pause=lambda: (
                self._owners.last.clock.pause() if self._owners.last is not None else lambda: None
            ),
        )

    def _is_full(self) -> bool:
        if self._owners.last is None:
            return self._early_bytes > MAX_EARLY_BYTES
        return self._owners.last.session.full

    def _when_room(self, call: Callable[[], None]) -> None:
        if self._owners.last is None:
            self._on_first_cell.append(call)
        else:
            self._owners.last.session.when_room(call)

    # One cell ---------------------------------------------------------------------------------

    async def run(self, code: str, task: Task) -> int:
        """Run one cell as `task`; its exit code.

        Raises:
            InterpreterDied: the process ended before the cell did.
        """
        self._owners.begin(task)
        self._interrupts = 0
        self._program.signals = task.signals
        self._done = self._loop.create_future()
        self._emit_early(task)
        side = self._streams.input
        assert isinstance(side, streams.TerminalInput)
        task.input.connect(side)
        watcher = prompts.Watcher(
            self._program.spawned, side, task.input, lambda: self._streams.last_output
        )
        self._timers.append(self._loop.call_later(LONG_SECONDS, self.meter.begin_late, task))
        try:
            self._told_at = self._loop.time()
            keys = {"as_data": "1"} if task.options.as_data else {}
            self._tell(Frame("code", code.encode(errors="surrogatepass"), keys))
            done = await self._done
            self._is_over = True
            await self._stop_interrupting()
            return self._report(done, task)
        except asyncio.CancelledError:  # the runner stops: what comes later is nobody's
            self._streams.drain()
            self._owners.forget()
            raise
        finally:
            watcher.stop()
            self._done = None
            self._cancel_timers()
            cpu_seconds, max_rss_bytes = await self.meter.end()
            task.add_usage(max(cpu_seconds - task.cpu_seconds, 0.0), max_rss_bytes)
            self._streams.read_normally()
            self._is_over = False
            if self.alive:
                side.forget()

    async def _stop_interrupting(self) -> None:
        """What was sent to interrupt this cell does not meet the next one."""
        self._cancel_timers()
        if self._interrupts == 0:
            return
        if not self._program.stop_interrupting():
            await self._program.ended_within(2 * STEP_SECONDS)
            return
        with suppress(TimeoutError):  # a cell can stop its keeper
            async with asyncio.timeout(STEP_SECONDS):
                # it is answered when all signals are on their way
                await self._program.spawned.look()

    def _cancel_timers(self) -> None:
        while self._timers:
            self._timers.pop().cancel()

    def _report(self, done: Frame, task: Task) -> int:
        keys = done.keys
        task.add_usage(int(keys.get("cpu_us", 0)) / 1e6, int(keys.get("rss_kib", 0)) * 1024)
        if keys.get("reason") == "error":
            task.end_reason = task.end_reason or "error"
        return int(keys.get("exit", 0))

    def interrupt(self, *, force: bool) -> None:
        """SIGINT keeps the state; a second one, or `force`, climbs and loses it."""
        if self._is_over:
            return
        self._interrupts += 1
        if force or self._interrupts > 1:
            self._program.interrupt(force=force)
            return
        self._streams.read_late()
        self._program.signals.append("SIGINT")
        self._send_interrupt()
        again_seconds = self.interrupt_again_seconds
        if self._loop.time() - self._told_at < BEGIN_SECONDS:
            again_seconds = BEGIN_SECONDS  # the driver may not have begun, and so ignored it
        if again_seconds is not None:
            self._timers.append(self._loop.call_later(again_seconds, self._send_interrupt))

    def _send_interrupt(self) -> None:
        self._program.spawned.signal(signal.SIGINT, "group")

    def stop_for_limit(self, name: str) -> None:
        if self._done is None or self._done.done():
            return  # it ended by itself just before that was seen
        self.interrupt(force=False)
        self._timers.append(
            self._loop.call_later(STEP_SECONDS, lambda: self._program.interrupt(force=True))
        )

    # Questions --------------------------------------------------------------------------------

    async def ask(self, question: Frame, serial: str) -> Frame:
        """The answer to a question about code; cancel it when it takes too long."""
        answer: asyncio.Future[Frame] = self._loop.create_future()
        self._answers[serial] = answer
        try:
            self._tell(question)
            return await answer
        finally:
            del self._answers[serial]

    async def stop(self) -> None:
        """End the process and all it started."""
        self._commands.close()
        if not self._program.spawned.ended.done():
            self._program.spawned.sweep()
            await self._program.ended_within(STEP_SECONDS)
        self._streams.close()

    # What comes from the process --------------------------------------------------------------

    def _tell(self, frame: Frame) -> None:
        self._commands.feed(encode(frame))

    def _receive(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._hear(frame)
        except MalformedFrame as error:
            log.error("the %s driver broke its protocol: %s", self._name, error)
            self._program.interrupt(force=True)
        self._streams.check_room()

    def _hear(self, frame: Frame) -> None:
        if "drain" in frame.keys:
            self._drain_raw()
        match frame.type:
            case "stdout":
                self._output("stdout", frame.body, self._owners.of(frame))
            case "stderr":
                self._output("stderr", frame.body, self._owners.of(frame))
            case "media":
                if (shown := _bodies.media(frame)) is not None:
                    self._post(shown, self._owners.of(frame))
            case "clear":
                cleared = events.ClearOutput(frame.keys.get("wait") == "1")
                self._post(cleared, self._owners.of(frame))
            case "waiting":
                self._open_prompt(is_password=frame.keys.get("password") == "1")
            case "error":
                if self._owners.last is not None:
                    self._owners.last.traceback = _bodies.details(frame.body)
            case "done":
                self._drain_raw()
                _resolve(self._done, frame)
            case "ready":
                _resolve(self._ready, frame)
            case "completion" | "inspection" | "completeness":
                _resolve(self._answers.get(frame.keys.get("serial", "")), frame)
            case "log":
                level = logging.getLevelNamesMapping().get(
                    frame.keys.get("level", "info").upper(), logging.INFO
                )
                log.log(level, "%s", frame.body.decode(errors="replace"))
            case other:
                raise MalformedFrame(f"unknown frame type {other!r}")

    def _drain_raw(self) -> None:
        """Pass on what C code and child processes have written before this moment."""
        self._program.spawned.read_refusals()
        self._release_held()
        self._draining = True
        for reader in self._streams.readers:
            if reader is not self._events:
                reader.drain()
        self._draining = False

    def _raw_output(self, stream: events.StreamName, data: bytes) -> None:
        """Output past the driver: behind the frames that were written when there was none yet."""
        if self._draining:
            self._output(stream, data, self._owners.last)
            return
        self._held.append((stream, data))
        self._events.drain()
        self._release_held()

    def _release_held(self) -> None:
        held, self._held = self._held, []
        for stream, data in held:
            self._output(stream, data, self._owners.last)

    def _output(self, stream: events.StreamName, data: bytes, owner: Task | None) -> None:
        self._streams.last_output = self._loop.time()
        if owner is None:
            self._early.append((stream, data))
            self._early_bytes += len(data)
        else:
            owner.output(stream, data)

    def _post(self, event: events.AnyEvent, owner: Task | None) -> None:
        if owner is not None:
            owner.post(event)

    def _emit_early(self, task: Task) -> None:
        """What was printed before the first cell belongs to that."""
        for stream, data in self._early:
            task.output(stream, data)
        self._early.clear()
        while self._on_first_cell:
            self._on_first_cell.pop()()

    def _open_prompt(self, *, is_password: bool) -> None:
        if self._owners.last is not None and self._done is not None:
            self._owners.last.input.open_prompt(certain=True, is_password=is_password)

    def _lost(self) -> None:
        """The process has ended: whoever waits for it is told."""
        self.alive = False
        self._commands.close()
        exited = self._program.spawned.exited.result()
        if exited.background:
            self._program.spawned.sweep()
        self._streams.drain()
        if exited.signal is not None:
            how = f"was killed by {_signal_name(exited.signal)}"
        else:
            how = f"ended with exit code {exited.exit_code}"
        died = InterpreterDied(self._name, how, exited.exit_code)
        if self._owners.last is not None and self._done is not None and not self._done.done():
            self._owners.last.signal = exited.signal
        for waiting in (self._ready, self._done):
            if waiting is not None and not waiting.done():
                waiting.set_exception(died)
                waiting.exception()  # it may be that nobody waits any more


def _resolve(waiting: asyncio.Future[Frame] | None, frame: Frame) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(frame)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
