"""Requests come in; what `status` tells of those that have ended goes out, in both dialects."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kernel_runner.metrics import Histogram
from tests.commanding import command
from tests.running import connected, conversation, runner
from tests.wire import Client, SessionClient


def test_a_histogram_counts_a_value_at_its_bound_and_at_all_above() -> None:
    histogram = Histogram((1.0, 10.0))
    for value in (0.5, 1.0, 5.0, 50.0):
        histogram.add(value)

    assert (histogram.counts, histogram.sum) == ([2, 3, 4], 56.5)


async def counts(client: Client) -> Mapping[str, Any]:
    await client.say("status")
    found = (await client.hear_until("status")).fields["counts"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("dialect", ["agent", "session"])
async def test_tasks_are_counted_by_op_and_reason(tmp_path: Path, dialect: str) -> None:
    async with conversation(dialect, tmp_path, "shell") as (_, client):
        before = await counts(client)
        for op, text in (("code", "echo hello"), ("code", "true"), ("build", "false")):
            await client.run(op, text)
        after = await counts(client)

    assert before["tasks"] == {}
    assert after["tasks"] == {"build": {"completed": 1}, "code": {"completed": 2}}
    assert after["sent_bytes"] == len("hello\n")
    assert after["run_s"] > 0
    assert after["wait_s"] > 0
    assert after["sessions"] == (1 if dialect == "session" else 0)


async def test_what_waited_behind_others_tells_how_long(tmp_path: Path) -> None:
    async with conversation("session", tmp_path, "shell") as (_, client):
        for name in ("r1", "r2"):
            await client.say("exec", "sleep 0.2", id=name)
        await client.hear_finish("r1")
        await client.hear_finish("r2")
        found = await counts(client)

    assert found["run_s"] >= 0.4
    assert 0.2 <= found["wait_s"] < found["run_s"]


async def test_requests_that_never_ran_are_counted_and_took_no_time(tmp_path: Path) -> None:
    async with conversation("session", tmp_path, "shell", "--max-queue-length=1") as (_, client):
        await client.say("exec", "read line", id="r1")
        await client.hear_until("started")
        for name in ("r2", "r3"):
            await client.say("exec", "true", id=name)
        await client.hear_finish("r3")
        await client.say("cancel", target="r2")
        await client.hear_finish("r2")
        found = await counts(client)

    assert found["tasks"] == {"exec": {"queue-full": 1, "cancelled": 1}}
    assert found["run_s"] == found["wait_s"] == 0


async def test_output_beyond_a_limit_is_counted_as_dropped(tmp_path: Path) -> None:
    limits = {"output_bytes": 4, "on_output_limit": "drop"}
    async with conversation("session", tmp_path, "shell") as (_, client):
        await client.run("exec", "printf 1234567890", limits=limits)
        found = await counts(client)

    assert (found["sent_bytes"], found["dropped_bytes"]) == (4, 6)


async def test_events_that_are_sent_again_are_counted(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell") as started:
        first, second = started.session(), started.session()
        welcome = await first.hello()
        await first.run("code", "echo hello")
        again = await second.hello(session=welcome.fields["session"], after_seq=0)
        await second.hear_finish()
        found = await counts(second)
        first.close()
        second.close()

    assert found["replayed_events"] == again.fields["next_seq"] - 1
    assert found["sent_bytes"] == 2 * len("hello\n")


async def test_an_interpreter_in_the_place_of_another_is_a_restart(tmp_path: Path) -> None:
    async with conversation("session", tmp_path, "python") as (_, client):
        await client.run("code", "1")
        before = await counts(client)
        died = await client.run("code", "import os; os._exit(1)")
        await client.run("code", "1")
        after = await counts(client)

    assert died.end[1] == "crashed"
    assert (before["interpreter_restarts"], after["interpreter_restarts"]) == (0, 1)
    assert after["tasks"] == {"code": {"completed": 2, "crashed": 1}}


async def test_the_command_shows_what_has_happened(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell") as started, connected(started) as client:
        assert isinstance(client, SessionClient)
        address = started.addresses["session"]
        fresh = await asyncio.to_thread(command, "status", address)
        await client.run("code", "printf 1234")
        await client.run("exec", "exit 3")
        shown = await asyncio.to_thread(command, "status", address)
        as_json = await asyncio.to_thread(command, "status", address, "--json")

    assert "ended" not in fresh.stdout
    facts = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines())
    assert facts["ended"] == "1 code completed, 1 exec completed"
    assert (facts["output"], facts["sessions"]) == ("4 bytes", "1")
    assert facts["took"].endswith(" s in the queue")
    assert json.loads(as_json.stdout)["counts"]["tasks"]["exec"] == {"completed": 1}
