"""What the client adds to a round trip: `status` through it, and through a bare socket."""

from collections.abc import Sequence
from time import perf_counter
from typing import Final

from benchmarks import floors
from benchmarks.rounds import OURS, Effort, interleave
from benchmarks.table import Row
from kernel_runner.client import launch
from kernel_runner.messages.commands import GetStatus
from kernel_runner.messages.session_wire import encode_command

REQUESTS: Final = 500
BARE: Final = "bare socket"
TARGET_MS: Final = 0.1


async def measure(effort: Effort) -> Sequence[Row]:
    times = effort.of(REQUESTS)
    frames = encode_command(GetStatus(), request_id="status")
    async with launch("shell") as kernel:
        with floors.bare_request(kernel.address, frames) as ask:

            async def ours_ms() -> list[float]:
                samples = []
                for _ in range(times):
                    start = perf_counter()
                    await kernel.status()
                    samples.append((perf_counter() - start) * 1_000)
                return samples

            async def bare_ms() -> list[float]:
                return [ask() * 1_000 for _ in range(times)]

            figures = await interleave({OURS: ours_ms, BARE: bare_ms}, effort.rounds)
    more = figures[OURS].p50 - figures[BARE].p50
    return [
        Row(
            "status through the client",
            "ms, p50",
            figures,
            f"{TARGET_MS:g} ms more",
            more <= TARGET_MS,
            [f"{more:.3f} ms more than the bare socket"],
        )
    ]
