"""One running Jupyter kernel: cells and questions in, its events out."""

import asyncio
import logging
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kernel_runner.errors import NEVER_RAN, InterpreterDied
from kernel_runner.langs._cell_meter import LONG_SECONDS, CellMeter
from kernel_runner.langs._jupyter_cell import Answers, Cell
from kernel_runner.langs._jupyter_link import Content, Link, Message, command_of, find_spec
from kernel_runner.launcher import Launcher
from kernel_runner.messages import events
from kernel_runner.process import STEP_SECONDS, Flow, Program, Streams
from kernel_runner.supervision import watched
from kernel_runner.task import Task

READY_SECONDS: Final = 60.0
ASK_AGAIN_SECONDS: Final = 0.5
"""What a kernel publishes is not heard before it knows that we listen; so it is asked again."""
BEGIN_SECONDS: Final = 0.1
"""A kernel that has been told of its cell for less may not heed an interrupt."""
IDLE_SECONDS: Final = 5.0
"""After its reply a kernel that publishes nothing for so long has lost the end of its output."""
SETTLE_SECONDS: Final = 0.02
"""A question comes by another socket than what was printed before it, and may be faster."""
HEART_SECONDS: Final = 30.0
"""A heart that has beaten in a cell and then stands still for so long does not beat any more."""
SAID_CHARACTERS: Final = 1_000
LEFT: Final = 1
"""The exit code of a kernel that has left with 0, which it should not."""
QUIET_DEBUGGER: Final = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
"""Else the debugger that kernels in Python load prints a warning into the first cell."""

log = logging.getLogger(__name__)


class JupyterKernel:
    """Started by `start`, ended by `stop`; the state of the user's code lives as long."""

    meter: CellMeter
    interrupt_again_seconds: float | None = None

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._spec = name, find_spec(name)
        self._loop = asyncio.get_running_loop()
        self._by_message = False
        self._streams = Streams(
            Flow(self._raw_output, lambda: False, lambda _: None, lambda: lambda: None)
        )
        self._program: Program | None = None
        self._cell: Cell | None = None
        self._answers: Answers | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._interrupts = 0
        self._told_at = 0.0
        self._said = ""
        self._heard = asyncio.Event()
        self._hurry = asyncio.Event()
        self.alive = False
        self._link = Link(self._spec, folder, on_published=self._hear, on_question=self._ask)

    @classmethod
    async def start(
        cls,
        launcher: Launcher,
        name: str,
        *,
        folder: Path,
        env: Mapping[str, str],
        cwd: Path,
    ) -> "JupyterKernel":
        """Start the kernel of this name, and return when it can take code.

        Raises:
            NothingToRun: there is no such kernel.
            LaunchError: it could not be started.
            InterpreterDied: it ended at once, or was not ready in time.
        """
        kernel = cls(name, folder)
        try:
            await kernel._launch(launcher, env, cwd)
            async with asyncio.timeout(READY_SECONDS):
                await kernel._until_ready()
        except BaseException as error:
            await kernel.stop()
            if isinstance(error, TimeoutError):
                raise kernel._died("did not get ready", NEVER_RAN) from error
            raise
        return kernel

    async def _launch(self, launcher: Launcher, env: Mapping[str, str], cwd: Path) -> None:
        spec = self._spec
        self._by_message = spec.interrupt_mode == "message"
        self._streams.open_input("null")
        self._streams.open_output("pipes")
        self._link.open()
        self._program = await Program.start(
            launcher,
            command_of(spec, self._link.connection_file),
            env={**QUIET_DEBUGGER, **env, **spec.env},
            cwd=cwd,
            program_streams=self._streams,
            signals=[],
            on_killed=self._violate,
        )
        self.meter = CellMeter(self._program.spawned)
        self.alive = True
        self._program.spawned.exited.add_done_callback(lambda _: self._lost())

    def _violate(self, sentence: str) -> None:
        if self._cell is not None:
            self._cell.task.violate(sentence)

    async def _until_ready(self) -> None:
        """Return when it answers, what it publishes is heard, and its questions can arrive."""
        greeted = asyncio.ensure_future(self._link.until_greeted())
        is_ready = False
        try:
            while not is_ready:
                was_greeted = greeted.done()
                reply = self._link.reply_to(self._link.client.kernel_info())
                await asyncio.wait([reply], timeout=ASK_AGAIN_SECONDS)
                if reply.cancel():
                    continue
                reply.result()  # raises when it has died
                await _set_within(self._heard, ASK_AGAIN_SECONDS)
                await asyncio.wait([greeted], timeout=ASK_AGAIN_SECONDS)
                is_ready = was_greeted and self._heard.is_set()
        finally:
            greeted.cancel()
            await asyncio.gather(greeted, return_exceptions=True)
        self._said = ""

    async def stop(self) -> None:
        """End the process and all it started."""
        if self._program is not None and not self._program.spawned.ended.done():
            self._program.spawned.sweep()
            await self._program.ended_within(STEP_SECONDS)
        self._streams.close()
        await self._link.close()

    # One cell ---------------------------------------------------------------------------------

    async def run(self, code: str, task: Task) -> int:
        """Run one cell as `task`; its exit code.

        Raises:
            InterpreterDied: the process ended before the cell did.
        """
        assert self._program is not None, "it has started"
        self._cell, self._interrupts, self._program.signals = Cell(task), 0, task.signals
        self._hurry.clear()
        self._answers = Answers(self._link.client.input)
        task.input.connect(self._answers)
        self._timers.append(self._loop.call_later(LONG_SECONDS, self.meter.begin_late, task))
        heart = watched(self._watch_heart(), "heartbeat")
        try:
            self._told_at = self._loop.time()
            request = self._cell.request = self._link.client.execute(code, allow_stdin=True)
            reply = await self._link.reply_to(request)
            await self._until_idle(self._cell)
            return self._cell.end(reply)
        finally:
            heart.cancel()
            self._answers = None
            while self._timers:
                self._timers.pop().cancel()
            cpu_seconds, max_rss_bytes = await self.meter.end()
            task.add_usage(cpu_seconds, max_rss_bytes)

    async def _until_idle(self, cell: Cell) -> None:
        while not cell.idle.is_set():
            self._heard.clear()
            if not await _set_within(cell.idle, IDLE_SECONDS) and not self._heard.is_set():
                log.warning("the kernel %s lost the end of what it had to say", self._name)
                return

    async def _watch_heart(self) -> None:
        """End a kernel whose heart stands still; many do not beat at all while a cell runs."""
        beaten_at: float | None = None
        while True:
            await asyncio.sleep(1)
            now = self._loop.time()
            if self._link.is_beating:
                beaten_at = now
            elif beaten_at is not None and now - beaten_at > HEART_SECONDS:
                log.error("the heart of the kernel %s has stopped", self._name)
                assert self._program is not None, "it has started"
                self._program.interrupt(force=True)
                return

    def interrupt(self, *, force: bool) -> None:
        """An interrupt keeps the state; a second one, or `force`, climbs and loses it."""
        assert self._program is not None, "it has started"
        self._interrupts += 1
        self._hurry.set()
        if force or self._interrupts > 1:
            self._program.interrupt(force=force)
            return
        self._program.signals.append("SIGINT")
        self._send_interrupt()
        if self._loop.time() - self._told_at < BEGIN_SECONDS:
            self._timers.append(self._loop.call_later(BEGIN_SECONDS, self._send_interrupt))

    def _send_interrupt(self) -> None:
        assert self._program is not None, "it has started"
        if self._by_message:
            self._link.interrupt()
        else:
            self._program.spawned.signal(signal.SIGINT, "group")

    def stop_for_limit(self, name: str) -> None:
        assert self._program is not None, "it has started"
        self.interrupt(force=False)
        program = self._program
        self._timers.append(
            self._loop.call_later(STEP_SECONDS, lambda: program.interrupt(force=True))
        )

    # Questions --------------------------------------------------------------------------------

    async def complete(self, code: str, cursor: int) -> Content:
        """The content of the reply; cancel it when it takes too long."""
        return await self._link.reply_to(self._link.client.complete(code, cursor))

    async def inspect(self, code: str, cursor: int) -> Content:
        return await self._link.reply_to(self._link.client.inspect(code, cursor))

    async def is_complete(self, code: str) -> Content:
        return await self._link.reply_to(self._link.client.is_complete(code))

    # What comes from the process --------------------------------------------------------------

    async def _hear(self, message: Message) -> None:
        self._heard.set()
        cell = self._cell
        if cell is None:
            return
        parent = message["parent_header"].get("msg_id", "")
        cell.hear(message["header"]["msg_type"], message["content"], parent)
        if cell.task.session.full and not cell.idle.is_set():
            await self._until_room(cell.task)

    async def _until_room(self, task: Task) -> None:
        """The kernel stands still until the client has caught up: else it would drop output."""
        assert self._program is not None, "it has started"
        self._program.spawned.signal(signal.SIGSTOP, "group")
        waits = [asyncio.ensure_future(task.room()), asyncio.ensure_future(self._hurry.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._program.spawned.signal(signal.SIGCONT, "group")
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _ask(self, content: Content) -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        cell, answers = self._cell, self._answers
        if cell is None or answers is None:
            self._link.client.input("")  # nobody is there who could answer
            return
        if prompt := str(content.get("prompt", "")):
            cell.task.output("stdout", prompt.encode(errors="replace"))
        if answers.ask():
            is_password = content.get("password") is True
            cell.task.input.open_prompt(certain=True, is_password=is_password)

    def _raw_output(self, stream: events.StreamName, data: bytes) -> None:
        """Written past the kernel, by C code or child processes; before all cells it is noise."""
        if self._cell is not None:
            self._cell.task.output(stream, data)
        else:
            self._said = (self._said + data.decode(errors="replace"))[-SAID_CHARACTERS:]

    def _lost(self) -> None:
        """The process has ended: whoever waits for it is told."""
        assert self._program is not None, "it has started"
        self.alive = False
        exited = self._program.spawned.exited.result()
        if exited.background:
            self._program.spawned.sweep()
        self._streams.drain()
        how = f"ended with exit code {exited.exit_code}"
        if exited.signal is not None:
            how = f"was killed by signal {exited.signal}"
            if self._cell is not None:
                self._cell.task.signal = exited.signal
        self._link.fail(self._died(how, exited.exit_code or LEFT))

    def _died(self, how: str, exit_code: int) -> InterpreterDied:
        said = " ".join(self._said.split()[-40:])
        return InterpreterDied(self._name, f"{how} ({said})" if said else how, exit_code)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it is set by then."""
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()
    return event.is_set()
