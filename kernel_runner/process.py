"""One program as one process tree: argv, input and limits in; output, exit code and usage out."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from kernel_runner import streams, terminal
from kernel_runner.errors import NoTerminal
from kernel_runner.launcher import Argv, Budget, Exit, Launcher, Spawned, TreeEnd
from kernel_runner.limit_words import KILLED_FOR
from kernel_runner.messages.events import StreamName
from kernel_runner.messages.options import Terminal
from kernel_runner.supervision import watched

STEP_SECONDS: Final = 2.0
"""Between the rungs of an interrupt: SIGINT, SIGTERM, SIGKILL."""
DRAIN_SECONDS: Final = 0.1
"""What background processes of a program get to finish by themselves once it has ended."""
END_SECONDS: Final = 1.0
"""The grace that a program gets when the runner stops."""
LATE_BYTES: Final = 8 << 20
"""What is still read of an interrupted program while the client does not read."""

OutputKind: TypeAlias = Literal["pipes", "terminals"]
InputKind: TypeAlias = Literal["terminal", "pipe", "null"]
OUTPUTS: Final[Sequence[tuple[int, StreamName]]] = ((1, "stdout"), (2, "stderr"))
STANDARD_STREAMS: Final = ("stdin", "stdout", "stderr")
OnOutput: TypeAlias = Callable[[StreamName, bytes], None]


class Flow(msgspec.Struct, frozen=True):
    """Where output goes, and how to know that it is too much for now."""

    on_output: OnOutput
    is_full: Callable[[], bool]
    when_room: Callable[[Callable[[], None]], None]
    pause: Callable[[], Callable[[], None]]
    """Called when the program has to wait for its client; the result when it goes on."""


class Streams:
    """Both ends of a program's descriptors 0, 1 and 2, and what is read from ours."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._theirs: list[int] = []
        self.descriptors: list[tuple[int, int]] = []
        self.readers: list[streams.OutputReader] = []
        self.input: streams.InputSide | None = None
        self.terminal: int | None = None
        """The number of the descriptor that becomes the program's controlling terminal."""
        self._sized: streams.OutputReader | None = None
        self._resumed: Callable[[], None] | None = None
        self._late_bytes: int | None = None
        self.last_output = 0.0

    def open_terminal(self, options: Terminal) -> None:
        """One terminal for several streams; what is written to it is `stdout` if that is one."""
        master, slave = terminal.open_whole(options.rows, options.cols)
        numbers = sorted(STANDARD_STREAMS.index(stream) for stream in options.streams)
        self.terminal = numbers[0]
        if self.terminal == 0:
            self.input = streams.TerminalInput(master, os.dup(slave))
        self.give(slave, *numbers)
        self._sized = self._read(master, "stdout" if 1 in numbers else "stderr")

    def open_input(self, kind: InputKind) -> None:
        match kind:
            case "terminal":
                master, slave = terminal.open_input()
                self.terminal = 0
                self.input = streams.TerminalInput(master, os.dup(slave))
                self._read(master, "stdout")  # what is written to /dev/tty
                self.give(slave, 0)
            case "pipe":
                ours, theirs = streams.open_input_pipe()
                self.input = streams.PipeInput(ours)
                self.give(theirs, 0)
            case "null":
                self.give(os.open(os.devnull, os.O_RDONLY), 0)

    def open_output(self, kind: OutputKind) -> None:
        """Open those outputs that are not a terminal's already."""
        open_one = terminal.open_output if kind == "terminals" else streams.open_output_pipe
        for number, stream in OUTPUTS:
            if self.gives(number):
                continue
            ours, theirs = open_one()
            self.give(theirs, number)
            self._read(ours, stream)

    def gives(self, number: int) -> bool:
        """Whether the program has a descriptor of this number already."""
        return any(number == given for given, _ in self.descriptors)

    def give(self, fd: int, *numbers: int) -> None:
        """Pass a descriptor under these numbers; ours is closed once the program has started."""
        self._theirs.append(fd)
        self.descriptors += [(number, fd) for number in numbers]

    def started(self) -> None:
        """The program has its copies now."""
        for fd in self._theirs:
            os.close(fd)
        self._theirs.clear()

    def resize(self, rows: int, cols: int) -> None:
        """Tell the program that its terminal has another size.

        Raises:
            NoTerminal: it has none of a size.
        """
        if self._sized is None or self._sized.closed:
            raise NoTerminal("the program that runs has no terminal of a size")
        terminal.set_size(self._sized.fd, rows, cols)

    def read_late(self) -> None:
        """Go on reading a bounded amount though the client is slow: the program is to end."""
        if self._late_bytes is None:
            self._late_bytes = LATE_BYTES
            self._resume()

    def read_normally(self) -> None:
        """The program lives on: its client's pace counts again."""
        self._late_bytes = None

    def drain(self) -> None:
        """Pass on what the kernel holds of its output now."""
        for reader in self.readers:
            reader.drain()

    def discard_output(self) -> None:
        """From now on read and drop what background processes write."""
        self._flow = Flow(lambda *_: None, lambda: False, lambda _: None, lambda: lambda: None)
        self._resume()

    def close(self) -> None:
        self.started()
        for reader in self.readers:
            reader.close()
        if self.input is not None:
            self.input.close()

    def _read(self, fd: int, stream: StreamName) -> streams.OutputReader:
        reader = streams.OutputReader(fd, lambda data: self._output(stream, data))
        self.readers.append(reader)
        return reader

    def _output(self, stream: StreamName, data: bytes) -> None:
        self.last_output = asyncio.get_running_loop().time()
        self._flow.on_output(stream, data)
        if self._late_bytes is not None:
            self._late_bytes -= len(data)
        self.check_room()

    def check_room(self) -> None:
        """Stop reading while the client has to catch up."""
        late = self._late_bytes is not None and self._late_bytes > 0
        if self._resumed is not None or late or not self._flow.is_full():
            return
        for reader in self.readers:
            reader.pause()
        self._resumed = self._flow.pause()
        self._flow.when_room(self._resume)

    def _resume(self) -> None:
        if self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            resumed()
            for reader in self.readers:
                reader.resume()


class Program:
    """A running program and every process it started."""

    def __init__(self, spawned: Spawned, program_streams: Streams, signals: list[str]) -> None:
        self.spawned = spawned
        self.streams = program_streams
        self.signals = signals
        self._climb: asyncio.Task[None] | None = None
        self._rungs_left: list[signal.Signals] = []

    @classmethod
    async def start(
        cls,
        launcher: Launcher,
        argv: Argv,
        *,
        env: Mapping[str, str],
        cwd: Path,
        program_streams: Streams,
        signals: list[str],
        budget: Budget | None = None,
        on_stopped: Callable[[int], None] = lambda _: None,
        on_limit: Callable[[str], None] = lambda _: None,
        on_killed: Callable[[str], None] = lambda _: None,
    ) -> "Program":
        """Start `argv` on these streams; on failure they are closed.

        Args:
            budget: what it may use; None: it is not measured.
            on_killed: called with the reason when its jail ends it.

        Raises:
            LaunchError: it could not be started.
        """
        try:
            spawned = await launcher.spawn(
                argv,
                env=env,
                cwd=cwd,
                descriptors=program_streams.descriptors,
                terminal=program_streams.terminal,
                budget=budget,
                on_stopped=on_stopped,
                on_limit=on_limit,
                on_killed=on_killed,
            )
        except BaseException:
            program_streams.close()
            raise
        program_streams.started()
        return cls(spawned, program_streams, signals)

    @property
    def exit(self) -> Exit | None:
        """How its first process ended; None while it runs."""
        return self.spawned.exited.result() if self.spawned.exited.done() else None

    @property
    def tree(self) -> TreeEnd | None:
        """How the last of its processes ended; None while there are any."""
        return self.spawned.ended.result() if self.spawned.ended.done() else None

    async def wait(self) -> TreeEnd:
        """Return when the program and all it left behind have ended and their output was read.

        Cancelling it ends the program: SIGTERM, then SIGKILL.
        """
        try:
            exited = await asyncio.shield(self.spawned.exited)
            if exited.background:
                await self._end_background()
            return await asyncio.shield(self.spawned.ended)
        except asyncio.CancelledError:
            await self._end_soon()
            raise
        finally:
            self._stop_climbing()
            self.streams.drain()
            self.streams.close()

    async def wait_keeping_background(self) -> None:
        """Return when the first process has ended; the others live until the runner ends."""
        try:
            exited = await asyncio.shield(self.spawned.exited)
        except asyncio.CancelledError:
            await self._end_soon()
            self.streams.close()
            raise
        finally:
            self._stop_climbing()
            self.streams.drain()
        if exited.background:
            self.spawned.on_limit = lambda _: self.spawned.sweep()  # its task has ended
            self.streams.discard_output()
        else:
            self.streams.close()

    def interrupt(self, *, force: bool) -> None:
        """SIGINT, SIGTERM, SIGKILL to the whole tree, one after another until it has ended.

        A second interrupt takes the next rung at once; `force` the last.
        """
        if force:
            self._start_climbing(())
        elif self._climb is None:
            self._start_climbing((signal.SIGINT, signal.SIGTERM))
        else:
            self._start_climbing(self._rungs_left[:-1])

    def stop_interrupting(self) -> bool:
        """What was to be interrupted has ended: nothing follows SIGINT; False: more was sent."""
        if self._climb is None:
            return True
        if signal.SIGTERM not in self._rungs_left:
            return False
        self._stop_climbing()
        self._climb, self._rungs_left = None, []
        return True

    def stop_for_limit(self, name: str) -> None:
        if self.exit is not None:
            self.spawned.sweep()  # of what it has left
        else:
            self._start_climbing(() if name in KILLED_FOR else (signal.SIGTERM,))

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to its process group."""
        self.spawned.signal(number, "group")

    def resize(self, rows: int, cols: int) -> None:
        """Give its terminal another size; raises `NoTerminal`."""
        self.streams.resize(rows, cols)

    async def ended_within(self, seconds: float) -> bool:
        """Whether no process of it is left by then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.shield(self.spawned.ended)
        return self.spawned.ended.done()

    def _start_climbing(self, rungs: Sequence[signal.Signals]) -> None:
        if self._climb is not None and not self._rungs_left:
            return  # its keeper kills until nobody is left
        self._stop_climbing()
        self.streams.read_late()
        first, *self._rungs_left = (*rungs, signal.SIGKILL)
        self._take_rung(first)
        self._climb = watched(self._climb_on(), "interrupt")

    async def _climb_on(self) -> None:
        while self._rungs_left and not await self.ended_within(STEP_SECONDS):
            self._take_rung(self._rungs_left.pop(0))

    def _take_rung(self, rung: signal.Signals) -> None:
        self.signals.append(rung.name)
        if rung == signal.SIGKILL:
            self.spawned.sweep()
        else:
            self.spawned.signal(rung, "tree")

    def _stop_climbing(self) -> None:
        if self._climb is not None:
            self._climb.cancel()

    async def _end_background(self) -> None:
        if not await self.ended_within(DRAIN_SECONDS):
            self.spawned.sweep()

    async def _end_soon(self) -> None:
        self.streams.read_late()
        self._take_rung(signal.SIGTERM)
        if not await self.ended_within(END_SECONDS):
            self._take_rung(signal.SIGKILL)
            await self.ended_within(END_SECONDS)
