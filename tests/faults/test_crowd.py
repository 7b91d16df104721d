"""Many clients and many requests at once; each has its own answers, whole and in order."""

import asyncio
import random
from pathlib import Path
from typing import Final

import pytest

from kernel_runner.client import Kernel, connect
from tests.faults.tally import Tally, counting, dice, times
from tests.running import RunnerProcess, connected, runner
from tests.wire import FAILURE_SECONDS, FINISHES, Client

CLIENTS: Final = 8
QUEUED: Final = 10_000


@pytest.mark.timeout(600)
async def test_eight_clients_at_once_have_each_their_own_answers(tmp_path: Path) -> None:
    moments = dice("eight clients")
    with counting(f"{CLIENTS} clients at once") as tally:
        async with runner(tmp_path, "shell") as started, asyncio.TaskGroup() as tasks:
            for client in range(CLIENTS):
                own = random.Random(moments.random())
                tasks.create_task(talk(started, client, own, tally))
        tally.measured = "all answers compared"


async def talk(started: RunnerProcess, client: int, moments: random.Random, tally: Tally) -> None:
    async with connect(started.addresses["session"]) as kernel:
        for number in range(times(5, 100)):
            async with asyncio.timeout(8 * FAILURE_SECONDS):
                await ask_for_some(kernel, f"{client}-{number}", moments, tally)


async def ask_for_some(kernel: Kernel, name: str, moments: random.Random, tally: Tally) -> None:
    lengths = [moments.randrange(1, 20_000) for _ in range(3)]
    replies = [kernel.execute(f"yes {name} | head -n {length}") for length in lengths]
    for reply, length in zip(replies, lengths, strict=True):
        result = await reply.result()
        tally.compare_bytes(f"{name}\n".encode() * length, result.stdout.encode())
        tally.tried += 1


@pytest.mark.timeout(300)
async def test_a_queue_of_ten_thousand_is_worked_off_in_order(tmp_path: Path) -> None:
    with counting(f"queue of {QUEUED:,} requests") as tally:
        async with runner(tmp_path, "shell") as started, connected(started) as client:
            blocking = await client.say("exec", "until [ -e go ]; do sleep 0.01; done")
            asked = [await client.say("clean", "") for _ in range(QUEUED)]
            async with connected(started) as other:
                await until_queued(other)
                (started.work_dir / "go").touch()
            ends: list[str] = []
            while len(ends) <= QUEUED:
                event = await client.hear()
                if event.kind in FINISHES:
                    assert event.fields["reason"] == "completed"
                    ends.append(event.id or "")
            await client.status()  # and nothing comes after
        tally.tried = len(ends) - 1
        tally.measured = "all ends in their order"
        tally.compare([blocking, *asked], ends)


async def until_queued(other: Client) -> None:
    while (await other.status())["queue_length"] < QUEUED:
        pass
