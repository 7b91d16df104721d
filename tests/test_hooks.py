"""Languages that fail in every way come in; each command still gets its one finish."""

import asyncio
from pathlib import Path

import pytest

from kernel_runner.errors import NothingToRun
from kernel_runner.messages import events
from kernel_runner.messages.commands import Complete, Interrupt, Query
from kernel_runner.testing import running
from tests.wild import ENV, Held, Hook, Wild, finish_of, raising, returning, wild


@pytest.mark.parametrize(
    ("query", "exit_code", "reason", "message"),
    [
        (returning(0), 0, "completed", None),
        (returning(300), 300 & 255, "completed", None),
        (returning(-1), 255, "completed", None),
        (returning(None), 1, "crashed", "TypeError"),
        (returning("0"), 1, "crashed", "TypeError"),
        (raising(ValueError("boom")), 1, "crashed", "ValueError: boom"),
        (raising(NothingToRun("no file")), 127, "not-found", "no file"),
        (raising(KeyError("\ud800")), 1, "crashed", "KeyError"),
    ],
)
async def test_whatever_a_hook_does_there_is_one_finish_and_the_next_task_runs(
    tmp_path: Path,
    query: Hook,
    exit_code: int,
    reason: str,
    message: str | None,
) -> None:
    async with running(wild(this=query, next=returning(7)), tmp_path, env=ENV) as client:
        finish = await finish_of(client, Query("this"), "r1")
        following = await finish_of(client, Query("next"), "r2")

    assert (finish.exit_code, finish.reason) == (exit_code, reason)
    assert (message or "") in (finish.message or "")
    assert following.exit_code == 7


async def test_a_hook_that_is_cancelled_by_nobody_does_not_end_the_runner(tmp_path: Path) -> None:
    language = wild(this=raising(asyncio.CancelledError()), next=returning(0))
    async with running(language, tmp_path, env=ENV) as client:
        finish = await finish_of(client, Query("this"), "r1")
        following = await finish_of(client, Query("next"), "r2")

    assert finish.reason == "crashed"
    assert following.reason == "completed"


async def test_the_log_of_a_failed_hook_comes_before_its_finish(tmp_path: Path) -> None:
    async with running(wild(this=raising(ValueError("boom"))), tmp_path, env=ENV) as client:
        client.say(Query("this"), "r1")
        heard = await client.hear_until("finished", "r1")

    logs = [event for event in heard if isinstance(event, events.Log)]
    assert len(logs) == 1
    assert "Traceback" in logs[0].text
    assert "boom" in logs[0].text


async def test_a_look_up_that_fails_is_refused_and_the_runner_goes_on(tmp_path: Path) -> None:
    async with running(wild(next=returning(0)), tmp_path, env=ENV) as client:
        client.say(Complete("x", 1), "c1")
        refused = (await client.hear_until("error", "c1"))[-1]
        finish = await finish_of(client, Query("next"), "r1")

    assert isinstance(refused, events.Refused)
    assert (refused.code, refused.message) == ("failed", "ValueError: no words")
    assert finish.reason == "completed"


async def test_an_interrupt_hook_that_fails_does_not_end_the_runner(tmp_path: Path) -> None:
    held = Held()

    async def fail(runner: Wild) -> None:
        held.go_on.set()
        raise ValueError("cannot")

    language = wild(this=held, interrupt=fail, next=returning(0))
    async with running(language, tmp_path, env=ENV) as client:
        client.say(Query("this"), "r1")
        await held.entered.wait()
        client.say(Interrupt(), "i1")
        finish = (await client.hear_until("finished", "r1"))[-1]
        following = await finish_of(client, Query("next"), "r2")

    assert isinstance(finish, events.Finished)
    assert finish.reason == "interrupted"
    assert following.reason == "completed"


async def test_an_interrupt_that_comes_with_the_end_of_a_task_spares_the_next_one(
    tmp_path: Path,
) -> None:
    reached: list[str] = []
    held = Held()

    async def interrupt(runner: Wild) -> None:
        reached.append(runner.task.identity)

    async def following(runner: Wild) -> int:
        for _ in range(10):
            await asyncio.sleep(0)
        return 0

    language = wild(this=held, interrupt=interrupt, next=following)
    async with running(language, tmp_path, env=ENV) as client:
        client.say(Query("this"), "r1")
        client.say(Query("next"), "r2")
        await held.entered.wait()
        held.go_on.set()  # the task goes on before what is started now
        client.say(Interrupt(), "i1")
        await client.hear_until("finished", "r2")

    assert "r2" not in reached


async def test_a_task_that_waits_for_a_slow_client_can_be_interrupted(tmp_path: Path) -> None:
    async with running(
        wild(this=returning(0), next=returning(0)), tmp_path, env=ENV, max_pending_bytes=1
    ) as client:
        client.reading = False
        for name in ("r1", "r2", "r3"):
            client.say(Query("this"), name)
        for _ in range(10):
            await asyncio.sleep(0)
        client.say(Interrupt(), "i1")
        for _ in range(10):
            await asyncio.sleep(0)
        client.read_on()
        heard = await client.hear_until("finished", "r3")

    assert isinstance(heard[-1], events.Finished)
