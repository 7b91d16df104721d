"""How many programs a second a runner starts, waits for and cleans up after."""

from collections.abc import Sequence
from time import perf_counter
from typing import Final

from benchmarks import floors
from benchmarks.rounds import OURS, Effort, interleave
from benchmarks.table import Row
from kernel_runner.client import launch

PROGRAMS: Final = 100


async def measure(effort: Effort) -> Sequence[Row]:
    programs = effort.of(PROGRAMS)
    async with launch("shell") as kernel:

        async def ours_rate() -> list[float]:
            start = perf_counter()
            replies = [kernel.execute("true") for _ in range(programs)]
            for reply in replies:
                await reply.answer()
            return [programs / (perf_counter() - start)]

        async def floor_rate() -> list[float]:
            return [programs / sum(floors.spawn_shell_seconds() for _ in range(programs))]

        figures = await interleave(
            {OURS: ours_rate, "posix_spawn of sh": floor_rate}, effort.rounds
        )
    return [Row('exec "true"', "per s", figures)]
