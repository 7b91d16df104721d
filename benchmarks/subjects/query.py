"""The round trip of the smallest query: `1+1` sent, its finish received."""

from collections.abc import Sequence
from typing import Final

from benchmarks import floors, ours
from benchmarks.peers import peer
from benchmarks.rounds import OURS, PEER, Effort, interleave
from benchmarks.table import Row

CODE: Final = "1+1"
QUERIES: Final = 200
TARGET_MS: Final = 0.6
TARGET_SHARE: Final = 1 / 8


async def measure(effort: Effort) -> Sequence[Row]:
    times = effort.of(QUERIES)
    with floors.zmq_echo() as echo, floors.bare_driver() as driver:
        async with ours.runner("python") as runner, peer() as kernel:
            await ours.query_seconds(runner.kernel, CODE, 10)
            if kernel:
                await kernel.query_seconds(CODE, 10)

            async def ours_ms() -> list[float]:
                return _ms(await ours.query_seconds(runner.kernel, CODE, times))

            async def zmq_ms() -> list[float]:
                return _ms(echo(times, 1))

            async def driver_ms() -> list[float]:
                return _ms(driver(times))

            async def peer_ms() -> list[float]:
                assert kernel is not None, "left out below"
                return _ms(await kernel.query_seconds(CODE, times))

            figures = await interleave(
                {
                    OURS: ours_ms,
                    PEER: peer_ms if kernel else None,
                    "ZeroMQ echo": zmq_ms,
                    "pipe to an interpreter": driver_ms,
                },
                effort.rounds,
            )
    ours_p50 = figures[OURS].p50
    reached = ours_p50 <= TARGET_MS
    if PEER in figures:
        reached = reached or ours_p50 <= TARGET_SHARE * figures[PEER].p50
    return [
        Row(
            "query 1+1",
            "ms, p50",
            figures,
            f"1/8 of {PEER}'s, or {TARGET_MS} ms",
            reached,
        )
    ]


def _ms(seconds: Sequence[float]) -> list[float]:
    return [value * 1_000 for value in seconds]
