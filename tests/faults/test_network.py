"""The network is cut, held up, slowed and split; each request is answered once, byte for byte."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from kernel_runner.client import Kernel, connect
from kernel_runner.messages import events
from tests.faults.tally import Tally, counting, dice, times
from tests.proxy import CLEAR, Proxy, Weather, proxy
from tests.running import runner
from tests.wire import FAILURE_SECONDS

MAX_CUT_BYTES: Final = 8_000
"""More than one answer has: so each connection brings the client on, or fails before."""
SCRIPT: Final = (
    "echo {number} >> runs; head -c {count} pattern; echo >&2; head -c {count} pattern >&2"
)
PATTERN: Final = b"".join(b"%d\n" % number for number in range(1_000))
NUMBERS: Final = b"".join(b"%d\n" % number for number in range(1, 100_001))
LITTLE_IS_KEPT: Final = ("--max-pending-bytes=20000", "--max-spool-bytes=0")
Forecast: TypeAlias = Callable[[random.Random], tuple[Weather, Weather]]


def cuts_to_the_client(moments: random.Random) -> tuple[Weather, Weather]:
    return CLEAR, Weather(cut_after_bytes=moments.randrange(MAX_CUT_BYTES))


def cuts_to_the_runner(moments: random.Random) -> tuple[Weather, Weather]:
    return Weather(cut_after_bytes=moments.randrange(MAX_CUT_BYTES // 8)), CLEAR


def stalls(moments: random.Random) -> tuple[Weather, Weather]:
    def weather() -> Weather:
        return Weather(
            stall_after_bytes=moments.randrange(MAX_CUT_BYTES),
            stall_seconds=moments.uniform(0, 0.2),
            cut_after_bytes=moments.randrange(2 * MAX_CUT_BYTES),
        )

    return weather(), weather()


def delays(moments: random.Random) -> tuple[Weather, Weather]:
    delayed = Weather(delay_seconds=moments.uniform(0, 0.01))
    cut = Weather(
        delay_seconds=moments.uniform(0, 0.01), cut_after_bytes=moments.randrange(2 * MAX_CUT_BYTES)
    )
    return delayed, cut


def splits(moments: random.Random) -> tuple[Weather, Weather]:
    cut = Weather(piece_bytes=1, cut_after_bytes=moments.randrange(2 * MAX_CUT_BYTES))
    return Weather(piece_bytes=1), cut


CASES: Final[dict[str, tuple[Forecast, int, int]]] = {
    "network cut after any byte on the way to the client": (cuts_to_the_client, 40, 1_000),
    "network cut after any byte on the way to the runner": (cuts_to_the_runner, 40, 1_000),
    "network stalls up to 0.2 s, then is cut": (stalls, 10, 100),
    "network delays each piece, then is cut": (delays, 10, 100),
    "network splits into single bytes, then is cut": (splits, 10, 100),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", CASES)
async def test_each_request_is_answered_once_whatever_the_network_does(
    tmp_path: Path, fault: str
) -> None:
    forecast, few, many = CASES[fault]
    moments = dice(fault)
    with counting(fault) as tally:
        async with (
            runner(tmp_path, "shell") as started,
            proxy(started.addresses["session"]) as between,
            connect(between.address) as kernel,
        ):
            (started.work_dir / "pattern").write_bytes(PATTERN)
            between.forecast = lambda: forecast(moments)
            between.cut()
            requests = await until_cut(times(few, many), between, kernel, moments, tally)
            runs = (started.work_dir / "runs").read_text().split()
            tally.compare([str(number) for number in range(requests)], runs)
            tally.measured = f"{requests} requests"


@pytest.mark.timeout(900)
async def test_a_program_that_waits_for_room_goes_on_when_the_acknowledgement_was_lost(
    tmp_path: Path,
) -> None:
    fault = "network cut while a program waits for acknowledgements"
    moments = dice(fault)
    with counting(fault) as tally:
        async with (
            runner(tmp_path, "shell", *LITTLE_IS_KEPT) as started,
            proxy(started.addresses["session"]) as between,
            connect(between.address) as kernel,
        ):
            between.forecast = lambda: cuts_to_the_runner(moments)
            between.cut()
            while (tried := between.connections - 2) < times(20, 400):
                async with asyncio.timeout(2 * FAILURE_SECONDS):
                    result = await kernel.execute("seq 100000").result()
                tally.compare_bytes(NUMBERS, result.stdout.encode())
            tally.tried = tried


async def until_cut(
    cuts: int, between: Proxy, kernel: Kernel, moments: random.Random, tally: Tally
) -> int:
    """Ask three things at a time until there were so many connections; how many were asked."""
    asked = 0
    while (connections := between.connections - 2) < cuts:
        tally.tried = connections
        numbers = range(asked, asked + 3)
        asked += len(numbers)
        async with asyncio.timeout(4 * FAILURE_SECONDS):
            counts = [moments.randrange(len(PATTERN) // 3) for _ in numbers]
            replies = [
                kernel.execute(SCRIPT.format(number=number, count=count))
                for number, count in zip(numbers, counts, strict=True)
            ]
            for reply, count in zip(replies, counts, strict=True):
                heard = [event async for event in reply]
                tally.compare_bytes(PATTERN[:count], text_of(heard, "stdout"))
                tally.compare_bytes(b"\n" + PATTERN[:count], text_of(heard, "stderr"))
                finishes = [event for event in heard if isinstance(event, events.Finished)]
                assert [finish.reason for finish in finishes] == ["completed"]
    tally.tried = between.connections - 2
    return asked


def text_of(heard: list[events.AnyEvent], stream: str) -> bytes:
    outputs = (event for event in heard if isinstance(event, events.Output))
    return b"".join(event.data for event in outputs if event.type == stream)
