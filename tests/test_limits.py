"""Starts, pauses and the end of a clock come in; it expires once, and not while it stands still."""

import asyncio

from kernel_runner.limits import WallClock

FAILURE_SECONDS = 10.0


async def test_it_expires_once_when_the_time_has_run() -> None:
    expired: asyncio.Queue[float] = asyncio.Queue()
    clock = WallClock(0.05, lambda: expired.put_nowait(clock.elapsed_seconds))

    async with asyncio.timeout(FAILURE_SECONDS):
        assert await expired.get() >= 0.049

    clock.pause()()
    await asyncio.sleep(0.1)  # it could expire again in this time, and must not
    assert expired.empty()


async def test_pauses_nest_and_do_not_count() -> None:
    expired = asyncio.Event()
    clock = WallClock(0.1, expired.set)
    outer = clock.pause()
    inner = clock.pause()
    await asyncio.sleep(0.15)
    inner()
    await asyncio.sleep(0.15)
    assert not expired.is_set()

    outer()

    async with asyncio.timeout(FAILURE_SECONDS):
        await expired.wait()
    assert clock.elapsed_seconds >= 0.39


async def test_time_before_a_pause_counts() -> None:
    expired = asyncio.Event()
    clock = WallClock(60, expired.set)
    clock._left = 0.0  # as if all of it had run
    clock.pause()()

    async with asyncio.timeout(FAILURE_SECONDS):
        await expired.wait()


async def test_a_stopped_clock_never_expires() -> None:
    expired = asyncio.Event()
    clock = WallClock(0.02, expired.set)
    resume = clock.pause()
    clock.stop()
    resume()

    await asyncio.sleep(0.05)

    assert not expired.is_set()


async def test_without_a_limit_it_measures() -> None:
    clock = WallClock(None, lambda: None)
    clock.pause()()
    await asyncio.sleep(0.02)

    assert clock.elapsed_seconds >= 0.02
