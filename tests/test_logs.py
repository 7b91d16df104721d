"""Log records of every thread come in; events go out, in order and without stopping anybody."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator

import pytest

from kernel_runner import logs
from kernel_runner.logs import LogStream
from kernel_runner.messages.events import Log

FAILURE_SECONDS = 10.0
log = logging.getLogger("kernel_runner.tests")


@pytest.fixture
async def posted() -> AsyncIterator[asyncio.Queue[Log]]:
    posted: asyncio.Queue[Log] = asyncio.Queue()
    logger = logging.getLogger(logs.ROOT)
    level = logger.level
    logger.setLevel(logging.INFO)
    stream = LogStream(posted.put_nowait)
    pumping = asyncio.create_task(stream.pump())
    yield posted
    pumping.cancel()
    await asyncio.wait([pumping])
    await stream.stop()
    logger.setLevel(level)


async def hear(posted: asyncio.Queue[Log]) -> Log:
    async with asyncio.timeout(FAILURE_SECONDS):
        return await posted.get()


async def test_a_record_of_the_loop_is_posted_at_once(posted: asyncio.Queue[Log]) -> None:
    log.warning("%s happened", "something")

    event = posted.get_nowait()
    assert (event.level, event.logger, event.text) == (
        "warning",
        "kernel_runner.tests",
        "something happened",
    )
    assert event.time[4] == "-"
    assert event.time[-6] in "+-"


async def test_records_of_other_threads_come_in_their_order(posted: asyncio.Queue[Log]) -> None:
    def count() -> None:
        for number in range(100):
            log.info("%d", number)

    thread = threading.Thread(target=count)
    thread.start()

    heard = [(await hear(posted)).text for _ in range(100)]

    thread.join()
    assert heard == [str(number) for number in range(100)]


async def test_an_exception_is_told_with_its_traceback(posted: asyncio.Queue[Log]) -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        log.exception("it failed")

    text = posted.get_nowait().text
    assert text.startswith("it failed\nTraceback")
    assert text.endswith("ValueError: boom")


async def test_debug_records_and_those_of_others_are_not_posted(
    posted: asyncio.Queue[Log],
) -> None:
    log.debug("detail")
    logging.getLogger("somebody.else").error("not ours")

    assert posted.empty()


async def test_what_threads_logged_before_the_stop_is_posted_and_nothing_after_it() -> None:
    posted: list[Log] = []
    stream = LogStream(posted.append)
    thread = threading.Thread(target=lambda: log.warning("before"))
    thread.start()
    thread.join()

    await stream.stop()
    log.warning("after")

    assert [event.text for event in posted] == ["before"]
