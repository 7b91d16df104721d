"""A task in, its finish out: calls the language's hook for a command and survives it.

The only broad `except`s of the runner are here, and the state of builds, which belongs to a run.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar, assert_never

import msgspec

from kernel_runner.base import BaseRunner, ExitCode
from kernel_runner.changes import Folder, Look, changed
from kernel_runner.errors import NEVER_RAN, HookFailed, KernelRunnerError, Reason, TaskError
from kernel_runner.messages import events
from kernel_runner.messages.commands import Build, Clean, Execute, Query
from kernel_runner.task import Task

MAX_FAILED_BUILDS: Final = 1_000
"""Runs whose failed build is remembered: the oldest is forgotten."""
ENDED_BY_US: Final = 124
"""The exit code when a limit or a cancel ended a program that then left with 0; as timeout(1)."""
STOPPED: Final = "the runner was shut down"

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


async def attempt(hook: Awaitable[Answer], name: str) -> Answer:
    """The result of a hook that is called at once, while another may be running.

    Raises:
        KernelRunnerError: what the hook raised of these; `HookFailed` for anything else.
    """
    try:
        return await hook
    except KernelRunnerError:
        raise
    except BaseException as error:
        if _is_ending(error):
            raise
        log.error("the hook for %s failed", name, exc_info=error)
        raise HookFailed(f"{type(error).__name__}: {error}") from error


class Hooks:
    """Runs one task at a time; never raises but when it is cancelled."""

    def __init__(self, runner: BaseRunner) -> None:
        self._runner = runner
        self._folder = Folder(runner.workspace.root)
        self._failed_builds: OrderedDict[tuple[str, str], None] = OrderedDict()

        self.stopping = False
        """Set before it is cancelled: hooks cancel themselves, and swallow that they are."""

    def close(self) -> None:
        self._folder.close()

    async def run(self, task: Task) -> None:
        """Run a task to its end and post its finish."""
        task.start()
        self._runner.assign(task)
        finish: events.Finished | None = None
        try:
            before = await self._look(task)
            finish = await self._outcome(task)
            if before is not None and (after := await self._look(task)) is not None:
                files = changed(before, after)
                finish = msgspec.structs.replace(finish, files=files.files, files_note=files.note)
        finally:
            if finish is None:  # the runner stops
                finish = self._finish(task, task.exit_code, "cancelled", STOPPED)
            task.finish(finish)
            self._runner.assign(None)
        if self.stopping:
            raise asyncio.CancelledError

    async def _look(self, task: Task) -> Look | None:
        """The work directory as it is now, if it is of interest."""
        if not task.session.names_files:
            return None
        with suppress(KernelRunnerError):
            return await attempt(self._folder.look(), "files")
        return None

    async def _outcome(self, task: Task) -> events.Finished:
        """How the task ended; raises only when the runner stops."""
        try:
            await task.room()
            task.check_interrupted()  # it may be here only to be answered in its turn
            with task.in_hook():
                exit_code = await self._call(task)
            if not isinstance(exit_code, int):
                raise TypeError(f"a hook returned {exit_code!r} instead of an exit code")
            return self._finish(task, exit_code, "completed", None)
        except TaskError as error:
            return self._finish(task, error.exit_code, error.reason, str(error))
        except BaseException as error:
            if self.stopping or isinstance(error, GeneratorExit):
                if task.end_reason != "crashed":
                    task.end_reason, task.message = "cancelled", task.message or STOPPED
                raise
            _uncancel()
            name = self._runner.name
            log.error("the %s runner failed on %s", name, task.command.op, exc_info=error)
            return self._finish(task, 1, "crashed", f"{type(error).__name__}: {error}")

    async def _call(self, task: Task) -> ExitCode:
        runner, run = self._runner, task.options.run
        key = (task.session.name, run) if run is not None else None
        match task.command:
            case Clean(script=script):
                return await self._step(script, runner.clean_heuristic)
            case Build(script=script):
                exit_code = NEVER_RAN
                try:
                    exit_code = await self._step(script, self._build_heuristic)
                finally:
                    self._remember_build(key, failed=exit_code != 0)
                return exit_code
            case Execute(script=script):
                if key in self._failed_builds:
                    raise Skipped("the build of this run failed")
                return await self._step(script, runner.execute_heuristic)
            case Query(code=code):
                return await runner.query(code)
            case _:
                assert_never(task.command)

    async def _step(self, script: str, heuristic: Callable[[], Awaitable[ExitCode]]) -> ExitCode:
        """``""`` skips, ``"*"`` lets the language decide, anything else is a shell command."""
        match script:
            case "":
                return 0
            case "*":
                return await heuristic()
            case _:
                return await self._runner.run_shell(script)

    async def _build_heuristic(self) -> ExitCode:
        """A `Makefile` is what its author wants to be used, in any language."""
        if self._runner.has_makefile():
            log.info("found a Makefile: running make")
            return await self._runner.run(["make"])
        return await self._runner.build_heuristic()

    def _remember_build(self, key: tuple[str, str] | None, *, failed: bool) -> None:
        if key is None:
            return
        self._failed_builds.pop(key, None)
        if failed:
            self._failed_builds[key] = None
            if len(self._failed_builds) > MAX_FAILED_BUILDS:
                self._failed_builds.popitem(last=False)

    def _finish(
        self, task: Task, exit_code: ExitCode, reason: Reason, message: str | None
    ) -> events.Finished:
        usage = task.stop()
        exit_code &= 0xFF
        reason = task.end_reason or reason
        if reason not in ("completed", "error", "interrupted") and exit_code == 0:
            exit_code = ENDED_BY_US
        return events.Finished(
            type=task.command.answer,
            exit_code=exit_code,
            reason=reason,
            usage=usage,
            signal=task.signal,
            signals=tuple(task.signals),
            limits_hit=tuple(task.limits_hit),
            message=task.message or message or task.limits_message,
            traceback=task.traceback,
        )


def _is_ending(error: BaseException) -> bool:
    """Whether the runner stops; else it was a hook that raised even this."""
    current = asyncio.current_task()
    is_cancelled = current is not None and current.cancelling() > 0
    return isinstance(error, GeneratorExit) or (
        isinstance(error, asyncio.CancelledError) and is_cancelled
    )


def _uncancel() -> None:
    """A hook has cancelled itself: what runs it has not been."""
    current = asyncio.current_task()
    while current is not None and current.cancelling():
        current.uncancel()


class Skipped(TaskError):
    """The build of the same run failed."""

    reason = "skipped"
