"""From nothing to the result of `print(1)`: a runner is started, one query is run.

Both run the Python that runs this, so that no wrapper on the PATH is measured.
"""

import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from benchmarks.peers import installed, peer
from benchmarks.rounds import OURS, PEER, Effort, interleave
from benchmarks.table import Row
from kernel_runner.cli import measures
from kernel_runner.client import launch

CODE: Final = "print(1)"
TARGET_SHARE: Final = 1 / 4


async def measure(effort: Effort) -> Sequence[Row]:
    contenders = {
        OURS: _ours_seconds,
        PEER: _peer_seconds if installed() else None,
        "python3 -c 'print(1)'": _floor_seconds,
    }
    await interleave(contenders, rounds=1)  # what has to be compiled is compiled by this one
    figures = await interleave(contenders, effort.rounds)
    reached = figures[OURS].p50 <= TARGET_SHARE * figures[PEER].p50 if PEER in figures else None
    return [Row("start to first result", "s", figures, f"1/4 of {PEER}'s", reached)]


async def _ours_seconds() -> list[float]:
    start = perf_counter()
    async with launch("python", runtime_path=sys.executable) as kernel:
        await measures.output_of(kernel.query(CODE))
        return [perf_counter() - start]


async def _peer_seconds() -> list[float]:
    start = perf_counter()
    async with peer() as kernel:
        assert kernel is not None, "it is installed"
        await kernel.query_seconds(CODE, 1)
        return [perf_counter() - start]


async def _floor_seconds() -> list[float]:
    return [measures.spawn_seconds([sys.executable, "-c", CODE])]
