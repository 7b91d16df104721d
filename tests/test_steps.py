"""The steps clean, build and exec of runs come in; what each of them ran, or skipped, goes out."""

from pathlib import Path

import pytest

from kernel_runner import hooks
from kernel_runner.channels.agent import RunNames
from kernel_runner.messages import commands, events
from kernel_runner.messages.commands import Build, Clean, Execute, Query
from kernel_runner.messages.options import TaskOptions
from kernel_runner.testing import running
from tests.wild import ENV, finish_of, wild


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
