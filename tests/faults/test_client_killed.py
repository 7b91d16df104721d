"""A client is killed at random moments and comes back in another process; it has every event."""

import asyncio
import random
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.faults import consumer
from tests.faults.tally import counting, dice, times
from tests.running import RunnerProcess, runner
from tests.wire import FAILURE_SECONDS

LINES: Final = """\
import itertools, pathlib, sys, time
stop = pathlib.Path("stop")
for number in itertools.count():
    print(number, "x" * (number * 7 % 200))
    if number % 100 == 99:
        sys.stdout.flush()
        time.sleep(0.005)
        if stop.exists():
            break
"""
"""Numbered lines of all lengths, until it is told to stop."""
OPTIONS: Final = ("--max-pending-bytes=100000", "--max-spool-bytes=2000000")
"""Little: so what is replayed comes from memory, from the disk, and from a program that waited."""


@pytest.mark.timeout(600)
async def test_a_client_that_is_killed_at_random_moments_comes_back_to_every_event(
    tmp_path: Path,
) -> None:
    random_moments, got = dice("client killed"), tmp_path / "got"
    with counting("client killed in mid stream, comes back as another process") as tally:
        async with runner(tmp_path, "shell", *OPTIONS) as started:
            (started.work_dir / "lines.py").write_text(LINES)
            first = started.session()
            session = (await first.hello()).fields["session"]
            first.close()
            for _ in range(times(20, 200)):
                await come_and_be_killed(started, session, got, random_moments)
                tally.tried += 1
            (started.work_dir / "stop").touch()
            last = await come(started, session, got)
            async with asyncio.timeout(2 * FAILURE_SECONDS):
                assert await last.wait() == 0

        records, _ = consumer.read_records(got)
        printed = b"".join(body for _, _, kind, body in records if kind == "stdout")
        count = int(printed.splitlines()[-1].split()[0]) + 1
        expected = b"".join(b"%d %s\n" % (n, b"x" * (n * 7 % 200)) for n in range(count))
        tally.compare(range(1, records[-1][0] + 1), [seq for seq, *_ in records])
        tally.compare_bytes(expected, printed)
        tally.measured = f"{len(printed) / 1e6:.0f} MB in {len(records):,} events"


async def come_and_be_killed(
    started: RunnerProcess, session: str, got: Path, moments: random.Random
) -> None:
    """Mostly while it reads; now and then while it is still on its way."""
    had = got.stat().st_size if got.exists() else 0
    client = await come(started, session, got)
    if moments.random() < 0.8:
        async with asyncio.timeout(FAILURE_SECONDS):
            while not (got.exists() and got.stat().st_size > had):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await asyncio.sleep(moments.uniform(0, 0.03))
    else:
        await asyncio.sleep(moments.uniform(0, 0.15))
    client.kill()
    await client.wait()


async def come(started: RunnerProcess, session: str, got: Path) -> asyncio.subprocess.Process:
    words = (started.addresses["session"], session, str(got), f"{sys.executable} lines.py")
    return await asyncio.create_subprocess_exec(sys.executable, consumer.__file__, *words)
