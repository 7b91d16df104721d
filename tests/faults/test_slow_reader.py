"""A reader stalls while a program prints gigabytes; all of it arrives, and memory stays small."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from benchmarks.memory import MIB
from tests.faults.tally import Tally, counting, times
from tests.faults.weight import memory
from tests.running import RunnerProcess, connected, runner
from tests.wire import Client

BLOCK_BYTES: Final = 100_000
NUMBER: Final = 16
FILLING: Final = b"".join(b"%d\n" % n for n in range(30_000))[: BLOCK_BYTES - NUMBER]
PROGRAM: Final = f"""\
import os
filling = open("filling", "rb").read()
for number in range(int(os.environ["BLOCKS"])):
    block = b"%0{NUMBER}d" % number + filling
    while block:
        block = block[os.write(1, block):]
"""
"""Numbered blocks, so that one that is lost, doubled or moved is seen."""
MORE_MIB: Final = 64
WATCH_SECONDS: Final = 0.1


@pytest.mark.timeout(900)
async def test_a_reader_that_stalls_gets_all_and_the_runner_stays_small(tmp_path: Path) -> None:
    blocks, stall_seconds = times(2_000, 20_000), times(3, 60)
    fault = f"reader stalls for {stall_seconds} s, {blocks * BLOCK_BYTES / 1e6:,.0f} MB are printed"
    with counting(fault) as tally:
        async with runner(tmp_path, "shell") as started, connected(started) as client:
            await client.run("exec", "true")
            (started.work_dir / "filling").write_bytes(FILLING)
            (started.work_dir / "print.py").write_text(PROGRAM)
            sizes: list[int] = []
            watching = asyncio.create_task(watch_memory(started, sizes))
            command = f"{sys.executable} print.py"
            request_id = await client.say("exec", command, env={"BLOCKS": str(blocks)})
            await client.hear_until("started")
            before = memory(started)
            await asyncio.sleep(stall_seconds)  # the reader stalls
            began = time.monotonic()
            await read_blocks(client, request_id, blocks, tally)
            seconds = time.monotonic() - began
            watching.cancel()
        more = (max(sizes) - before) / MIB
        tally.tried = 1
        rate = blocks * BLOCK_BYTES / seconds / 1e6
        tally.measured = f"{more:.1f} MiB more in the runner (PSS), then {rate:,.0f} MB/s"
        assert more < MORE_MIB


async def read_blocks(client: Client, request_id: str, blocks: int, tally: Tally) -> None:
    """Read all and compare it; each event is acknowledged now and then."""
    unread, number = bytearray(), 0
    while True:
        event = await client.hear()
        if event.kind == "finished":
            assert event.fields["reason"] == "completed"
            break
        if event.kind != "stdout":
            continue
        unread += event.body
        if event.seq is not None and event.seq % 16 == 0:
            await client.say("ack", seq=event.seq)
        while len(unread) >= BLOCK_BYTES:
            block = bytes(unread[:BLOCK_BYTES])
            del unread[:BLOCK_BYTES]
            tally.lost += block != b"%0*d" % (NUMBER, number) + FILLING
            number += 1
    tally.lost += max(0, blocks - number) + bool(unread)
    tally.doubled += max(0, number - blocks)


async def watch_memory(started: RunnerProcess, sizes: list[int]) -> None:
    while True:
        sizes.append(memory(started))
        await asyncio.sleep(WATCH_SECONDS)
