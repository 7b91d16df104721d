"""Programs that the runner of `run --connect` does not run come in; why, and 2 or 130, go out."""

import asyncio
from pathlib import Path

from kernel_runner.client import connect
from kernel_runner.messages import events
from tests.commanding import assert_one_sentence, command
from tests.running import runner
from tests.wire import FAILURE_SECONDS

PRINTS = ("--lang", "shell", "-c", "echo started")


async def test_a_limit_that_the_runner_does_not_allow_is_a_wrong_word(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell", "--max-limits=wall=5") as started:
        words = ("run", "--connect", started.addresses["session"], "--wall", "60", *PRINTS)
        done = await asyncio.to_thread(command, *words)

    assert_one_sentence(done, "nothing was run: limits.wall_s: 60 s is above", "allows, 5 s")


async def test_what_is_cancelled_while_it_waits_ends_as_by_ctrl_c(tmp_path: Path) -> None:
    async with (
        runner(tmp_path, "shell") as started,
        connect(started.addresses["session"]) as kernel,
    ):
        holding = kernel.execute("sleep 600")
        async for event in holding:
            if isinstance(event, events.Started):
                break
        words = ("run", "--connect", started.addresses["session"], *PRINTS)
        sent = asyncio.create_task(asyncio.to_thread(command, *words))
        async with asyncio.timeout(FAILURE_SECONDS):
            while not (waiting := (await kernel.queue()).waiting):
                pass
        await asyncio.to_thread(command, "cancel", words[2], waiting[0].id)
        await holding.cancel()
        done = await sent

    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "kernel-runner: nothing was run: it was taken from the queue\n"
