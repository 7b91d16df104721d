"""From an interrupt to the finish of a query that would never end by itself."""

import sys
from collections.abc import Sequence
from typing import Final

from benchmarks.peers import Peer, peer
from benchmarks.rounds import OURS, PEER, Effort, interleave
from benchmarks.table import Row
from kernel_runner.cli import measures
from kernel_runner.client import Kernel, launch

ENDLESS: Final = {
    "interrupt of a busy loop": "while True: pass",
    "interrupt of a sleep": "import time; time.sleep(60)",
}
INTERRUPTS: Final = 20
MIN_INTERRUPTS: Final = 5
"""The first one of a kernel takes longer."""
TARGET_MS: Final = 4.0


async def measure(effort: Effort) -> Sequence[Row]:
    async with launch("python", runtime_path=sys.executable) as kernel, peer() as rival:
        return [
            await _row(what, f"print('busy', flush=True)\n{code}", effort, kernel, rival)
            for what, code in ENDLESS.items()
        ]


async def _row(what: str, code: str, effort: Effort, kernel: Kernel, rival: Peer | None) -> Row:
    times = max(MIN_INTERRUPTS, effort.of(INTERRUPTS))

    async def ours_ms() -> list[float]:
        return [await measures.interrupt_seconds(kernel, code) * 1_000 for _ in range(times)]

    async def peer_ms() -> list[float]:
        assert rival is not None, "left out below"
        return [await rival.interrupt_seconds(code) * 1_000 for _ in range(times)]

    figures = await interleave({OURS: ours_ms, PEER: peer_ms if rival else None}, effort.rounds)
    reached = figures[OURS].p50 <= TARGET_MS
    return Row(what, "ms, p50", figures, f"{TARGET_MS:g} ms", reached)
