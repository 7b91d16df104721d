"""Languages with kept state: a driver in the language itself runs cells, one process for all.

`InterpreterRunner` is the base class of the language, `Interpreter` one running driver.
"""

import asyncio
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final, Protocol

import msgspec

from kernel_runner.base import ExitCode
from kernel_runner.errors import BadOptions, InterpreterDied, LaunchError
from kernel_runner.langs._cell_meter import CellMeter
from kernel_runner.langs._driver import Driver
from kernel_runner.langs._frames import Frame
from kernel_runner.langs._script import ScriptRunner
from kernel_runner.launcher import Argv
from kernel_runner.messages import events
from kernel_runner.messages.commands import Complete, Inspect
from kernel_runner.task import Task

DRIVERS: Final = Path(__file__).parent / "drivers"
LOOK_UP_SECONDS: Final = 1.0
"""How long an answer about code may take: the interpreter may be busy in C code."""

log = logging.getLogger(__name__)


class Kept(Protocol):
    """What keeps the state of a language: a driver, or what does the same."""

    alive: bool
    meter: CellMeter
    interrupt_again_seconds: float | None

    async def run(self, code: str, task: Task) -> ExitCode:
        """Run one cell; raises `InterpreterDied`."""

    async def stop(self) -> None:
        """End it and all it started."""

    def interrupt(self, *, force: bool) -> None: ...

    def stop_for_limit(self, name: str) -> None: ...


class _Patience:
    """What a task is busy with while its interpreter starts: waiting, until it is told not to."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def interrupt(self, *, force: bool) -> None:
        self.ended.set()

    def stop_for_limit(self, name: str) -> None:
        self.ended.set()


class InterpreterRunner(ScriptRunner):
    """Subclasses say what a `ScriptRunner` says, and `driver`."""

    driver: ClassVar[Path]
    """The file in that language that speaks the driver protocol."""

    interrupt_again_seconds: ClassVar[float | None] = None
    """For an interpreter that can lose a signal: after this long it gets the same once more."""

    _current: Kept | None = None
    _starting: asyncio.Task[Kept] | None = None
    _serials = itertools.count(1)

    def driver_command(self) -> Argv:
        """The command line of the driver, without its two descriptors."""
        return [self.host.runtime_path or self.command, self.driver]

    async def init(self) -> None:
        if not self.host.batch_only:
            self._start()

    async def query(self, code: str) -> ExitCode:
        task = self.task
        task.check_interrupted()
        if unusable := task.options.set_for_programs():
            raise BadOptions(f"{unusable}: for programs; in a query the code itself sets these")
        driver = await self._driver_for(task)
        try:
            await driver.meter.begin(task)
            task.check_interrupted()
            task.begin(driver)
            return await driver.run(code, task)
        except InterpreterDied:
            self._current = None
            self.interpreter_restarts += 1
            await driver.stop()
            self._start()
            raise
        finally:
            await driver.meter.end()
            task.activity = None
            task.input.disconnect()

    async def complete(self, request: Complete) -> Sequence[str]:
        answer = await self._ask("complete", request.code, request.cursor)
        return answer.body.decode(errors="replace").splitlines() if answer else ()

    async def inspect(self, request: Inspect) -> str:
        answer = await self._ask("inspect", request.code, request.cursor)
        return answer.body.decode(errors="replace") if answer else ""

    async def is_complete(self, code: str) -> events.Completeness:
        answer = await self._ask("is-complete", code, None)
        status = answer.keys.get("status", "unknown") if answer else "unknown"
        return msgspec.convert({"status": status}, events.Completeness)

    async def shutdown(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._current is not None:
            await self._current.stop()

    def _start(self) -> asyncio.Task[Kept]:
        """Start a driver without waiting for it."""
        self._starting = starting = asyncio.create_task(self._open(), name="interpreter")
        # the next query tries again, and tells its client what is wrong
        starting.add_done_callback(lambda done: done.cancelled() or done.exception())
        return starting

    async def _open(self) -> Kept:
        env, cwd = self.environment({}), self.workspace.root
        try:
            driver = await Driver.start(
                self.host.launcher, self.driver_command(), self.name, env=env, cwd=cwd
            )
        except LaunchError as error:
            raise self.explain(error) from error
        driver.interrupt_again_seconds = self.interrupt_again_seconds
        self._current = driver
        self.query_shell = driver.shell
        return driver

    async def _driver_for(self, task: Task) -> Kept:
        """The driver; raises `Interrupted` when the task is told to end before there is one."""
        if self._current is not None and self._current.alive:
            return self._current
        patience = _Patience()
        task.begin(patience)
        ready = asyncio.create_task(self._ready(), name="interpreter for a task")
        ready.add_done_callback(lambda _: patience.ended.set())
        try:
            await patience.ended.wait()
            task.check_interrupted()
            return await ready
        finally:
            task.activity = None
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)

    async def _ready(self) -> Kept:
        """The driver that is there, or a new one; a start that failed is tried once more."""
        if self._current is not None and self._current.alive:
            return self._current
        if self._current is not None:
            log.info("the %s interpreter has ended; a new one is started", self.name)
            self.interpreter_restarts += 1
            await self._current.stop()
            self._current = None
        starting = self._starting
        if starting is None or starting.done():
            starting = self._start()
        return await asyncio.shield(starting)

    async def _for_questions(self) -> Kept | None:
        """What can be asked about code now; what is just starting is waited for, but not long."""
        if self._current is None and self._starting is not None:
            await asyncio.wait([self._starting], timeout=LOOK_UP_SECONDS)
        return self._current if self._current is not None and self._current.alive else None

    async def _ask(self, kind: str, code: str, cursor: int | None) -> Frame | None:
        """Ask the driver about code, also while it runs a cell; None when it cannot say in time."""
        driver = await self._for_questions()
        if not isinstance(driver, Driver):
            return None
        serial = str(next(self._serials))
        keys = {"serial": serial} | ({} if cursor is None else {"cursor": str(cursor)})
        question = Frame(kind, code.encode(errors="replace"), keys)
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                return await driver.ask(question, serial)
        except TimeoutError:
            return None
