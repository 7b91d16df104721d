"""Ten gigabytes printed to a client that has stopped reading: memory, status and interrupt."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import Final

import zmq
import zmq.asyncio

from benchmarks.memory import MIB, pss_bytes
from benchmarks.rounds import OURS, Effort, Summary
from benchmarks.table import Row
from kernel_runner.client import Kernel, connect, launch
from kernel_runner.messages import commands
from kernel_runner.messages.session_wire import decode_event, encode_command

PROGRAM: Final = "exec head -c 10G /dev/zero"
WATCH_SECONDS: Final = 3.0
SAMPLE_SECONDS: Final = 0.02
SETTLE_SECONDS: Final = 10.0
TARGET_MIB: Final = 64


async def measure(effort: Effort) -> Sequence[Row]:
    async with launch("shell") as kernel, connect(kernel.address) as second:
        pid = (await second.status()).pid
        before = pss_bytes(pid)
        async with _client_that_stops_reading(kernel.address):
            peak = await _peak_bytes(pid, WATCH_SECONDS / effort.divisor)
            start = perf_counter()
            status = await second.status()
            status_ms = (perf_counter() - start) * 1_000
            start = perf_counter()
            idle = await _interrupted(second)
            interrupt_ms = (perf_counter() - start) * 1_000
    grown = (peak - before) / MIB
    what = "10 GB unread"
    return [
        Row(
            f"{what}: memory of the runner",
            "MiB more",
            {OURS: Summary(grown)},
            f"{TARGET_MIB} MiB",
            grown < TARGET_MIB,
        ),
        Row(
            f"{what}: status, second connection",
            "ms",
            {OURS: Summary(status_ms)},
            "answered, busy",
            status.state == "busy",
        ),
        Row(
            f"{what}: interrupt, second connection",
            "ms",
            {OURS: Summary(interrupt_ms)},
            "the program ends",
            idle,
        ),
    ]


@asynccontextmanager
async def _client_that_stops_reading(address: str) -> AsyncIterator[None]:
    """Opens a session, starts the program, reads up to `started` and then no more."""
    with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as client:
        client.rcvhwm = 1
        client.linger = 0
        client.connect(address)
        await client.send_multipart(encode_command(commands.Hello(None), request_id="hello"))
        await client.send_multipart(encode_command(commands.Execute(PROGRAM), request_id="unread"))
        async with asyncio.timeout(SETTLE_SECONDS):
            while decode_event(await client.recv_multipart()).event.type != "started":
                pass
        yield


async def _peak_bytes(pid: int, seconds: float) -> int:
    peak = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                peak = max(peak, pss_bytes(pid))
                await asyncio.sleep(SAMPLE_SECONDS)
    return peak


async def _interrupted(kernel: Kernel) -> bool:
    """Interrupt what runs; whether the runner is idle in time."""
    await kernel.interrupt()
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_SECONDS):
            while True:
                if (await kernel.status()).state == "idle":
                    return True
                await asyncio.sleep(0)
    return False
