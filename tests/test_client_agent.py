"""An agent's calls come in; runs, their order and their results are those of a real runner."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel_runner.client import BadAddress, RequestRefused
from kernel_runner.client.agent import (
    CodeRunner,
    RunAbandoned,
    RunIsOpen,
    RunnerClosed,
    RunnerLost,
    RunnerNotReady,
    RunNotActive,
    UnknownRun,
    connect,
)
from tests.agents import connected, text_of, until, until_idle
from tests.running import RunnerProcess, runner

SPIN = "trap 'exit 42' INT; echo ready; while :; do :; done"


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    async with runner(tmp_path, "shell") as process:
        yield process


@pytest.fixture
async def agent(started: RunnerProcess) -> AsyncIterator[CodeRunner]:
    async with connected(started) as agent:
        yield agent


async def test_a_batch_is_told_step_by_step(agent: CodeRunner) -> None:
    run_id = await agent.feed_batch(build="echo building", exec="echo out; exit 3")

    results = await until(agent, run_id, "finished")

    told = [(result.status, result.exit_code) for result in results if result.status != "continued"]
    assert told == [("clean-finished", 0), ("build-finished", 0), ("finished", 3)]
    assert text_of(results) == "building\nout\n"


async def test_output_that_arrives_between_two_polls_is_there_at_the_next_one_with_finished(
    agent: CodeRunner,
) -> None:
    run_id = await agent.feed_batch(clean="echo c", build="echo b", exec="echo e; exit 5")
    await until_idle(agent)

    results = [await agent.next_result(run_id) for _ in range(3)]

    assert [result.as_dict() for result in results] == [
        {
            "runId": run_id,
            "status": status,
            "exitCode": exit_code,
            "options": None,
            "console": (("stdout", text),),
        }
        for status, exit_code, text in [
            ("clean-finished", 0, "c\n"),
            ("build-finished", 0, "b\n"),
            ("finished", 5, "e\n"),
        ]
    ]


async def test_a_build_that_fails_is_continued_to_the_end_of_its_run(agent: CodeRunner) -> None:
    run_id = await agent.feed_batch(build="exit 3", exec="echo never")

    results = await until(agent, run_id, "finished")

    ends = [result.exit_code for result in results if result.status != "continued"]
    assert (ends, text_of(results)) == ([0, 3, 127], "")


async def test_runs_are_active_one_at_a_time_in_the_order_fed(agent: CodeRunner) -> None:
    ids = [await agent.feed_batch(exec=f"echo {n} >> order; cat order") for n in range(5)]

    results = [await until(agent, run_id, "finished") for run_id in reversed(ids)]

    assert [text_of(result).split() for result in reversed(results)] == [
        [str(earlier) for earlier in range(n + 1)] for n in range(5)
    ]


async def test_a_client_without_continuation_waits_until_there_is_an_end(
    agent: CodeRunner, started: RunnerProcess
) -> None:
    run_id = await agent.feed_code("echo one; until [ -e go ]; do :; done; echo two")
    first = await until(agent, run_id, "one\n")
    waiting = asyncio.create_task(agent.next_result(run_id, flush_timeout_seconds=None))
    later = await agent.feed_and_get_status()

    (started.work_dir / "go").touch()

    assert {result.status for result in first} == {"continued"}
    assert later.state == "busy"
    result = await waiting
    assert (result.status, text_of([result])) == ("finished", "two\n")


async def test_a_caller_that_is_cancelled_takes_nothing_with_him(agent: CodeRunner) -> None:
    run_id = await agent.feed_code("echo ready; read x; echo $x")
    while (await agent.feed_and_get_status()).state != "busy":
        pass
    asking = [asyncio.create_task(agent.next_result(run_id)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)

    prompt = await until(agent, run_id, "waiting-input")
    await agent.feed_input(run_id, "answer")
    rest = await until(agent, run_id, "finished")

    assert text_of(prompt + rest) == "ready\nanswer\n"
    assert prompt[-1].options == {"is_password": False}


async def test_a_character_that_is_cut_by_a_poll_comes_whole(
    agent: CodeRunner, started: RunnerProcess
) -> None:
    program = r"printf 'x\303'; until [ -e go ]; do :; done; printf '\251\303'"
    run_id = await agent.feed_batch(build=program, exec=r"printf '\251'")
    first = await until(agent, run_id, "x")

    (started.work_dir / "go").touch()
    rest = await until(agent, run_id, "finished")

    assert text_of(first + rest) == "xé\ufffd\ufffd"


async def test_a_run_that_nobody_asks_for_gives_its_place_to_those_who_wait(
    started: RunnerProcess,
) -> None:
    async with connected(started, abandon_seconds=0.2) as agent:
        forgotten = await agent.feed_code(SPIN)
        waiting = await agent.feed_code("echo next")

        results = await until(agent, waiting, "finished")
        with pytest.raises(RunAbandoned) as abandoned:
            await agent.next_result(forgotten)
        with pytest.raises(UnknownRun):
            await agent.next_result(forgotten)

    assert text_of(results) == "next\n"
    assert abandoned.value.dropped_bytes >= len("ready\n")


async def test_a_run_that_is_released_is_ended_and_the_next_one_runs(agent: CodeRunner) -> None:
    spinning = await agent.feed_code(SPIN)
    in_line = await agent.feed_code("touch made")
    following = await agent.feed_code("ls")
    await until(agent, spinning, "ready\n")

    await agent.release(in_line)
    await agent.release(spinning)

    assert text_of(await until(agent, following, "finished")) == ""
    with pytest.raises(UnknownRun):
        await agent.next_result(spinning)


async def test_an_interrupt_of_a_run_that_waits_takes_it_out_of_the_line(
    agent: CodeRunner,
) -> None:
    spinning = await agent.feed_code(SPIN)
    in_line = await agent.feed_code("echo never")
    await until(agent, spinning, "ready\n")
    with pytest.raises(RunNotActive):
        await agent.feed_input(in_line, "x")

    await agent.feed_interrupt(in_line)
    await agent.feed_interrupt(spinning)

    assert [
        (await until(agent, run_id, "finished"))[-1].exit_code for run_id in (in_line, spinning)
    ] == [127, 42]


async def test_an_id_can_be_used_again_once_its_run_was_told_to_its_end(agent: CodeRunner) -> None:
    await agent.feed_code("echo 1", run_id="mine")
    with pytest.raises(RunIsOpen):
        await agent.feed_code("echo 2", run_id="mine")
    first = await until(agent, "mine", "finished")
    with pytest.raises(UnknownRun):
        await agent.next_result("mine")

    await agent.feed_code("echo 3", run_id="mine")

    assert text_of(first) == "1\n"
    assert text_of(await until(agent, "mine", "finished")) == "3\n"


async def test_a_text_that_cannot_be_sent_is_refused_and_nothing_is_put_in_line(
    agent: CodeRunner,
) -> None:
    with pytest.raises(RequestRefused, match="surrogate"):
        await agent.feed_code("echo '\ud800'", run_id="bad")

    run_id = await agent.feed_code("echo ok", run_id="bad")

    assert text_of(await until(agent, run_id, "finished")) == "ok\n"


async def test_services_answer_and_fail_as_data(agent: CodeRunner) -> None:
    started = await agent.feed_start_service("nothing", ports=[8080], arguments={"--x": "1"})
    model = await agent.feed_start_model_service("m", "/models", {"port": 8000})
    apps = await agent.feed_service_apps()
    await agent.feed_shutdown_service("nothing")
    await agent.feed_event("oom", {"pid": 1})

    assert (started.status, model.status, apps.status) == ("failed", "failed", "done")
    assert (await agent.feed_and_get_status()).state == "idle"


async def test_a_run_of_a_runner_that_dies_fails_after_all_it_printed_and_the_line_goes_on(
    tmp_path: Path,
) -> None:
    async with runner(tmp_path, "shell") as first, connected(first) as agent:
        dying = await agent.feed_code("echo printed; read x")
        in_line = await agent.feed_code("echo next")
        prompt = await until(agent, dying, "waiting-input")
        first.was_killed = True
        os.kill((await agent.feed_and_get_status()).pid, signal.SIGKILL)

        with pytest.raises(RunnerLost):
            await until(agent, dying, "finished")
        with pytest.raises(RunnerLost):
            await agent.feed_interrupt()
        await first.ended()
        async with runner(tmp_path, "shell"):
            results = await until(agent, in_line, "finished")

    assert text_of(prompt) == "printed\n"
    assert text_of(results) == "next\n"


async def test_an_agent_that_starts_again_gets_nothing_of_what_was_left_running(
    started: RunnerProcess,
) -> None:
    async with connected(started) as former:
        await until(former, await former.feed_code(SPIN.replace("42", "7")), "ready\n")
        with pytest.raises(RunnerNotReady, match="another agent"):
            async with connected(started, connect_seconds=0.2):
                pass

    async with connected(started) as agent:
        run_id = await agent.feed_code("echo mine")
        status = await agent.feed_and_get_status()
        await agent.feed_interrupt()
        results = await until(agent, run_id, "finished")

    assert status.state == "busy"
    assert (text_of(results), results[-1].exit_code) == ("mine\n", 0)


async def test_whoever_waits_when_the_connection_is_closed_is_told(started: RunnerProcess) -> None:
    async with connected(started) as agent:
        run_id = await agent.feed_code("read x")
        asking = asyncio.create_task(until(agent, run_id, "finished"))
        await asyncio.sleep(0)

    with pytest.raises(RunnerClosed):
        await asking
    with pytest.raises(RunnerClosed):
        await agent.feed_code("echo late")
    with pytest.raises(RunnerClosed):
        await agent.feed_and_get_status()


async def test_what_is_no_address_and_where_nobody_is_are_errors(tmp_path: Path) -> None:
    with pytest.raises(BadAddress):
        async with connect("nowhere", f"ipc://{tmp_path}/out"):
            pass
    with pytest.raises(RunnerNotReady):
        async with connect(f"ipc://{tmp_path}/in", f"ipc://{tmp_path}/out", connect_seconds=0.1):
            pass
