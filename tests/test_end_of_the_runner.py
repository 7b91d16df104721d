"""Signals come in at any moment; every task gets its finish, and nothing outlives the runner."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.running import RunnerProcess, connected, conversation, process_ended, runner
from tests.wire import FINISHES, AgentClient, Heard

BOTH = ("agent", "session")
LIMIT_SECONDS = 3.0


@pytest.mark.parametrize("dialect", BOTH)
@pytest.mark.parametrize(
    ("op", "body"),
    [
        ("exec", "sleep 30; exit 0"),
        ("exec", "trap '' TERM INT; sleep 30"),
        ("exec", "setsid sleep 30; exit 0"),
        ("code", "import subprocess; subprocess.run(['sleep', '30'])"),
    ],
)
async def test_sigterm_in_mid_run_cancels_what_runs_and_waits_and_nothing_is_left(
    tmp_path: Path, dialect: str, op: str, body: str
) -> None:
    async with conversation(dialect, tmp_path) as (started, client):
        running = await client.say(op, body)
        waiting = await client.say("exec", "echo no")
        await started.process_named("sleep")
        before = time.monotonic()
        started.terminate()
        ends: dict[object, Heard] = {}
        for _ in range(2):
            heard = await client.hear_finish()
            ends[heard.finish.get("id", len(ends))] = heard
        exit_code = await started.ended()
        seconds = time.monotonic() - before

    assert [heard.finish["reason"] for heard in ends.values()] == ["cancelled", "cancelled"]
    assert all(heard.finish["exitCode"] != 0 for heard in ends.values())
    assert all(heard.stdout == b"" for heard in ends.values())
    assert exit_code == 0
    assert seconds < LIMIT_SECONDS
    if dialect == "session":
        assert set(ends) == {running, waiting}


@pytest.mark.parametrize("body", ["sleep 30", "yes"])
async def test_sigterm_ends_a_runner_that_nobody_listens_to(tmp_path: Path, body: str) -> None:
    async with runner(tmp_path) as started:
        agent = started.agent()
        await agent.status()
        agent.events.close(linger=0)
        await agent.say("exec", body)
        await started.process_named(body.split()[0])
        before = time.monotonic()
        started.terminate()
        exit_code = await started.ended()
        seconds = time.monotonic() - before
        agent.close()

    assert exit_code == 0
    assert seconds < LIMIT_SECONDS
    assert "not delivered" in started.log


@pytest.mark.parametrize("dialect", BOTH)
async def test_sigterm_while_a_prompt_is_open_cancels_the_task(
    tmp_path: Path, dialect: str
) -> None:
    async with conversation(dialect, tmp_path) as (started, client):
        await client.say("code", "input('? ')")
        await client.hear_until("waiting-input")
        started.terminate()
        heard = await client.hear_finish()
        exit_code = await started.ended()

    assert heard.finish["reason"] == "cancelled"
    assert exit_code == 0


async def test_a_second_sigterm_is_safe(tmp_path: Path) -> None:
    async with conversation("agent", tmp_path) as (started, client):
        await client.say("exec", "trap '' TERM; sleep 30")
        await started.process_named("sleep")
        started.terminate()
        started.terminate()
        heard = await client.hear_finish()
        started.terminate()
        exit_code = await started.ended()

    assert heard.finish["reason"] == "cancelled"
    assert exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_each_signal_to_stop_ends_an_idle_runner_with_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with runner(tmp_path) as started:
        started.process.send_signal(number)
        exit_code = await started.ended()

    assert exit_code == 0


async def test_sigterm_at_any_moment_of_a_run_leaves_nothing(tmp_path: Path) -> None:
    for step in range(8):
        folder = tmp_path / str(step)
        folder.mkdir()
        async with runner(folder) as started, connected(started, "agent") as client:
            assert isinstance(client, AgentClient)
            await client.say("code", "print('cell')")
            await client.say("exec", "sleep 0.05 | cat; echo program")
            await asyncio.sleep(step * 0.03)  # the moment is what differs
            started.terminate()
            exit_code = await started.ended()
            heard = [await client.hear() async for _ in _waiting(client)]
        ends = [
            (event.fields["exitCode"], event.fields["reason"])
            for event in heard
            if event.kind in FINISHES
        ]

        assert exit_code == 0
        assert {reason for _, reason in ends} <= {"completed", "cancelled"}
        assert (0, "cancelled") not in ends


async def _waiting(client: AgentClient) -> AsyncIterator[None]:
    """Goes on while something has come that was not heard yet."""
    while await client.events.poll(200):
        yield


async def test_nothing_outlives_a_runner_that_is_killed(tmp_path: Path) -> None:
    async with conversation("session", tmp_path) as (started, client):
        pid = (await client.status())["pid"]
        await client.say("exec", "setsid sleep 30 & sleep 30 | cat")
        await started.process_named("cat")
        started.was_killed = True
        os.kill(pid, signal.SIGKILL)
        exit_code = await started.ended()

    assert exit_code != 0


async def test_nothing_outlives_a_guardian_that_is_killed(tmp_path: Path) -> None:
    async with conversation("session", tmp_path) as (started, client):
        pid = (await client.status())["pid"]
        await client.say("code", "import subprocess; subprocess.run(['sleep', '30'])")
        await started.process_named("sleep")
        started.was_killed = True
        started.process.kill()
        await started.ended()
        await process_ended(pid)
        left = [*(started.folder / "scratch").iterdir(), *started.folder.glob("session")]

    assert left == []


async def test_no_process_outlives_runner_and_guardian_killed_at_once(tmp_path: Path) -> None:
    async with conversation("session", tmp_path) as (started, client):
        pid = (await client.status())["pid"]
        await client.say("exec", "setsid sleep 30 & sleep 30 | cat")
        await started.process_named("cat")
        started.was_killed = True
        os.kill(started.process.pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        os.kill(started.process.pid, signal.SIGKILL)
        await started.ended()
        await _remove_what_is_left(started)


async def _remove_what_is_left(started: RunnerProcess) -> None:
    """The guardian removes files, so nobody is there for them; no process may be left."""
    async with asyncio.timeout(LIMIT_SECONDS):
        for pid in started.processes():
            await process_ended(pid)
    for name in ("in", "out", "session"):
        (started.folder / name).unlink(missing_ok=True)
    for left in (started.folder / "scratch").iterdir():
        shutil.rmtree(left)


async def test_an_idle_runner_leaves_no_descriptor_behind_by_running_tasks(tmp_path: Path) -> None:
    async with conversation("session", tmp_path) as (_, client):
        pid = (await client.status())["pid"]
        for warm in ("exec", "code"):
            await client.run(warm, "true" if warm == "exec" else "1")
        before = _open_descriptors(pid)
        for _ in range(10):
            await client.run("exec", "sleep 0.01 | cat")
            await client.run("code", "print(1)")
        await client.status()
        after = _open_descriptors(pid)

    assert after < before + 10, "fewer than one for each of the tasks"


def _open_descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
