"""More is printed than is taken: what an agent's side keeps, what waits, and what is counted."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel_runner.client.agent import CodeRunner, NextResult, UnknownRun
from kernel_runner.client.agent.code_runner import MAX_BUFFERED_BYTES
from tests.agents import connected, dropped, text_of, until, until_idle
from tests.puppet import fed, puppet, result_of, say_much
from tests.running import RunnerProcess, runner
from tests.wire import FAILURE_SECONDS


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    async with runner(tmp_path, "shell") as process:
        yield process


@pytest.fixture
async def agent(started: RunnerProcess) -> AsyncIterator[CodeRunner]:
    async with connected(started) as agent:
        yield agent


async def test_a_run_that_nobody_takes_holds_up_no_answer_and_loses_nothing(
    agent: CodeRunner,
) -> None:
    run_id = await agent.feed_code("head -c 100000000 /dev/zero | tr '\\0' x")
    async with asyncio.timeout(FAILURE_SECONDS):
        states = [(await agent.feed_and_get_status()).state for _ in range(3)]

    results = await until(agent, run_id, "finished")

    assert states[-1] == "busy"
    assert (len(text_of(results)), dropped(results)) == (100_000_000, 0)
    assert max(len(text_of([result])) for result in results) < 4.1 * MAX_BUFFERED_BYTES


async def test_a_program_waits_while_nobody_takes_what_it_prints(started: RunnerProcess) -> None:
    async with connected(started, max_buffered_bytes=1_000_000) as agent:
        run_id = await agent.feed_code("head -c 50000000 /dev/zero | tr '\\0' x")
        await asyncio.sleep(0.3)  # time to print much more, if it did not wait

        result = await agent.next_result(run_id)

    assert 900_000 < len(text_of([result])) < 1_100_000


async def test_what_cannot_be_kept_for_a_caller_that_never_asks_is_counted(
    started: RunnerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_runner.client.agent.run.PATIENCE_SECONDS", 0.0)
    async with connected(started, max_buffered_bytes=10_000) as agent:
        run_id = await agent.feed_code("head -c 30000000 /dev/zero | tr '\\0' x; echo end")
        await until_idle(agent)

        results = await until(agent, run_id, "finished")

    assert len(text_of(results)) < 1_000_000
    assert len(text_of(results)) + dropped(results) == 30_000_004


async def test_a_caller_without_continuation_is_told_before_too_much_is_kept_for_him(
    started: RunnerProcess,
) -> None:
    async with connected(started, max_buffered_bytes=100_000) as agent:
        run_id = await agent.feed_code("head -c 3000000 /dev/zero | tr '\\0' x")
        results: list[NextResult] = []
        while not results or results[-1].status != "finished":
            results.append(await agent.next_result(run_id, flush_timeout_seconds=None))

    assert len(text_of(results)) == 3_000_000
    assert {result.status for result in results} == {"continued", "finished"}


async def test_answers_come_while_the_buffer_of_a_run_is_full(tmp_path: Path) -> None:
    async with puppet(tmp_path, max_buffered_bytes=300_000) as (runner, agent):
        run_id = await fed(runner, agent)
        flood = asyncio.create_task(say_much(runner, 800))
        for name in ("a", "b", "c"):
            asking = asyncio.create_task(agent.feed_and_get_completion(name))
            await runner.hear()
            await runner.complete(name)
            assert await asking == [name]
        results = [await agent.next_result(run_id, flush_timeout_seconds=None)]
        while results[-1].status != "finished":
            results.append(await agent.next_result(run_id, flush_timeout_seconds=None))
        await flood

    texts = [str(text) for result in results for _, text in result.console or ()]
    assert len("".join(texts)) == 800_000


async def test_who_asks_loses_nothing_however_much_comes_before_an_answer(tmp_path: Path) -> None:
    async with puppet(tmp_path, max_buffered_bytes=10_000) as (runner, agent):
        run_id = await fed(runner, agent)
        asking = asyncio.create_task(agent.feed_and_get_completion("a"))
        await runner.hear()
        flood = asyncio.create_task(say_much(runner, 3_000))
        flood.add_done_callback(lambda _: asyncio.ensure_future(runner.complete("a")))
        results = [await agent.next_result(run_id, flush_timeout_seconds=None)]
        while results[-1].status != "finished":
            results.append(await agent.next_result(run_id, flush_timeout_seconds=None))

        assert await asking == ["a"]
    texts = [str(text) for result in results for _, text in result.console or ()]
    assert len("".join(texts)) == 3_000_000


async def test_an_answer_does_not_wait_for_a_caller_that_never_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_runner.client.agent.run.PATIENCE_SECONDS", 0.2)
    async with puppet(tmp_path, max_buffered_bytes=10_000) as (runner, agent):
        run_id = await fed(runner, agent)
        asking = asyncio.create_task(agent.feed_and_get_completion("a"))
        await runner.hear()
        await say_much(runner, 500)
        await runner.complete("a")

        assert await asking == ["a"]
        result = await agent.next_result(run_id, api_version=1)
    said = re.fullmatch(r"\[(\d+) bytes of output were thrown away .*\]\n", result.stderr or "")
    assert said is not None
    assert len(result.stdout or "") + int(said[1]) == 500_000


async def test_runs_that_nobody_claims_are_forgotten_the_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_runner.client.agent.runs.MAX_UNCLAIMED_BYTES", 6_000)
    async with puppet(tmp_path) as (runner, agent):
        ids = []
        for _ in range(5):
            ids.append(await fed(runner, agent))
            await say_much(runner, 2)
        last = await result_of(agent, ids[4])
        kept = await result_of(agent, ids[3])
        for run_id in ids[:3]:
            with pytest.raises(UnknownRun):
                await agent.next_result(run_id)

    assert (last.status, kept.status) == ("finished", "finished")
