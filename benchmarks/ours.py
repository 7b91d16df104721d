"""A language comes in; a runner of ours to measure goes out, with what clients do to it."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from kernel_runner.client import Kernel, Reply, connect
from kernel_runner.messages import events

STOP_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Runner:
    """`pid` is the guardian's, above all other processes of the runner."""

    kernel: Kernel
    address: str
    pid: int


@asynccontextmanager
async def runner(language: str) -> AsyncIterator[Runner]:
    """As `kernel_runner.client.launch`, but with the address, for a second connection."""
    with tempfile.TemporaryDirectory(prefix="kernel-runner-bench-") as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kernel_runner", language, f"--work-dir={folder}"),
            *("--in=none", "--out=none", f"--session=ipc://{folder}/session"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None, "it is a pipe"
            address = json.loads(await process.stdout.readline())["session"]
            async with connect(address) as kernel:
                yield Runner(kernel, address, process.pid)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()


async def query_seconds(kernel: Kernel, code: str, times: int) -> list[float]:
    """How long each query took to its finish, one after the other."""
    seconds = []
    for _ in range(times):
        start = perf_counter()
        await kernel.query(code).answer()
        seconds.append(perf_counter() - start)
    return seconds


async def output_of(reply: Reply) -> bytes:
    """All that the task printed to its standard output."""
    output = [
        event.data
        async for event in reply
        if isinstance(event, events.Output) and event.type == "stdout"
    ]
    return b"".join(output)


async def until_printed(reply: Reply) -> None:
    async for event in reply:
        if isinstance(event, events.Output):
            return


async def interrupt_seconds(kernel: Kernel, code: str) -> float:
    """From the interrupt to the finish of a query that prints a line and then goes on for ever."""
    reply = kernel.query(code)
    await until_printed(reply)
    start = perf_counter()
    await kernel.interrupt()
    await reply.answer()
    return perf_counter() - start
