"""Commands come in while the runner starts, works and stops; each is answered, none is lost."""

import asyncio
import os
from pathlib import Path

import pytest

from kernel_runner.channels.memory import MemoryChannel
from kernel_runner.langs.shell import Runner as Shell
from kernel_runner.messages import commands, events
from kernel_runner.messages.commands import Build, Execute, GetStatus, Interrupt, Query
from kernel_runner.messages.request import BadRequest
from kernel_runner.testing import running
from tests.running import process_ended

ENV = {"PATH": os.environ["PATH"]}
FAILURE_SECONDS = 20.0
SPIN = "trap 'exit 42' INT; echo ready; while :; do :; done"


class Slow(Shell):
    """A shell that is not ready before the test says so."""

    name = "slow"
    ready: asyncio.Event

    async def init(self) -> None:
        await self.ready.wait()


async def test_status_is_answered_while_the_language_gets_ready_and_the_queue_waits(
    tmp_path: Path,
) -> None:
    Slow.ready = asyncio.Event()
    async with running(Slow, tmp_path, env=ENV) as client:
        client.say(Execute("echo hi"), "r1")
        client.say(GetStatus(), "s1")
        before = await client.hear_until("status", "s1")
        Slow.ready.set()
        heard = await client.hear_until("finished", "r1")

    status = before[-1]
    assert isinstance(status, events.Status)
    assert (status.state, status.queue_length, status.running) == ("initializing", 1, None)
    assert events.Output("stdout", b"hi\n") in heard


async def test_everything_a_task_printed_comes_before_its_finish_and_the_next_task_after_it(
    tmp_path: Path,
) -> None:
    async with running("shell", tmp_path, env=ENV) as client:
        for number in range(20):
            client.say(Execute(f"echo {number}; echo {number} >&2"), f"r{number}")
        order: list[str] = []
        while order.count("finished") < 20:
            envelope = await client.hear()
            if envelope.event.type in ("started", "stdout", "stderr", "finished"):
                order.append(envelope.event.type)
                assert envelope.id == f"r{order.count('started') - 1}"
                if isinstance(envelope.event, events.Output):
                    assert envelope.event.data == b"%d\n" % (order.count("started") - 1)

    assert [kind for kind in order if kind in ("started", "finished")] == [
        "started",
        "finished",
    ] * 20


async def test_an_interrupt_works_though_the_client_has_stopped_reading(tmp_path: Path) -> None:
    async with running("shell", tmp_path, env=ENV, max_pending_bytes=10_000) as client:
        client.say(Execute("echo $$; exec yes"), "r1")
        async with asyncio.timeout(FAILURE_SECONDS):
            while not isinstance(event := (await client.hear()).event, events.Output):
                pass
        pid = int(event.data.split()[0])
        client.reading = False

        client.say(Interrupt(), "i1")

        async with asyncio.timeout(FAILURE_SECONDS):
            await process_ended(pid)
        client.read_on()
        finish = (await client.hear_until("finished", "r1"))[-1]

    assert isinstance(finish, events.Finished)
    assert (finish.exit_code, finish.reason) == (130, "interrupted")


async def test_a_program_waits_for_a_client_that_reads_slowly_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"
    async with running("shell", tmp_path, env=ENV, max_pending_bytes=5_000) as client:
        client.say(Execute(script), "r1")
        heard: list[events.AnyEvent] = []
        while not heard or heard[-1].type != "finished":
            client.reading = False
            await asyncio.sleep(0)
            client.read_on()
            envelope = await client.hear()
            if envelope.id == "r1":
                heard.append(envelope.event)

    printed = b"".join(event.data for event in heard if isinstance(event, events.Output))
    assert printed == b"".join(b"line %d\n" % number for number in range(3_000))


async def test_a_bad_request_to_the_queue_ends_in_its_turn(tmp_path: Path) -> None:
    async with running("shell", tmp_path, env=ENV) as client:
        client.say(Execute("echo first"), "r1")
        client._receiver.receive(BadRequest("build", "bad", client, "bad-request", "no", ""))
        client.say(Execute("echo third"), "r3")
        ends: list[str] = []
        while len(ends) < 3:
            envelope = await client.hear()
            if isinstance(envelope.event, events.Finished):
                ends.append(f"{envelope.event.type} {envelope.event.reason}")

    assert ends == ["finished completed", "build-finished bad-request", "finished completed"]


async def test_what_is_said_while_the_runner_stops_is_answered(tmp_path: Path) -> None:
    async with running("shell", tmp_path, env=ENV) as client:
        client.say(Query("trap 'sleep 0.2; exit 3' TERM; echo ready; sleep 600"), "r1")
        client.say(Query("never"), "r2")
        async with asyncio.timeout(FAILURE_SECONDS):
            while not isinstance((await client.hear()).event, events.Output):
                pass
        late = asyncio.create_task(_say_until_closed(client))
    said = await late

    ends: dict[str | None, int] = {}
    while not client._heard.empty():
        envelope = client._heard.get_nowait()
        if isinstance(envelope.event, events.Finished | events.Refused | events.Completion):
            ends[envelope.id] = ends.get(envelope.id, 0) + 1
    assert all(ends.get(name) == 1 for name in ("r1", "r2", *said)), (said, ends)


async def _say_until_closed(client: MemoryChannel) -> list[str]:
    said: list[str] = []
    while not client.gone:
        for command in (Execute("echo late"), commands.Complete("x", 1)):
            said.append(f"late-{len(said)}")
            client.say(command, said[-1])
        await asyncio.sleep(0.01)
    return said[:-2]  # the last ones may be too late


async def test_no_program_is_left_when_the_block_ends(tmp_path: Path) -> None:
    async with running("shell", tmp_path, env=ENV) as client:
        client.say(Execute("sleep 600 & echo $! $$; exec sleep 600"), "r1")
        async with asyncio.timeout(FAILURE_SECONDS):
            while not isinstance(event := (await client.hear()).event, events.Output):
                pass
        pids = [int(word) for word in event.data.split()]

    async with asyncio.timeout(FAILURE_SECONDS):
        for pid in pids:
            await process_ended(pid)


@pytest.mark.parametrize("script", ["kill -9 $$", "exit 255", "nonsense-command", "exec true"])
async def test_an_interpreter_that_ends_is_replaced(tmp_path: Path, script: str) -> None:
    async with running("shell", tmp_path, env=ENV) as client:
        client.say(Query(script), "r1")
        client.say(Query("echo again"), "r2")
        heard = await client.hear_until("finished", "r2")

    assert events.Output("stdout", b"again\n") in heard


async def test_a_driver_channel_that_is_abused_does_not_hang_the_runner(tmp_path: Path) -> None:
    abuse = 'for fd in /proc/$$/fd/*; do printf "stdout -100\\nabc" >&${fd##*/}; done 2>/dev/null'
    async with running("shell", tmp_path, env=ENV) as client:
        client.say(Query(abuse), "r1")
        await client.hear_until("finished", "r1")
        client.say(Query("echo again"), "r2")
        heard = await client.hear_until("finished", "r2")

    assert events.Output("stdout", b"again\n") in heard


async def test_the_step_of_a_run_that_was_built_by_hand_is_run(tmp_path: Path) -> None:
    async with running("shell", tmp_path, env=ENV) as client:
        client.say(Build("echo 'echo built' > main.sh"), "b1")
        client.say(Execute("*"), "e1")
        heard = await client.hear_until("finished", "e1")

    assert events.Output("stdout", b"built\n") in heard
