"""Runs and runners that are told to end come in; what is run, and by whom, is looked at."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel_runner.client.agent import CodeRunner, NextResult, connect
from tests.agents import connected, text_of, until
from tests.puppet import Puppet, fed, puppet, result_of
from tests.running import RunnerProcess, runner
from tests.wire import SessionClient

SPIN = "trap 'exit 42' INT TERM; echo ready; while :; do :; done"
FOR_EVER = "touch ran; while :; do :; done"


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    async with runner(tmp_path, "shell") as process:
        yield process


@pytest.fixture
async def agent(started: RunnerProcess) -> AsyncIterator[CodeRunner]:
    async with connected(started) as agent:
        yield agent


def ends_of(results: list[NextResult]) -> list[tuple[str, int | None]]:
    return [(each.status, each.exit_code) for each in results if each.status != "continued"]


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize(
    ("steps", "ends"),
    [
        ({"clean": SPIN, "build": FOR_EVER, "exec": FOR_EVER}, [42, 127, 127]),
        ({"build": SPIN, "exec": FOR_EVER}, [0, 42, 127]),
        ({"exec": SPIN}, [0, 0, 42]),
    ],
    ids=["clean", "build", "exec"],
)
async def test_an_interrupt_ends_a_batch_with_all_its_steps(
    agent: CodeRunner,
    started: RunnerProcess,
    is_named: bool,
    steps: dict[str, str],
    ends: list[int],
) -> None:
    run_id = await agent.feed_batch(**steps)
    results = await until(agent, run_id, "ready\n")

    await agent.feed_interrupt(run_id if is_named else None)
    results += await until(agent, run_id, "finished")

    kinds = ["clean-finished", "build-finished", "finished"]
    assert ends_of(results) == list(zip(kinds, ends, strict=True))
    assert not (started.work_dir / "ran").exists()


async def test_a_batch_that_is_released_in_its_first_step_starts_no_other_one(
    agent: CodeRunner,
) -> None:
    released = await agent.feed_batch(clean=SPIN, build=FOR_EVER, exec=FOR_EVER)
    following = await agent.feed_batch(clean="echo c", build="echo b", exec="ls")
    await until(agent, released, "ready\n")

    await agent.release(released)
    results = await until(agent, following, "finished")

    assert text_of(results) == "c\nb\n"
    assert [exit_code for _, exit_code in ends_of(results)] == [0, 0, 0]


async def test_a_batch_that_nobody_asks_for_is_given_up_with_all_its_steps(
    started: RunnerProcess,
) -> None:
    async with connected(started, abandon_seconds=0.2) as agent:
        await agent.feed_batch(clean=SPIN, build=FOR_EVER, exec=FOR_EVER)
        following = await agent.feed_code("ls")

        assert text_of(await until(agent, following, "finished")) == ""


async def test_runs_that_wait_while_their_runner_is_told_to_stop_are_run_by_the_next_one(
    tmp_path: Path,
) -> None:
    async with runner(tmp_path, "shell") as first, connected(first) as agent:
        active = await agent.feed_code(SPIN)
        code = await agent.feed_code("echo code")
        batch = await agent.feed_batch(clean="echo c", build="echo b", exec="echo e")
        await until(agent, active, "ready\n")
        first.terminate()
        end = (await until(agent, active, "finished"))[-1].exit_code
        await first.ended()

        async with runner(tmp_path, "shell"):
            results = [await until(agent, run_id, "finished") for run_id in (code, batch)]

    assert end != 0
    assert [text_of(result) for result in results] == ["code\n", "c\nb\ne\n"]
    assert [exit_code for result in results for _, exit_code in ends_of(result)] == [0] * 4


async def test_a_run_that_was_fed_and_not_begun_when_its_runner_stopped_is_run_by_the_next_one(
    tmp_path: Path,
) -> None:
    async with runner(tmp_path, "shell") as first, connected(first) as agent:
        other = first.session()
        await other.hello()
        await other.say("code", SPIN)
        await other.hear_output(b"ready")
        batch = await agent.feed_batch(clean="echo c", exec="echo e")
        code = await agent.feed_code("echo code")
        while not (await agent.feed_and_get_status()).queue_length:
            pass
        first.terminate()
        await first.ended()
        other.close()

        async with runner(tmp_path, "shell"):
            results = [await until(agent, run_id, "finished") for run_id in (batch, code)]

    assert [text_of(result) for result in results] == ["c\ne\n", "code\n"]


async def test_a_batch_whose_runner_stops_amid_it_has_an_end_and_goes_on_nowhere(
    tmp_path: Path,
) -> None:
    async with runner(tmp_path, "shell") as first, connected(first) as agent:
        batch = await agent.feed_batch(clean="touch cleaned", build=SPIN, exec=FOR_EVER)
        await until(agent, batch, "clean-finished")
        await until(agent, batch, "ready\n")
        first.terminate()
        results = await until(agent, batch, "finished")
        await first.ended()

        async with runner(tmp_path, "shell"):
            listing = await until(agent, await agent.feed_code("ls"), "finished")

    assert [status for status, _ in ends_of(results)] == ["build-finished", "finished"]
    assert 0 not in [exit_code for _, exit_code in ends_of(results)]
    assert text_of(listing) == "cleaned\n"


@pytest.mark.parametrize("is_begun", [True, False])
async def test_a_run_that_another_client_cancels_ends_and_the_next_one_runs(
    started: RunnerProcess, agent: CodeRunner, is_begun: bool
) -> None:
    other, busy = started.session(), started.session()
    if not is_begun:
        await busy.hello()
        await busy.say("code", SPIN)
        await busy.hear_output(b"ready")
    run_id = await agent.feed_batch(clean=SPIN, exec=FOR_EVER)
    following = await agent.feed_code("ls")
    if is_begun:
        await until(agent, run_id, "ready\n")

    await other.say("cancel", target=await task_of_agent(other))
    results = await until(agent, run_id, "finished")
    if not is_begun:
        await busy.say("interrupt")
    listing = await until(agent, following, "finished")
    for client in (other, busy):
        client.close()

    ends = [42, 127, 127] if is_begun else [127, 127, 127]
    assert [exit_code for _, exit_code in ends_of(results)] == ends
    assert text_of(listing) == ""


async def task_of_agent(other: SessionClient) -> str:
    """What the runner calls the step that the agent fed, once it has it."""
    while True:
        await other.say("queue")
        listing = (await other.hear_until("queue")).fields
        for entry in (listing["running"], *listing["waiting"]):
            if entry is not None and entry["session"] == "agent":
                return str(entry["id"])


async def test_a_runner_that_says_that_it_stops_is_fed_nothing(tmp_path: Path) -> None:
    async with puppet(tmp_path) as (runner, agent):
        run_id = await fed(runner, agent)
        waiting = await agent.feed_code("next")
        await runner.finish(exit_code=127, reason="cancelled")
        await runner.answer_status(state="stopping")
        runner.close()

        following = Puppet(tmp_path)
        try:
            await following.answer_status(state="stopping")
            following.close()
            following = Puppet(tmp_path)
            await following.answer_status()
            for source, each in (b"x", run_id), (b"next", waiting):
                assert await following.hear() == [b"code", source]
                await following.finish()
                assert (await result_of(agent, each)).exit_code == 0
        finally:
            following.close()


@pytest.mark.parametrize("end", ["release", "interrupt"])
async def test_a_run_that_was_told_to_end_is_not_run_by_the_next_runner(
    tmp_path: Path, end: str
) -> None:
    async with puppet(tmp_path) as (runner, agent):
        run_id = await fed(runner, agent)
        waiting = await agent.feed_code("next")
        await (agent.release(run_id) if end == "release" else agent.feed_interrupt(run_id))
        assert (await runner.hear())[0] == b"interrupt"
        await runner.finish(exit_code=127, reason="cancelled")
        runner.close()

        following = Puppet(tmp_path)
        try:
            await following.answer_status()
            assert await following.hear() == [b"code", b"next"]
            await following.finish()
            assert (await result_of(agent, waiting)).exit_code == 0
            if end == "interrupt":
                assert (await result_of(agent, run_id)).exit_code == 127
        finally:
            following.close()


async def test_an_interrupt_that_hits_the_mark_behind_what_was_left_holds_up_nobody(
    tmp_path: Path,
) -> None:
    runner = Puppet(tmp_path)
    answering = asyncio.create_task(runner.answer_status(state="busy", running="agent-1"))
    try:
        async with connect(*runner.addresses) as agent:
            await answering
            run_id = await agent.feed_code("x")
            first = await runner.hear()
            await agent.feed_interrupt()
            assert (await runner.hear())[0] == b"interrupt"
            second = await runner.hear()
            await runner.finish("clean-finished", 130, "interrupted")
            await runner.say(b"stdout", second[1].removeprefix(b"echo ") + b"\n")
            await runner.finish("clean-finished")
            assert await runner.hear() == [b"code", b"x"]
            await runner.finish()

            assert (await result_of(agent, run_id)).status == "finished"
        assert first != second
    finally:
        runner.close()


async def test_what_a_lost_run_keeps_does_not_stop_the_reading_of_the_next_runner(
    tmp_path: Path,
) -> None:
    async with puppet(tmp_path, max_buffered_bytes=10_000) as (runner, agent):
        await fed(runner, agent)
        for _ in range(30):
            await runner.say(b"stdout", b"x" * 1_000)
        runner.close()

        following = Puppet(tmp_path)
        try:
            await following.answer_status()
            waiting = await agent.feed_code("next")
            assert await following.hear() == [b"code", b"next"]
            await following.finish()
            assert (await result_of(agent, waiting)).status == "finished"
        finally:
            following.close()
