"""A connection is lost and made again; the time to the first event that is replayed is measured."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from kernel_runner.client import Kernel, Reply, connect
from kernel_runner.messages import events
from tests.faults.tally import counting, dice, times
from tests.proxy import Proxy, proxy
from tests.running import RunnerProcess, connected, runner
from tests.wire import FAILURE_SECONDS, SessionClient

SCRIPT: Final = """\
rm -f go printed; echo one
until [ -e go ]; do sleep 0.01; done
echo two; touch printed; sleep 0.02
"""


@pytest.mark.timeout(300)
async def test_another_process_takes_a_session_over_and_hears_what_is_kept(tmp_path: Path) -> None:
    with counting("session taken over, to the first event of 10 MB") as tally:
        async with runner(tmp_path, "shell") as started, connected(started) as first:
            assert isinstance(first, SessionClient)
            session = (await first.hello()).fields["session"]
            await first.run("exec", "head -c 10000000 /dev/zero")
            seconds: list[float] = []
            for _ in range(times(20, 200)):
                began = time.perf_counter()
                client = started.session()
                await client.say("hello", session=session, after_seq=0)
                await client.hear_until("accepted")
                seconds.append(time.perf_counter() - began)
                client.close()
        tally.tried = len(seconds)
        tally.measured = told(seconds)


@pytest.mark.timeout(300)
async def test_a_client_comes_back_by_itself_after_a_cut(tmp_path: Path) -> None:
    moments = dice("comes back")
    with counting("network cut, client comes back by itself, to the first event") as tally:
        async with (
            runner(tmp_path, "shell") as started,
            proxy(started.addresses["session"]) as between,
            connect(between.address) as kernel,
        ):
            seconds = []
            for _ in range(times(20, 200)):
                await asyncio.sleep(moments.uniform(0, 0.02))
                async with asyncio.timeout(FAILURE_SECONDS):
                    seconds.append(await until_replayed(started, between, kernel))
        tally.tried = len(seconds)
        tally.measured = told(seconds)


async def until_replayed(started: RunnerProcess, between: Proxy, kernel: Kernel) -> float:
    """From the cut to the first output, which was printed while the network was held up."""
    reply = kernel.execute(SCRIPT)
    await until_printed(reply, b"one")
    between.hold()
    (started.work_dir / "go").touch()
    await started.file_made("printed")
    between.cut()
    between.go_on()
    began = time.perf_counter()
    await until_printed(reply, b"two")
    seconds = time.perf_counter() - began
    await reply.result()
    return seconds


async def until_printed(reply: Reply, text: bytes) -> None:
    async for event in reply:
        if isinstance(event, events.Output) and text in event.data:
            return
    raise AssertionError(f"{text!r} was not printed")


def told(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.1f} ms median, {max(seconds) * 1e3:.1f} ms max"
