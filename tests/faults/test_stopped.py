"""The runner is stopped by SIGTERM at random moments; clients are told, nothing is left behind."""

import asyncio
import random
from pathlib import Path
from typing import Final

import pytest

from tests.faults.tally import Tally, counting, dice, times
from tests.running import RunnerProcess, process_ended, runner
from tests.wire import FAILURE_SECONDS, FINISHES, SessionClient

WORK: Final = (
    ("code", "import time; print('cell', flush=True); time.sleep(0.05)"),
    ("exec", "setsid sleep 30 & sleep 0.05 | cat; echo program"),
    ("code", "import subprocess; subprocess.Popen(['sleep', '30']); open('made', 'w').close()"),
    ("exec", "trap '' TERM INT; touch made; sleep 0.3"),
    ("exec", "yes | head -c 10000000"),
    ("code", "input('? ')"),
)
SPOOL: Final = ("--max-pending-bytes=100000", "--max-spool-bytes=4000000")


@pytest.mark.timeout(900)
async def test_a_runner_that_is_stopped_at_random_moments_tells_its_clients_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    moments = dice("stopped")
    with counting("runner stopped by SIGTERM at random moments") as tally:
        told = 0
        for number in range(times(15, 100)):
            (folder := tmp_path / str(number)).mkdir()
            async with runner(folder, "python", *SPOOL) as started:
                told += await stopped_once(started, moments, tally)
                tally.left_behind += await left_behind(started)
            tally.tried += 1
        tally.measured = f"{told} requests were open and told their end"


async def stopped_once(started: RunnerProcess, moments: random.Random, tally: Tally) -> int:
    """How many requests were open, of which each has to get its one end."""
    client = started.session()
    await client.hello()
    client.acknowledges = moments.random() < 0.5
    asked = [
        await client.say(op, body, stdin="none" if op == "exec" else "prompt")
        for op, body in moments.sample(WORK, k=4)
    ]
    hearing = asyncio.create_task(all_ends(client, asked))
    await asyncio.sleep(moments.uniform(0, 0.6))
    started.terminate()
    exit_code = await started.ended()
    assert exit_code == 0, started.log[-3_000:]
    ends = await hearing
    client.close()
    tally.compare(sorted(asked), sorted(name for name, _ in ends))
    assert {reason for _, reason in ends} <= {"completed", "cancelled"}, ends
    return [reason for _, reason in ends].count("cancelled")


async def all_ends(client: SessionClient, asked: list[str]) -> list[tuple[str, str]]:
    """The finishes, and the reasons of them; fewer when the runner goes without a word."""
    ends: list[tuple[str, str]] = []
    while len(ends) < len(asked) or await client.socket.poll(50):
        try:
            event = await client.hear()
        except TimeoutError:
            break
        if event.kind in FINISHES:
            ends.append((event.id or "", event.fields["reason"]))
    return ends


async def left_behind(started: RunnerProcess) -> int:
    """How many processes, sockets and files there are after the end."""
    pids = started.processes()
    try:
        async with asyncio.timeout(FAILURE_SECONDS):
            for pid in pids:
                await process_ended(pid)
    except TimeoutError:
        return len(pids)
    sockets = [path for path in started.folder.iterdir() if path.is_socket()]
    return len(sockets) + len(list((started.folder / "scratch").iterdir()))
