"""How long a completion takes to its answer while nothing else runs."""

import sys
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from benchmarks.peers import peer
from benchmarks.rounds import OURS, PEER, Effort, interleave
from benchmarks.table import Row
from kernel_runner.client import launch

CODE: Final = "import os; os.path.jo"
EXPECTED: Final = "os.path.join"
COMPLETIONS: Final = 100


async def measure(effort: Effort) -> Sequence[Row]:
    times = effort.of(COMPLETIONS)
    async with launch("python", runtime_path=sys.executable) as kernel, peer() as rival:
        await kernel.query("import os").answer()
        if rival:
            await rival.query_seconds("import os", 1)

        async def ours_ms() -> list[float]:
            samples = []
            for _ in range(times):
                start = perf_counter()
                found = await kernel.complete(CODE)
                samples.append((perf_counter() - start) * 1_000)
                assert EXPECTED in found, found
            return samples

        async def peer_ms() -> list[float]:
            assert rival is not None, "left out below"
            return [seconds * 1_000 for seconds in await rival.complete_seconds(CODE, times)]

        contenders = {OURS: ours_ms, PEER: peer_ms if rival else None}
        await interleave(contenders, rounds=1)  # the first one loads what completes
        figures = await interleave(contenders, effort.rounds)
    notes = [f"{PEER} asks jedi, which analyses the code; ours looks at what is there"]
    return [Row("completion", "ms, p50", figures, notes=notes if rival else ())]
