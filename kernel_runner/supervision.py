"""Calls and tasks in that may have bugs; a log with the traceback out, and nothing dies unseen."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

log = logging.getLogger(__name__)


def attempt_now(call: Callable[[], None], what: str) -> Exception | None:
    """Make a call that must not take its caller with it; what it raised, which the log has."""
    try:
        call()
    except Exception as error:
        log.error("%s failed", what, exc_info=error)
        return error
    return None


async def reported(work: Coroutine[object, None, None], tell: Callable[[Exception], None]) -> None:
    """Await work without which the runner cannot go on; `tell` hears of a bug before it spreads."""
    try:
        await work
    except Exception as error:
        log.error("a task of the runner failed", exc_info=error)
        tell(error)
        raise


def watched(work: Coroutine[object, None, None], name: str) -> asyncio.Task[None]:
    """A task that nobody awaits: a bug in it is handled as one in a callback of the loop is."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_pass_on)
    return task


def _pass_on(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        message = f"the task {task.get_name()!r} failed"
        task.get_loop().call_exception_handler({"message": message, "exception": error})
