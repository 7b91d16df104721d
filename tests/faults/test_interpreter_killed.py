"""The interpreter is killed at random moments; its request ends with a reason, others run."""

import asyncio
import os
import random
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from kernel_runner.client import Kernel, Reply, connect
from kernel_runner.messages import events
from tests.faults.tally import Tally, counting, dice, times
from tests.running import RunnerProcess, runner
from tests.wire import FAILURE_SECONDS

BUSY: Final = """\
import time
for number in range(20):
    print(number, flush=True)
    time.sleep(0.002)
print('end')
"""
PRINTED: Final = [*(b"%d" % number for number in range(20)), b"end"]


@pytest.mark.timeout(900)
async def test_an_interpreter_that_is_killed_at_random_moments_costs_its_own_request_alone(
    tmp_path: Path,
) -> None:
    moments = dice("interpreter")
    fault = "interpreter killed at random moments, also while it starts or idles"
    with counting(fault) as tally:
        async with (
            runner(tmp_path, "python") as started,
            connect(started.addresses["session"]) as kernel,
        ):
            reasons: list[str] = []
            for _ in range(times(20, 200)):
                async with asyncio.timeout(2 * FAILURE_SECONDS):
                    reasons.append(await killed_once(started, kernel, moments, tally))
                tally.tried += 1
            killed = reasons.count("crashed")
            tally.measured = f"{killed} in mid request, {len(reasons) - killed} before or after"


async def killed_once(
    started: RunnerProcess, kernel: Kernel, moments: random.Random, tally: Tally
) -> str:
    """Why the request ended that may have been hit; the two after it have to be whole."""
    hit = kernel.query(BUSY)
    await asyncio.sleep(moments.uniform(0, 0.12))
    for pid in interpreters(started):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if moments.random() < 0.5:
        await asyncio.sleep(moments.uniform(0, 0.02))
    after = [kernel.query("print(6 * 7)"), kernel.query("print('next')")]
    printed, finish = await heard(hit)
    if finish.reason == "completed":
        tally.compare(PRINTED, printed)
    else:
        assert finish.reason == "crashed", finish
        assert finish.exit_code == 128 + signal.SIGKILL
        tally.compare(PRINTED[: len(printed)], printed)
    ends = [await heard(reply) for reply in after]
    first_reason = ends[0][1].reason
    if first_reason == "completed":
        tally.compare([b"42"], ends[0][0])
    else:  # the interpreter died idle, and this one began before anybody knew
        assert first_reason == "crashed", ends
    tally.compare([b"next"], ends[1][0])
    return finish.reason


def interpreters(started: RunnerProcess) -> list[int]:
    """The processes of the user's Python, the one that starts included."""
    found = []
    for pid in started.processes():
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"kernel_runner_driver" in command:
                found.append(pid)
    return found


async def heard(reply: Reply) -> tuple[list[bytes], events.Finished]:
    """The lines of the output, and the one finish."""
    all_of_it = [event async for event in reply]
    outputs = [event for event in all_of_it if isinstance(event, events.Output)]
    (finish,) = [event for event in all_of_it if isinstance(event, events.Finished)]
    return b"".join(o.data for o in outputs if o.type == "stdout").splitlines(), finish
