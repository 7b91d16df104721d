"""Requests with options of every kind come in; each task ends as they say, or says why not."""

import asyncio
from pathlib import Path

import pytest

from kernel_runner.messages import commands, events
from kernel_runner.messages.commands import Execute, Query
from kernel_runner.messages.options import Limits, TaskOptions
from kernel_runner.testing import running
from tests.wild import ENV, Held, Wild, finish_of, returning, wild


async def test_a_time_limit_ends_a_hook_that_asks_and_does_not_run_while_it_waits(
    tmp_path: Path,
) -> None:
    async def ask(runner: Wild) -> int:
        answer = await runner.ask("name? ")
        return len(answer)

    async with running(wild(this=ask), tmp_path, env=ENV) as client:
        client.say(Query("this", TaskOptions(limits=Limits(wall_s=0.3))), "r1")
        await client.hear_until("waiting-input", "r1")
        await asyncio.sleep(0.4)  # longer than the limit: that is what is tested
        client.say(commands.Input(b"me\n"), "i1")
        finish = (await client.hear_until("finished", "r1"))[-1]

    assert isinstance(finish, events.Finished)
    assert (finish.exit_code, finish.reason) == (2, "completed")


@pytest.mark.parametrize("wall_s", [float("inf"), 1e300, 1e-9])
async def test_any_positive_time_limit_can_be_kept(tmp_path: Path, wall_s: float) -> None:
    options = TaskOptions(limits=Limits(wall_s=wall_s))
    async with running(wild(), tmp_path, env=ENV) as client:
        finish = await finish_of(client, Execute("true", options), "e1")

    assert finish.reason in ("completed", "timeout")


@pytest.mark.parametrize("wall_s", [0.0, -1.0, float("nan"), float("-inf")])
async def test_a_time_limit_of_nothing_is_a_bad_request(tmp_path: Path, wall_s: float) -> None:
    options = TaskOptions(limits=Limits(wall_s=wall_s))
    async with running(wild(), tmp_path, env=ENV) as client:
        finish = await finish_of(client, Execute("true", options), "e1")

    assert (finish.exit_code, finish.reason) == (127, "bad-request")


@pytest.mark.parametrize(
    "options",
    [
        TaskOptions(args=("a\0b",)),
        TaskOptions(env={"A=B": "x"}),
        TaskOptions(env={"A": "\0"}),
        TaskOptions(env={"": "x"}),
        TaskOptions(cwd="no/such/folder"),
        TaskOptions(cwd="a\0b"),
        TaskOptions(args=("x" * 3_000_000,)),
    ],
    ids=["nul-arg", "equals", "nul-env", "empty-name", "no-cwd", "nul-cwd", "too-long"],
)
async def test_options_that_no_program_can_have_end_the_task_and_not_the_runner(
    tmp_path: Path, options: TaskOptions
) -> None:
    async with running(wild(next=returning(0)), tmp_path, env=ENV) as client:
        finish = await finish_of(client, Execute("true", options), "e1")
        following = await finish_of(client, Query("next"), "r2")

    assert finish.exit_code in (0, 126, 127)
    assert finish.reason != "crashed", finish.message
    assert following.reason == "completed"


async def test_input_that_no_program_took_is_answered_when_the_task_ends(tmp_path: Path) -> None:
    held = Held()

    async with running(wild(this=held), tmp_path, env=ENV) as client:
        client.say(Query("this", TaskOptions(stdin="stream")), "r1")
        await held.entered.wait()
        client.say(commands.Input(b"early\n"), "i1")
        client.say(commands.Input(b"x" * (9 << 20)), "i2")
        full = (await client.hear_until("error", "i2"))[-1]
        held.go_on.set()
        await client.hear_until("ok", "i1")

    assert isinstance(full, events.Refused)
    assert full.code == "input-full"
