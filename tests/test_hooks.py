"""Languages that fail in every way come in; each command still gets its one finish."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kernel_runner import hooks
from kernel_runner.base import BaseRunner
from kernel_runner.channels.agent import RunNames
from kernel_runner.errors import NothingToRun
from kernel_runner.messages import commands, events
from kernel_runner.messages.commands import Build, Clean, Complete, Execute, Interrupt, Query
from kernel_runner.messages.options import Limits, TaskOptions
from kernel_runner.testing import MemoryChannel, running

ENV = {"PATH": os.environ["PATH"]}
FAILURE_SECONDS = 10.0


class Wild(BaseRunner):
    """A language whose queries are functions of the test."""

    name = "wild"
    queries: ClassVar[dict[str, Callable[["Wild"], Awaitable[Any]]]] = {}

    async def build_heuristic(self) -> int:
        raise NothingToRun("nothing to build")

    async def execute_heuristic(self) -> int:
        return 0

    async def query(self, code: str) -> int:
        result = await self.queries[code](self)
        return result  # type: ignore[no-any-return]

    async def complete(self, request: Complete) -> Sequence[str]:
        raise ValueError("no words")

    async def interrupt(self, *, force: bool) -> None:
        if "interrupt" in self.queries:
            await self.queries["interrupt"](self)
        await super().interrupt(force=force)


def wild(**queries: Callable[[Wild], Awaitable[Any]]) -> type[Wild]:
    return type("ThisWild", (Wild,), {"queries": queries})


def returning(value: object) -> Callable[[Wild], Awaitable[Any]]:
    async def query(runner: Wild) -> Any:
        return value

    return query


def raising(error: BaseException) -> Callable[[Wild], Awaitable[Any]]:
    async def query(runner: Wild) -> Any:
        raise error

    return query


async def finish_of(client: MemoryChannel, command: commands.Command, name: str) -> events.Finished:
    client.say(command, name)
    assert isinstance(command, commands.QUEUED)
    finish = (await client.hear_until(command.answer, name))[-1]
    assert isinstance(finish, events.Finished)
    return finish


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
    query: Callable[[Wild], Awaitable[Any]],
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
    entered = asyncio.Event()
    go_on = asyncio.Event()

    async def wait(runner: Wild) -> int:
        entered.set()
        await go_on.wait()
        return 0

    async def fail(runner: Wild) -> None:
        go_on.set()
        raise ValueError("cannot")

    language = wild(this=wait, interrupt=fail, next=returning(0))
    async with running(language, tmp_path, env=ENV) as client:
        client.say(Query("this"), "r1")
        await entered.wait()
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
    go_on = asyncio.Event()
    entered = asyncio.Event()

    async def wait(runner: Wild) -> int:
        entered.set()
        await go_on.wait()
        return 0

    async def interrupt(runner: Wild) -> None:
        reached.append(runner.task.identity)

    async def following(runner: Wild) -> int:
        for _ in range(10):
            await asyncio.sleep(0)
        return 0

    language = wild(this=wait, interrupt=interrupt, next=following)
    async with running(language, tmp_path, env=ENV) as client:
        client.say(Query("this"), "r1")
        client.say(Query("next"), "r2")
        await entered.wait()
        go_on.set()  # the task goes on before what is started now
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


async def test_a_build_that_failed_skips_the_exec_of_its_run_alone(tmp_path: Path) -> None:
    mine, other = TaskOptions(run="mine"), TaskOptions(run="other")
    async with running(wild(), tmp_path, env=ENV) as client:
        build = await finish_of(client, Build("exit 3", mine), "b1")
        skipped = await finish_of(client, Execute("*", mine), "e1")
        another = await finish_of(client, Execute("*", other), "e2")
        without = await finish_of(client, Execute("*"), "e3")
        repaired = await finish_of(client, Build("exit 0", mine), "b2")
        again = await finish_of(client, Execute("*", mine), "e4")

    assert (build.exit_code, build.reason) == (3, "completed")
    assert (skipped.exit_code, skipped.reason) == (127, "skipped")
    assert [f.reason for f in (another, without, repaired, again)] == ["completed"] * 4


async def test_a_build_that_could_not_run_counts_as_failed(tmp_path: Path) -> None:
    run = TaskOptions(run="mine")
    async with running(wild(), tmp_path, env=ENV) as client:
        build = await finish_of(client, Build("*", run), "b1")
        skipped = await finish_of(client, Execute("*", run), "e1")

    assert (build.exit_code, build.reason) == (127, "not-found")
    assert skipped.reason == "skipped"


async def test_an_empty_body_skips_the_step(tmp_path: Path) -> None:
    async with running(wild(), tmp_path, env=ENV) as client:
        finishes = [await finish_of(client, kind(""), kind.op) for kind in (Clean, Build, Execute)]

    assert [(f.exit_code, f.reason) for f in finishes] == [(0, "completed")] * 3


async def test_a_makefile_is_used_in_any_language(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n\t@echo made\nclean:\n\t@echo cleaned\n")
    async with running(wild(), tmp_path, env=ENV) as client:
        client.say(Build("*"), "b1")
        built = await client.hear_until("build-finished", "b1")
        client.say(Clean("*"), "c1")
        cleaned = await client.hear_until("clean-finished", "c1")

    assert events.Output("stdout", b"made\n") in built
    assert events.Output("stdout", b"cleaned\n") in cleaned


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
    entered = asyncio.Event()
    go_on = asyncio.Event()

    async def wait(runner: Wild) -> int:
        entered.set()
        await go_on.wait()
        return 0

    async with running(wild(this=wait), tmp_path, env=ENV) as client:
        client.say(Query("this", TaskOptions(stdin="stream")), "r1")
        await entered.wait()
        client.say(commands.Input(b"early\n"), "i1")
        client.say(commands.Input(b"x" * (9 << 20)), "i2")
        full = (await client.hear_until("error", "i2"))[-1]
        go_on.set()
        await client.hear_until("ok", "i1")

    assert isinstance(full, events.Refused)
    assert full.code == "input-full"


def test_a_run_of_the_agent_begins_at_clean_or_build_and_ends_at_exec_or_code() -> None:
    names = RunNames()

    def run_of(command: commands.Command) -> str | None:
        named = names.assign(command)
        assert isinstance(named, commands.QUEUED)
        return named.options.run

    first = [run_of(Clean("*")), run_of(Build("*")), run_of(Execute("*"))]
    second = [run_of(Build("*")), run_of(Build("*")), run_of(Execute("*"))]
    third = [run_of(Clean("")), run_of(Clean("")), run_of(Query("x")), run_of(Execute("*"))]

    assert len({*first}) == 1
    assert len({*second}) == 1
    assert None not in (first[0], second[0])
    assert first[0] != second[0]
    assert third[0] != third[1]
    assert third[2:] == [None, None]
    assert names.assign(commands.GetStatus()) == commands.GetStatus()


async def test_failed_builds_are_forgotten_from_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "MAX_FAILED_BUILDS", 2)
    async with running(wild(), tmp_path, env=ENV) as client:
        for run in ("a", "b", "c"):
            await finish_of(client, Build("false", TaskOptions(run=run)), f"b{run}")
        ends = [
            (await finish_of(client, Execute("*", TaskOptions(run=run)), f"e{run}")).reason
            for run in ("a", "b", "c")
        ]

    assert ends == ["completed", "skipped", "skipped"]
