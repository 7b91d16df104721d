"""What hangs comes in: hooks that await for ever, clients that take nothing; the line goes on."""

import asyncio
from pathlib import Path

import pytest

from kernel_runner import server, task
from kernel_runner.errors import RunnerBroken
from kernel_runner.messages import events
from kernel_runner.messages.commands import Cancel, Interrupt, Query
from kernel_runner.messages.options import Limits, TaskOptions
from kernel_runner.testing import running
from tests.running import connected, conversation, runner
from tests.wild import ENV, Held, finish_of, returning, wild
from tests.wire import SessionClient


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "HOOK_SECONDS", 0.1)
    monkeypatch.setattr(server, "SHUTDOWN_SECONDS", 0.1)


async def test_a_hook_that_awaits_for_ever_is_ended_by_a_limit(tmp_path: Path) -> None:
    async with running(wild(hang=Held(), next=returning(3)), tmp_path, env=ENV) as client:
        limited = TaskOptions(limits=Limits(wall_s=0.1))
        finish = await finish_of(client, Query("hang", limited), "r1")
        after = await finish_of(client, Query("next"), "r2")

    assert (finish.reason, finish.message) == ("timeout", "it ran longer than 0.1 s")
    assert (after.reason, after.exit_code) == ("completed", 3)


@pytest.mark.parametrize(
    ("command", "reason"), [(Cancel("r1"), "cancelled"), (Interrupt(), "interrupted")]
)
async def test_a_hook_that_awaits_for_ever_is_ended_by_its_client(
    tmp_path: Path, command: Cancel | Interrupt, reason: str
) -> None:
    hang = Held()
    async with running(wild(hang=hang, next=returning(3)), tmp_path, env=ENV) as client:
        client.say(Query("hang"), "r1")
        await hang.entered.wait()
        client.say(command, "c1")
        finish = (await client.hear_until("finished", "r1"))[-1]
        after = await finish_of(client, Query("next"), "r2")

    assert isinstance(finish, events.Finished)
    assert finish.reason == reason
    assert (after.reason, after.exit_code) == ("completed", 3)


async def test_a_language_that_does_not_shut_down_ends_the_runner_as_broken(tmp_path: Path) -> None:
    class Clinging(wild(next=returning(0))):  # type: ignore[misc]
        async def shutdown(self) -> None:
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        async with running(Clinging, tmp_path, env=ENV) as client:
            await finish_of(client, Query("next"), "r1")

    assert raised.group_contains(RunnerBroken, match="does not shut down")


async def test_a_request_whose_client_takes_nothing_can_be_cancelled(tmp_path: Path) -> None:
    small = ("--max-pending-bytes=100000", "--max-spool-bytes=0")
    async with (
        runner(tmp_path, "shell", *small) as started,
        connected(started) as client,
        connected(started) as other,
    ):
        assert isinstance(client, SessionClient)
        client.acknowledges = False
        flood = await client.say("exec", "yes")
        await client.hear_until("stdout", flood)
        await other.say("interrupt")
        await client.hear_finish(flood)
        waiting = await client.say("exec", "echo never")
        await client.hear_until("started", waiting)
        await other.say("cancel", target=waiting)
        finish = await client.hear_finish(waiting)
        after = await other.run("exec", "echo next")

    assert finish.finish["reason"] == "cancelled"
    assert after.stdout == b"next\n"


async def test_a_request_of_another_session_is_cancelled_by_its_id_when_only_one_has_it(
    tmp_path: Path,
) -> None:
    async with (
        conversation("session", tmp_path, "shell") as (started, client),
        connected(started) as other,
        connected(started) as third,
    ):
        await client.say("exec", "read line", id="busy")
        await client.hear_until("waiting-input")
        for one in (client, other):
            await one.say("exec", "true", id="twice")
            await one.hear_until("accepted")
        await other.say("exec", "true", id="once")
        await other.hear_until("accepted")
        await third.say("cancel", target="twice")
        refused = await third.hear_until("error")
        await third.say("cancel", target="once")
        await third.hear_until("ok")
        cancelled = await other.hear_finish("once")
        await client.say("input", "\n")
        done = await client.hear_finish("twice")

    assert (refused.fields["code"], bool(refused.fields["hint"])) == ("ambiguous", True)
    assert cancelled.finish["reason"] == "cancelled"
    assert done.finish["reason"] == "completed"
