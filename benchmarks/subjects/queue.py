"""What the queue costs: the time of a task that does nothing, the memory of one that waits."""

from collections.abc import Sequence
from time import perf_counter
from typing import Final

from benchmarks import floors
from benchmarks.memory import pss_bytes
from benchmarks.rounds import OURS, Effort, Summary, interleave
from benchmarks.table import Row
from kernel_runner.cli import measures
from kernel_runner.client import Kernel, Reply, launch
from kernel_runner.messages import events

TASKS: Final = 10_000
TARGET_US: Final = 200
TARGET_BYTES: Final = 2_048


async def measure(effort: Effort) -> Sequence[Row]:
    tasks = effort.of(TASKS)
    async with launch("shell") as kernel:
        waiting = await _waiting(kernel, tasks)
        with floors.zmq_echo() as echo:

            async def ours_us() -> list[float]:
                return [await _clean_seconds(kernel, tasks) * 1e6]

            async def floor_us() -> list[float]:
                return [seconds * 1e6 for seconds in echo(1, tasks)]

            figures = await interleave({OURS: ours_us, "ZeroMQ echo": floor_us}, effort.rounds)
    return [
        Row(
            f'{tasks:,} queued clean "", each',
            "us",
            figures,
            f"{TARGET_US} us",
            figures[OURS].p50 <= TARGET_US,
        ),
        Row(
            f"memory of each that waits, {tasks:,}",
            "bytes",
            {OURS: Summary(waiting)},
            f"{TARGET_BYTES:,} bytes",
            waiting < TARGET_BYTES,
        ),
    ]


async def _clean_seconds(kernel: Kernel, tasks: int) -> float:
    """The time of one, when all are sent before the first is awaited."""
    start = perf_counter()
    replies = [kernel.clean("") for _ in range(tasks)]
    for reply in replies:
        await reply.answer()
    return (perf_counter() - start) / tasks


async def _waiting(kernel: Kernel, tasks: int) -> float:
    """How much the runner's process grows for each task that stands behind a running one.

    What it takes once, such as the buffers of its socket, is in it, shared out among them.
    """
    pid = (await kernel.status()).pid
    await _clean_seconds(kernel, 100)
    holding = kernel.execute("echo holding; exec sleep 600")
    await measures.until_printed(holding)
    before = pss_bytes(pid)
    replies = [kernel.clean("") for _ in range(tasks)]
    for reply in replies:
        await _until_accepted(reply)
    grown = pss_bytes(pid) - before
    await kernel.interrupt()
    for reply in (holding, *replies):
        await reply.answer()
    return grown / tasks


async def _until_accepted(reply: Reply) -> None:
    async for event in reply:
        if isinstance(event, events.Accepted):
            return
