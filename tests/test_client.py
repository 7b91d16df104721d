"""Requests of one or several clients come in; each gets its own replies, whatever the others do."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from kernel_runner.client import (
    Kernel,
    Reply,
    RequestRefused,
    RunnerUnreachable,
    connect,
    launch,
)
from kernel_runner.client.socket import ClientSocket
from kernel_runner.messages import commands, events
from tests.running import RunnerProcess, runner
from tests.wire import FAILURE_SECONDS

SPIN = "trap 'exit 42' INT; echo ready; while :; do :; done"

PICTURES = """
class Picture:
    def _repr_png_(self):
        return b"x" * 500_000
for _ in range(20): display(Picture())
"""


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    async with runner(tmp_path, "shell") as process:
        yield process


def connected(
    started: RunnerProcess, session: str | None = None
) -> AbstractAsyncContextManager[Kernel]:
    return connect(started.addresses["session"], session=session)


async def until_output(reply: Reply, text: bytes) -> None:
    async with asyncio.timeout(FAILURE_SECONDS):
        async for event in reply:
            if isinstance(event, events.Output) and text in event.data:
                return
    raise AssertionError(f"{text!r} was not printed")


async def test_a_result_has_both_streams_and_how_it_ended(started: RunnerProcess) -> None:
    async with connected(started) as client:
        result = await client.execute("echo out; echo err >&2; exit 3").result()

    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    assert sorted(result.output.splitlines()) == ["err", "out"]
    assert (result.exit_code, result.reason, result.ok) == (3, "completed", False)
    assert result.usage.output_bytes == 8


async def test_names_that_are_not_utf8_can_be_listed(started: RunnerProcess) -> None:
    Path(os.fsdecode(bytes(started.work_dir) + b"/\xff")).write_text("x")
    async with connected(started) as client, asyncio.timeout(FAILURE_SECONDS):
        entries = await client.list_files()

    assert len(entries) == 1


async def test_files_go_and_come_back_byte_for_byte(started: RunnerProcess) -> None:
    data = bytes(range(256)) * 1_000
    async with connected(started) as client:
        await client.upload("a/b", data, executable=True)
        back = await client.download("a/b")
        entries = await client.list_files("a")
        with pytest.raises(RequestRefused) as refused:
            await client.download("../secret")

    assert back == data
    assert [(entry.name, entry.size) for entry in entries] == [("b", len(data))]
    assert refused.value.code == "bad-path"


async def test_requests_of_two_clients_run_one_at_a_time_in_the_order_sent(
    started: RunnerProcess,
) -> None:
    async with connected(started) as one, connected(started) as two:
        replies = []
        for number in range(10):
            client = (one, two)[number % 2]
            replies.append(client.execute(f"echo {number} >> order"))
            await client.status()  # the runner has it
        for reply in replies:
            await reply.result()
        order = await one.download("order")

    assert order == b"".join(b"%d\n" % number for number in range(10))


async def test_an_interrupt_does_not_wait_in_line(started: RunnerProcess) -> None:
    async with connected(started) as client:
        spinning, waiting = client.execute(SPIN), client.execute("echo next")
        await until_output(spinning, b"ready")

        await client.interrupt()

        result = await spinning.result()
        following = await waiting.result()
    assert (result.exit_code, result.reason) == (42, "interrupted")
    assert following.stdout == "next\n"


async def test_an_interrupt_of_a_request_spares_one_of_another_client_with_the_same_id(
    started: RunnerProcess,
) -> None:
    async with connected(started) as one, connected(started) as two:
        ours = one.send(commands.Execute(SPIN), "same")
        await until_output(ours, b"ready")
        theirs = two.send(commands.Execute("echo theirs"), "same")

        with pytest.raises(RequestRefused) as refused:
            await two.interrupt("same")
        await two.cancel("same")
        cancelled = await theirs.result()
        running = (await one.status()).running
        await one.interrupt("same")
        ended = await ours.result()

    assert refused.value.code == "not-running"
    assert cancelled.reason == "cancelled"
    assert running == "same"
    assert ended.exit_code == 42


async def test_a_request_that_waits_can_be_cancelled_and_is_not_run(
    started: RunnerProcess,
) -> None:
    async with connected(started) as client:
        spinning, waiting = client.execute(SPIN), client.execute("touch made")
        await until_output(spinning, b"ready")
        listing = await client.queue()

        await client.cancel(waiting.id)
        result = await waiting.result()
        await client.cancel(spinning.id)
        ended = await spinning.result()
        with pytest.raises(RequestRefused) as refused:
            await client.cancel(waiting.id)

    assert listing.running is not None
    assert (listing.running.id, [entry.id for entry in listing.waiting]) == ("r2", ["r3"])
    assert (result.exit_code, result.reason) == (127, "cancelled")
    assert (ended.exit_code, ended.reason) == (42, "cancelled")
    assert refused.value.code == "not-found"
    assert not (started.work_dir / "made").exists()


async def test_a_full_queue_refuses_and_goes_on(tmp_path: Path) -> None:
    async with (
        runner(tmp_path, "shell", "--max-queue-length=2") as started,
        connected(started) as client,
    ):
        spinning = client.execute(SPIN)
        await until_output(spinning, b"ready")
        replies = [client.execute(f"echo {number}") for number in range(4)]
        refused = [await reply.result() for reply in replies[2:]]
        await client.interrupt()
        ran = [await reply.result() for reply in replies[:2]]

    assert [result.reason for result in refused] == ["queue-full"] * 2
    assert [result.stdout for result in ran] == ["0\n", "1\n"]


async def test_events_are_numbered_from_1_without_a_gap_and_answers_are_not(
    started: RunnerProcess,
) -> None:
    async with connected(started) as client:
        replies = [client.execute("echo x; echo y >&2") for _ in range(3)]
        answer = client.send(commands.GetStatus())
        numbers = [one.seq for reply in replies async for one in reply.received()]
        answers = [received.seq async for received in answer.received()]

    assert sorted(number or 0 for number in numbers) == list(range(1, len(numbers) + 1))
    assert answers == [None]


async def test_a_session_can_be_taken_over_and_nothing_that_waits_is_lost(
    started: RunnerProcess,
) -> None:
    async with connected(started) as one:
        assert one.welcome is not None
        others: list[str] = []
        one.on_other = lambda received: others.append(received.event.type)
        spinning = one.execute(SPIN)
        await until_output(spinning, b"ready")
        async with connected(started, one.welcome.session) as two:
            heard: asyncio.Queue[events.AnyEvent] = asyncio.Queue()
            two.on_other = lambda received: heard.put_nowait(received.event)
            await two.interrupt()
            async with asyncio.timeout(FAILURE_SECONDS):
                finish = await heard.get()
            await one.status()

    assert isinstance(finish, events.Finished)
    assert finish.exit_code == 42
    assert "superseded" in others


async def test_a_session_that_is_not_there_is_refused(started: RunnerProcess) -> None:
    with pytest.raises(RequestRefused) as refused:
        async with connected(started, "no-such-session"):
            pass

    assert refused.value.code == "no-session"


async def test_status_and_interrupt_need_no_hello(started: RunnerProcess) -> None:
    async with connected(started) as client:
        spinning = client.execute(SPIN)
        await until_output(spinning, b"ready")
        stranger = Kernel(partial(ClientSocket, started.addresses["session"]))
        try:
            status = await stranger.status()
            await stranger.interrupt(spinning.id)
            with pytest.raises(RequestRefused) as refused:
                await stranger.execute("true").result()
        finally:
            stranger.close()
        result = await spinning.result()

    assert (status.state, status.running) == ("busy", spinning.id)
    assert refused.value.code == "no-session"
    assert result.exit_code == 42


async def test_an_id_is_not_run_twice(started: RunnerProcess) -> None:
    async with connected(started) as client:
        first = await client.send(commands.Execute("echo x | tee -a runs"), "once").result()
        again = await client.send(commands.Execute("echo x | tee -a runs"), "once").result()
        runs = await client.download("runs")

    assert runs == b"x\n"
    assert again == first


async def test_input_is_taken_while_a_prompt_is_open_and_refused_at_other_times(
    started: RunnerProcess,
) -> None:
    async with connected(started) as client:
        with pytest.raises(RequestRefused) as early:
            await client.input("early\n")
        reply = client.execute("read line; echo got $line")
        async with asyncio.timeout(FAILURE_SECONDS):
            async for event in reply:
                if isinstance(event, events.WaitingInput):
                    break
        await client.input("me\n")
        result = await reply.result()

    assert early.value.code == "no-prompt"
    assert result.stdout == "got me\n"


async def test_what_is_queued_and_running_is_answered_as_cancelled_when_the_runner_stops(
    started: RunnerProcess,
) -> None:
    async with connected(started) as client, asyncio.timeout(FAILURE_SECONDS):
        spinning = client.execute("echo ready; sleep 600")
        waiting = [client.execute("echo never") for _ in range(3)]
        await until_output(spinning, b"ready")

        started.terminate()

        ends = [(await reply.result()).reason for reply in (spinning, *waiting)]
    assert ends == ["cancelled"] * 4


async def test_a_client_that_sends_all_the_time_does_not_keep_the_runner_from_its_end(
    started: RunnerProcess,
) -> None:
    async with connected(started) as client:
        replies = [client.execute("sleep 600")]

        async def send() -> None:
            while True:
                replies.append(client.execute("true"))
                client.send(commands.Complete("x", 1))
                client.send(commands.ListFiles())
                await asyncio.sleep(0.002)

        sending = asyncio.create_task(send())
        await client.status()
        started.terminate()
        assert await started.ended() == 0
        sending.cancel()


async def test_nobody_at_the_address_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunnerUnreachable, match=r"no answer from ipc://.*nobody listens there"):
        async with connect(f"ipc://{tmp_path}/nobody", timeout_seconds=0.05):
            pass


@pytest.mark.parametrize(
    ("max_pending_bytes", "code"),
    [
        (100_000, "for _ in range(40): print('x' * 20_000, flush=True)"),
        (2_000_000, PICTURES),
    ],
)
async def test_a_client_that_reads_never_makes_a_program_wait_for_ever(
    max_pending_bytes: int, code: str
) -> None:
    options = ["--max-spool-bytes=0", f"--max-pending-bytes={max_pending_bytes}"]
    async with launch("python", options=options) as kernel, asyncio.timeout(FAILURE_SECONDS):
        assert (await kernel.query(code).result()).ok


async def test_an_answer_to_a_prompt_that_fails_cancels_the_request(tmp_path: Path) -> None:
    async with runner(tmp_path, "python") as started, connected(started) as client:

        def fail(prompt: str, is_password: bool) -> str:
            raise LookupError(prompt)

        with pytest.raises(LookupError):
            await client.query("input('name? ')").result(on_input=fail)
        async with asyncio.timeout(FAILURE_SECONDS):
            result = await client.query("print('on')").result()

    assert result.stdout == "on\n"


async def test_an_option_that_is_misspelt_is_told(started: RunnerProcess) -> None:
    async with connected(started) as client:
        misspelt: dict[str, float] = {"wall": 0.5}
        with pytest.raises(TypeError, match=r"no option wall; there are .*wall_s"):
            client.query("1", **misspelt)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="args is a sequence of words, not 'a b'"):
            client.execute("true", args="a b")
