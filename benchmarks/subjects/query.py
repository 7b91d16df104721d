"""The round trip of the smallest query: `1+1` sent, its finish received."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from benchmarks import floors
from benchmarks.peers import Peer, peer
from benchmarks.rounds import OURS, PEER, Effort, Measure, interleave
from benchmarks.table import Row
from kernel_runner.cli import measures
from kernel_runner.client import Kernel, launch

CODE: Final = "1+1"
QUERIES: Final = 200
TARGET_MS: Final = 0.6
TARGET_SHARE: Final = 1 / 8


async def measure(effort: Effort) -> Sequence[Row]:
    times = effort.of(QUERIES)
    with floors.zmq_echo() as echo, measures.bare_driver() as driver:
        async with launch("python", runtime_path=sys.executable) as kernel, peer() as rival:
            await measures.query_seconds(kernel, CODE, 10)
            if rival:
                await rival.query_seconds(CODE, 10)
            contenders = {
                **_kernels(kernel, rival, times),
                "ZeroMQ echo": _in_ms(lambda: echo(times, 1)),
                "pipe to an interpreter": _in_ms(lambda: driver.evaluate_seconds(times)),
            }
            figures = await interleave(contenders, effort.rounds)
    ours_p50 = figures[OURS].p50
    reached = ours_p50 <= TARGET_MS
    if PEER in figures:
        reached = reached or ours_p50 <= TARGET_SHARE * figures[PEER].p50
    target = f"1/8 of {PEER}'s, or {TARGET_MS} ms"
    return [Row("query 1+1", "ms, p50", figures, target, reached)]


def _kernels(kernel: Kernel, rival: Peer | None, times: int) -> Mapping[str, Measure | None]:
    async def ours_ms() -> list[float]:
        return _ms(await measures.query_seconds(kernel, CODE, times))

    async def peer_ms() -> list[float]:
        assert rival is not None, "left out below"
        return _ms(await rival.query_seconds(CODE, times))

    return {OURS: ours_ms, PEER: peer_ms if rival else None}


def _in_ms(measure_seconds: Callable[[], Sequence[float]]) -> Measure:
    async def measure_ms() -> list[float]:
        return _ms(measure_seconds())

    return measure_ms


def _ms(seconds: Sequence[float]) -> list[float]:
    return [value * 1_000 for value in seconds]
