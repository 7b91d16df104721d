"""Connections are cut, held up and lost with their runner; requests are answered or told lost."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgpack
import pytest
import zmq
import zmq.asyncio

from kernel_runner.client import (
    ConnectionCut,
    IncompatibleRunner,
    Reply,
    RunnerReplaced,
    RunnerUnreachable,
    SessionTaken,
    connect,
)
from kernel_runner.messages import events
from kernel_runner.messages.session_wire import encode_event
from tests.proxy import Proxy, proxy
from tests.running import RunnerProcess, runner
from tests.wire import FAILURE_SECONDS


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    async with runner(tmp_path, "shell") as process:
        yield process


@pytest.fixture
async def between(started: RunnerProcess) -> AsyncIterator[Proxy]:
    async with proxy(started.addresses["session"]) as between:
        yield between


async def until_printed(reply: Reply, text: bytes) -> None:
    async with asyncio.timeout(FAILURE_SECONDS):
        async for event in reply:
            if isinstance(event, events.Output) and text in event.data:
                return
    raise AssertionError(f"{text!r} was not printed")


async def test_a_program_goes_on_while_the_connection_is_away(
    started: RunnerProcess, between: Proxy
) -> None:
    async with connect(between.address) as kernel, asyncio.timeout(FAILURE_SECONDS):
        # it is silent for as long as the runner may take to see the end of the connection
        reply = kernel.execute("echo one; sleep 1; echo two; exit 5")
        waiting = kernel.execute("echo three; touch made")
        await until_printed(reply, b"one")
        between.accepts = False
        between.cut()
        await started.file_made("made")
        between.accepts = True
        result = await reply.result()
        after = await waiting.result()
        state = (await kernel.status()).state

    assert (result.stdout, result.exit_code) == ("two\n", 5)
    assert after.stdout == "three\n"
    assert state == "idle"
    assert between.connections == 2  # the others were not let in


async def test_what_was_sent_into_the_void_is_asked_again_and_run_once(
    started: RunnerProcess, between: Proxy
) -> None:
    async with connect(between.address) as kernel, asyncio.timeout(FAILURE_SECONDS):
        await kernel.status()
        between.hold()
        replies = [kernel.execute(f"echo {number} | tee -a runs") for number in range(5)]
        status = asyncio.create_task(kernel.status())
        upload = asyncio.create_task(kernel.upload("file", "content"))
        await asyncio.sleep(0)
        between.cut()
        between.go_on()
        results = [await reply.result() for reply in replies]
        runs = await kernel.download("runs")
        await asyncio.gather(status, upload)
        content = await kernel.download("file")

    assert [result.stdout for result in results] == [f"{number}\n" for number in range(5)]
    assert runs == b"0\n1\n2\n3\n4\n"
    assert content == b"content"


async def test_what_cannot_be_asked_twice_is_told(started: RunnerProcess, between: Proxy) -> None:
    async with connect(between.address) as kernel, asyncio.timeout(FAILURE_SECONDS):
        reply = kernel.execute("read line; echo got $line")
        await reply.prompt()
        between.hold()
        giving = asyncio.create_task(kernel.input("once\n"))
        await asyncio.sleep(0)
        between.cut()
        between.go_on()
        with pytest.raises(ConnectionCut, match="'input' was answered; it may or may not"):
            await giving
        await kernel.input("again\n")
        result = await reply.result()

    assert result.stdout == "got again\n"


async def test_events_that_a_cut_has_swallowed_are_sent_again(
    started: RunnerProcess, between: Proxy
) -> None:
    async with connect(between.address) as kernel, asyncio.timeout(FAILURE_SECONDS):
        reply = kernel.execute("echo one; until [ -e go ]; do sleep 0.01; done; echo two")
        waiting = kernel.execute("echo three")
        await until_printed(reply, b"one")
        between.hold()
        (started.work_dir / "go").touch()
        async with connect(started.addresses["session"]) as other:
            await other.execute("true").result()  # so all before it has ended
        between.cut()
        between.go_on()

        result = await reply.result()
        after = await waiting.result()

    assert result.stdout.endswith("two\n")
    assert after.stdout == "three\n"


async def test_a_long_pause_only_takes_long(started: RunnerProcess, between: Proxy) -> None:
    async with connect(between.address) as kernel, asyncio.timeout(FAILURE_SECONDS):
        between.hold()
        reply = kernel.execute("touch made; echo here")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await reply.result()
        assert not (started.work_dir / "made").exists()
        between.go_on()
        result = await reply.result()

    assert result.stdout == "here\n"
    assert between.connections == 1


async def test_many_cuts_lose_no_request(started: RunnerProcess, between: Proxy) -> None:
    async with connect(between.address) as kernel, asyncio.timeout(4 * FAILURE_SECONDS):
        ends: list[str] = []
        for number in range(30):
            reply = kernel.execute(f"echo {number} >> runs")
            if number % 3 == 0:
                between.cut()
            ends.append((await reply.result()).reason)
        runs = await kernel.download("runs")

    assert ends == ["completed"] * 30
    assert runs.split() == [b"%d" % number for number in range(30)]


async def test_a_request_that_overtakes_hello_on_a_new_connection_is_asked_again(
    tmp_path: Path,
) -> None:
    welcome = events.Welcome("s", "shell", "0", [], 1, 1, 64 << 20, 8 << 20)
    with zmq.asyncio.Context() as context, context.socket(zmq.ROUTER) as peer:
        peer.bind(f"ipc://{tmp_path}/peer")

        async def hear(op: str) -> tuple[bytes, str]:
            async with asyncio.timeout(FAILURE_SECONDS):
                routing_id, header, _ = await peer.recv_multipart()
            asked = msgpack.unpackb(header)
            assert asked["op"] == op
            return routing_id, asked["id"]

        async def say(to: tuple[bytes, str], event: events.AnyEvent, seq: int | None) -> None:
            frames = encode_event(event, request_id=to[1], seq=seq, t_ns=0)
            await peer.send_multipart([to[0], *frames])

        async with proxy(f"ipc://{tmp_path}/peer") as between:
            block = connect(between.address)
            entering = asyncio.create_task(block.__aenter__())
            await say(await hear("hello"), welcome, None)
            kernel = await entering
            reply = kernel.execute("true")
            asked = await hear("exec")
            await say(asked, events.Refused("exec", "no-session", "there is none"), None)
            heard = asyncio.Event()
            kernel.on_other = lambda received: heard.set()
            await say((asked[0], ""), events.Log("info", "", "peer", "after"), None)
            await heard.wait()
            between.cut()
            await say(await hear("hello"), welcome, None)
            asked_again = await hear("exec")
            await say(asked_again, events.Finished("finished", 0, "completed"), 1)
            async with asyncio.timeout(FAILURE_SECONDS):
                result = await reply.result()
            await block.__aexit__(None, None, None)

    assert asked_again[1] == asked[1]
    assert result.reason == "completed"


async def test_another_runner_at_the_address_fails_what_was_open_and_takes_what_is_new(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(3 * FAILURE_SECONDS):
        async with runner(tmp_path, "python") as first:
            address = first.addresses["session"]
            block = connect(address)
            kernel = await block.__aenter__()
            former = kernel.welcome
            reply = kernel.query("print('ready', flush=True)\nimport time; time.sleep(600)")
            waiting = kernel.query("1")
            await until_printed(reply, b"ready")
            first.was_killed = True
            os.kill((await kernel.status()).pid, signal.SIGKILL)
            await first.process.wait()
        async with runner(tmp_path, "python"):
            with pytest.raises(RunnerReplaced, match="another runner answers at ipc://"):
                await reply.result()
            with pytest.raises(RunnerReplaced):
                await waiting.result()
            result = await kernel.query("print(6 * 7)").result()
            assert kernel.welcome != former
            await block.__aexit__(None, None, None)

    assert result.stdout == "42\n"


async def test_a_runner_that_does_not_come_back_is_given_up_in_the_end(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell") as started:
        block = connect(started.addresses["session"])
        kernel = await block.__aenter__()
        kernel.reconnect_seconds = 0.3
        reply = kernel.execute("sleep 600")
        started.was_killed = True
        os.kill((await kernel.status()).pid, signal.SIGKILL)
    async with asyncio.timeout(FAILURE_SECONDS):
        with pytest.raises(RunnerUnreachable, match="was lost and did not come back"):
            await reply.result()
        with pytest.raises(RunnerUnreachable):
            await kernel.status()
        await block.__aexit__(None, None, None)


async def test_a_session_that_is_taken_over_is_told(started: RunnerProcess) -> None:
    async with connect(started.addresses["session"]) as one, asyncio.timeout(FAILURE_SECONDS):
        reply = one.execute("read x")
        await reply.prompt()
        assert one.welcome is not None
        async with connect(started.addresses["session"], session=one.welcome.session) as two:
            with pytest.raises(SessionTaken):
                await reply.result()
            with pytest.raises(SessionTaken):
                await one.execute("true").result()
            await two.interrupt()


async def test_what_speaks_no_protocol_of_ours_is_told(
    started: RunnerProcess, tmp_path: Path
) -> None:
    async def chatter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(chatter, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for address in [
        f"tcp://127.0.0.1:{port}",
        started.addresses["out"],
    ]:
        with pytest.raises(RunnerUnreachable, match="does not answer as a runner's session does"):
            async with connect(address, timeout_seconds=0.5):
                pass
    server.close()


async def test_a_runner_of_another_version_is_told(tmp_path: Path) -> None:
    with zmq.asyncio.Context() as context, context.socket(zmq.ROUTER) as peer:
        peer.bind(f"ipc://{tmp_path}/peer")

        async def answer() -> None:
            routing_id, header, _ = await peer.recv_multipart()
            asked = msgpack.unpackb(header)
            told = msgpack.packb({"v": 3, "type": "welcome", "id": asked["id"]})
            await peer.send_multipart([routing_id, told, b""])

        answering = asyncio.create_task(answer())
        with pytest.raises(IncompatibleRunner, match=r"v has to be 2, not 3; use the same version"):
            async with connect(f"ipc://{tmp_path}/peer"):
                pass
        await answering


async def test_a_client_that_takes_a_session_over_gets_the_results_of_its_own_requests(
    started: RunnerProcess,
) -> None:
    address = started.addresses["session"]
    async with connect(address) as first:
        assert (await first.execute("echo first").result()).stdout == "first\n"
        assert first.welcome is not None
        async with connect(address, session=first.welcome.session) as second:
            result = await second.execute("echo second").result()

    assert result.stdout == "second\n"


async def test_a_reader_that_stalls_gets_more_than_memory_and_disk_can_keep(tmp_path: Path) -> None:
    options = ["--max-spool-bytes=30000000", "--max-pending-bytes=1000000"]
    async with runner(tmp_path, "shell", *options) as small:
        address = small.addresses["session"]
        async with connect(address) as kernel, asyncio.timeout(FAILURE_SECONDS * 3):
            reply = kernel.execute("head -c 100000000 /dev/zero")
            kernel.pause()
            async with connect(address) as other:
                while (await other.status()).running != reply.id:
                    pass
            await asyncio.sleep(1)  # the reader stalls
            kernel.resume()
            result = await reply.result()

    assert len(result.stdout) == 100_000_000


async def test_pictures_are_acknowledged_as_well(tmp_path: Path) -> None:
    options = ["--max-spool-bytes=0", "--max-pending-bytes=1000000"]
    async with runner(tmp_path, "python", *options) as small:
        address = small.addresses["session"]
        async with connect(address) as kernel, asyncio.timeout(FAILURE_SECONDS * 3):
            await kernel.query("class Page:\n def _repr_html_(self): return 'x' * 300_000").result()
            for _ in range(20):
                result = await kernel.query("display(Page())").result()

    assert len(result.media) == 1
