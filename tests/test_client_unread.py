"""A program prints much and nobody takes it: memory stays small, and everything else goes on."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel_runner.client import Kernel, connect
from kernel_runner.messages import events
from tests.running import runner
from tests.wire import FAILURE_SECONDS

MUCH: int = 30_000_000
LITTLE: int = 1 << 20
PRINT_MUCH = f"head -c {MUCH} /dev/zero"
SMALL_RUNNER = ("--max-spool-bytes=0", "--max-pending-bytes=1000000")


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    async with (
        runner(tmp_path, "shell", *SMALL_RUNNER) as started,
        connect(started.addresses["session"]) as kernel,
        asyncio.timeout(FAILURE_SECONDS),
    ):
        kernel.max_unread_bytes = LITTLE
        yield kernel


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def until_full(kernel: Kernel) -> None:
    while kernel.unread_bytes <= LITTLE:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_a_reply_that_nobody_reads_stays_with_the_runner_and_the_rest_is_answered(
    kernel: Kernel,
) -> None:
    reply = kernel.execute(PRINT_MUCH)
    await until_full(kernel)
    for _ in range(5):  # each lets in what stands before its answer
        assert (await kernel.status()).running == reply.id
    held = kernel.unread_bytes
    result = await reply.result()

    assert LITTLE < held < MUCH / 2
    assert (len(result.stdout), kernel.unread_bytes) == (MUCH, 0)


async def test_no_more_than_a_little_is_on_its_way(tmp_path: Path) -> None:
    async with (
        runner(tmp_path, "shell") as started,
        connect(started.addresses["session"]) as kernel,
        connect(started.addresses["session"]) as other,
        asyncio.timeout(FAILURE_SECONDS),
    ):
        kernel.max_unread_bytes = LITTLE
        await other.status()
        before = resident_bytes()
        reply = kernel.execute(f"head -c {3 * MUCH} /dev/zero")
        await until_full(kernel)
        while (await other.status()).running is not None:
            pass
        grown = resident_bytes() - before
        result = await reply.result()

    assert grown < 20 * LITTLE
    assert len(result.stdout) == 3 * MUCH


async def test_a_reply_that_nobody_reads_can_be_interrupted(kernel: Kernel) -> None:
    reply = kernel.execute(f"{PRINT_MUCH}; sleep 600")
    await until_full(kernel)
    await reply.interrupt()
    result = await reply.result()

    assert result.reason == "interrupted"
    assert LITTLE < len(result.stdout) < MUCH


async def test_whoever_waits_for_a_later_request_gets_its_end(kernel: Kernel) -> None:
    first, second = kernel.execute(PRINT_MUCH), kernel.execute("echo later")
    await until_full(kernel)
    later = await second.result()
    result = await first.result()

    assert later.stdout == "later\n"
    assert len(result.stdout) == MUCH


async def test_a_wait_that_was_given_up_opens_nothing(kernel: Kernel) -> None:
    first, second = kernel.execute(f"{PRINT_MUCH}; sleep 600"), kernel.execute("echo later")
    await until_full(kernel)
    waiting = [asyncio.create_task(second.result()) for _ in range(3)]
    while kernel.unread_bytes < 5 * LITTLE:  # noqa: ASYNC110
        await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    held = kernel.unread_bytes
    await asyncio.sleep(0.2)  # were it open, all of it would come

    assert kernel.unread_bytes <= held
    assert held < MUCH / 2
    await first.interrupt(force=True)
    assert (await second.result()).stdout == "later\n"


async def test_a_reply_that_is_thrown_away_is_in_nobodys_way(kernel: Kernel) -> None:
    kernel.execute(PRINT_MUCH)
    for number in range(3):
        result = await kernel.execute(f"{PRINT_MUCH} >&2; echo {number}").result()
        assert (result.stdout, len(result.stderr)) == (f"{number}\n", MUCH)

    assert kernel.unread_bytes == 0


async def test_events_are_taken_one_by_one_in_order(kernel: Kernel) -> None:
    reply = kernel.execute("seq 1000000")
    await until_full(kernel)
    text = b"".join([event.data async for event in reply if isinstance(event, events.Output)])

    assert text == b"".join(b"%d\n" % number for number in range(1, 1_000_001))


async def test_a_pause_holds_whoever_waits(kernel: Kernel) -> None:
    kernel.pause()
    asking = asyncio.create_task(kernel.status())
    await asyncio.wait({asking}, timeout=0.2)
    assert not asking.done()
    kernel.resume()

    assert (await asking).language == "shell"
