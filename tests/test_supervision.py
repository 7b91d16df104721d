"""Bugs come in, of languages and of ours; a log, an answer and a runner that serves go out."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from kernel_runner import bugs
from kernel_runner.errors import RunnerBroken
from kernel_runner.logs import LogStream
from kernel_runner.messages import events
from kernel_runner.messages.commands import Cancel, Complete, Execute, GetStatus, Query
from kernel_runner.messages.options import TaskOptions
from kernel_runner.messages.request import Envelope
from kernel_runner.prompts import Watcher
from kernel_runner.server import Server
from kernel_runner.testing import running
from tests.running import conversation
from tests.wild import ENV, Wild, finish_of, raising, returning, wild


class Strange(BaseException):
    """No `Exception`."""


class Explosive(str):
    """What no stage expects in a command."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("boom")

    __hash__ = str.__hash__


def fail() -> None:
    raise RuntimeError("boom")


async def run_with_a_bug(runner: Wild) -> object:
    """A program that would go on for ever, and a callback of the loop that fails."""
    asyncio.get_running_loop().call_later(0.05, fail)
    return await runner.run(["sleep", "600"])


async def cancel_itself(runner: Wild) -> object:
    current = asyncio.current_task()
    assert current is not None
    current.cancel()
    await asyncio.sleep(0)
    return 0


async def block(runner: Wild) -> object:
    time.sleep(1)  # noqa: ASYNC251
    return 3


def logged(heard: list[events.AnyEvent]) -> str:
    return "\n".join(event.text for event in heard if isinstance(event, events.Log))


async def test_a_bug_in_a_callback_ends_the_request_that_runs_and_the_runner_goes_on(
    tmp_path: Path,
) -> None:
    async with running(wild(this=run_with_a_bug, next=returning(0)), tmp_path, env=ENV) as client:
        client.say(Query("this"), "r1")
        heard = await client.hear_until("finished", "r1")
        following = await finish_of(client, Query("next"), "r2")

    finish = heard[-1]
    assert isinstance(finish, events.Finished)
    assert finish.reason == "crashed"
    assert "RuntimeError: boom" in (finish.message or "")
    assert "Traceback" in logged(heard)
    assert following.reason == "completed"


@pytest.mark.parametrize(
    "error", [SystemExit(0), KeyboardInterrupt(), Strange("x"), asyncio.CancelledError()]
)
async def test_whatever_a_hook_raises_ends_its_own_request_only(
    tmp_path: Path, error: BaseException
) -> None:
    language = wild(this=raising(error), next=returning(0))
    async with running(language, tmp_path, env=ENV) as client:
        finish = await finish_of(client, Query("this"), "r1")
        following = await finish_of(client, Query("next"), "r2")

    assert (finish.exit_code, finish.reason) == (1, "crashed")
    assert following.reason == "completed"


async def test_a_hook_that_cancels_itself_ends_its_own_request_only(tmp_path: Path) -> None:
    async with running(wild(this=cancel_itself, next=returning(0)), tmp_path, env=ENV) as client:
        finish = await finish_of(client, Query("this"), "r1")
        following = await finish_of(client, Query("next"), "r2")

    assert finish.reason == "crashed"
    assert following.reason == "completed"


async def test_a_hook_that_does_not_let_itself_be_cancelled_does_not_hold_up_the_end(
    tmp_path: Path,
) -> None:
    begun = asyncio.Event()

    async def swallow(runner: Wild) -> object:
        begun.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            return 0
        return 1

    language = wild(this=swallow, next=returning(0))
    async with asyncio.timeout(20):
        async with running(language, tmp_path, env=ENV) as client:
            client.say(Query("this"), "r1")
            client.say(Query("next"), "r2")
            await begun.wait()
        heard = await client.hear_until("finished", "r2")

    finish = heard[-1]
    assert isinstance(finish, events.Finished)
    assert finish.reason == "cancelled"


@pytest.mark.parametrize("error", [SystemExit(0), Strange("x"), asyncio.CancelledError()])
async def test_what_a_hook_raises_that_is_called_at_once_is_an_answer(
    tmp_path: Path, error: BaseException
) -> None:
    class Broken(Wild):
        async def complete(self, request: Complete) -> list[str]:
            raise error

    async with running(Broken, tmp_path, env=ENV) as client:
        client.say(Complete("x", 1), "c1")
        refused = (await client.hear_until("error", "c1"))[-1]
        client.say(GetStatus(), "s1")
        await client.hear_until("status", "s1")

    assert isinstance(refused, events.Refused)
    assert refused.code == "failed"


async def test_a_bug_on_the_way_to_the_queue_is_answered_and_spares_what_runs(
    tmp_path: Path,
) -> None:
    async with running(wild(this=returning(0)), tmp_path, env=ENV) as client:
        client.say(Execute("echo ready; read line"), "r1")
        await client.hear_until("waiting-input", "r1")
        client.say(Cancel(Explosive("r1")), "c1")
        refused = (await client.hear_until("error", "c1"))[-1]
        client.say(Query("this", TaskOptions(limits=None)), "r2")  # type: ignore[arg-type]
        crashed = (await client.hear_until("finished", "r2"))[-1]
        client.say(Cancel("r1"), "c2")
        cancelled = (await client.hear_until("finished", "r1"))[-1]

    assert isinstance(refused, events.Refused)
    assert isinstance(crashed, events.Finished)
    assert isinstance(cancelled, events.Finished)
    assert "boom" in refused.message
    assert crashed.reason == "crashed"
    assert cancelled.reason == "cancelled"


async def test_a_runner_whose_request_cannot_be_ended_ends_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bugs, "CRASH_SECONDS", 0.1)

    async def hang(runner: Wild) -> object:
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.Event().wait()
        return 0

    heard: list[events.AnyEvent] = []
    with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - the end of the block raises
        async with running(wild(this=hang), tmp_path, env=ENV) as client:
            client.say(Query("this"), "r1")
            heard += await client.hear_until("finished", "r1")

    assert raised.group_contains(RunnerBroken)
    finish = heard[-1]
    assert isinstance(finish, events.Finished)
    assert finish.reason == "crashed"


async def test_a_runner_with_too_many_bugs_ends_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bugs, "MAX_BUGS", 5)

    async def fail_often(runner: Wild) -> object:
        for _ in range(10):
            asyncio.get_running_loop().call_soon(fail)
        return 0

    with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - the end of the block raises
        async with running(wild(this=fail_often), tmp_path, env=ENV) as client:
            client.say(Query("this"), "r1")
            await client.hear_until("finished", "r1")
            while not client.gone:  # noqa: ASYNC110 - it tells of itself by nothing else
                await asyncio.sleep(0)

    assert raised.group_contains(RunnerBroken)


async def test_a_bug_in_a_task_that_nobody_awaits_ends_the_request_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(self: Watcher) -> None:
        fail()

    monkeypatch.setattr(Watcher, "_agreed_look", look)
    async with running("shell", tmp_path, env=ENV) as client:
        client.say(Execute("read line"), "r1")
        heard = await client.hear_until("finished", "r1")
        following = await finish_of(client, Execute("true"), "r2")

    finish = heard[-1]
    assert isinstance(finish, events.Finished)
    assert finish.reason == "crashed"
    assert "the task 'prompts' failed" in logged(heard)
    assert following.reason == "completed"


@pytest.mark.parametrize(("owner", "stage"), [(Server, "_end_idle_sessions"), (LogStream, "pump")])
async def test_a_stage_that_dies_ends_the_runner_and_the_request_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, stage: str
) -> None:
    begun = asyncio.Event()

    async def broken(self: object) -> None:
        await begun.wait()
        fail()

    monkeypatch.setattr(owner, stage, broken)
    heard: list[events.AnyEvent] = []
    with pytest.raises(ExceptionGroup):  # noqa: PT012 - the end of the block raises
        async with running("shell", tmp_path, env=ENV) as client:
            client.say(Execute("echo ready; sleep 600"), "r1")
            await client.hear_until("stdout", "r1")
            begun.set()
            heard += await client.hear_until("finished", "r1")

    finish = heard[-1]
    assert isinstance(finish, events.Finished)
    assert finish.reason == "crashed"
    assert "Traceback" in logged(heard)


async def test_a_channel_that_fails_on_every_event_ends_the_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bugs, "MAX_BUGS", 20)

    def refuse(envelope: Envelope) -> None:
        fail()

    async with asyncio.timeout(30):
        with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - the end of the block raises
            async with running("shell", tmp_path, env=ENV) as client:
                client._on_event = refuse
                client.say(Execute("sleep 600"), "r1")
                while not client.gone:  # noqa: ASYNC110 - it tells of itself by nothing else
                    await asyncio.sleep(0)

    assert raised.group_contains(RunnerBroken)


async def test_a_hook_that_blocks_the_loop_only_delays_the_others(tmp_path: Path) -> None:
    async with running(wild(this=block), tmp_path, env=ENV) as client:
        client.say(Query("this"), "r1")
        client.say(GetStatus(), "s1")
        await client.hear_until("status", "s1")
        finish = (await client.hear_until("finished", "r1"))[-1]

    assert isinstance(finish, events.Finished)
    assert finish.exit_code == 3


LANGUAGE = """
import asyncio, os
from kernel_runner.langs._script import ScriptRunner

def fail():
    raise RuntimeError("boom")

class Runner(ScriptRunner):
    extensions = (".x",)
    command = "sh"
    hello = ""

    async def execute_heuristic(self):
        return 0

    async def query(self, code):
        loop = asyncio.get_running_loop()
        match code:
            case "callback":
                loop.call_soon(fail)
                return await self.run(["sleep", "600"])
            case "exit":
                raise SystemExit(0)
            case "exit in a callback":
                loop.call_soon(exec, "raise SystemExit(0)")
                await asyncio.sleep(600)
            case "close":
                os.closerange(3, 1_000)
                await asyncio.sleep(600)
        return 0
"""


def install(folder: Path) -> dict[str, str]:
    """The environment in which the language `buggy` is installed as a plugin."""
    info = folder / "plugin" / "buggy-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: buggy\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[kernel_runner.langs]\nbuggy = buggy_lang:Runner\n")
    (folder / "plugin" / "buggy_lang.py").write_text(LANGUAGE)
    known = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{folder}/plugin:{known}"}


@pytest.mark.parametrize("dialect", ["agent", "session"])
async def test_a_whole_runner_tells_of_a_bug_and_serves_on(tmp_path: Path, dialect: str) -> None:
    async with conversation(dialect, tmp_path, "buggy", env=install(tmp_path)) as (started, client):
        started.may_complain = True
        crashed = await client.run("code", "callback")
        left = await client.run("code", "exit")
        after = await client.run("exec", "echo ok")

    assert crashed.end == (137, "crashed")
    assert any("RuntimeError: boom" in text and "Traceback" in text for text in crashed.logs)
    assert left.end == (1, "crashed")
    assert (after.stdout, after.end) == (b"ok\n", (0, "completed"))


@pytest.mark.parametrize("bug", ["close", "exit in a callback"])
async def test_a_runner_that_is_broken_ends_and_says_so_by_its_exit_code(
    tmp_path: Path, bug: str
) -> None:
    async with conversation("session", tmp_path, "buggy", env=install(tmp_path)) as talk:
        started, client = talk
        started.was_killed = started.may_complain = True
        await client.say("code", bug)
        exit_code = await started.ended()

    assert exit_code != 0
