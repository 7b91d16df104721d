"""Clients with keys, without, and with wrong ones come to a runner with keys; who may, speaks."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from pathlib import Path
from subprocess import CompletedProcess

import msgpack
import pytest
import zmq
import zmq.asyncio
from zmq.utils import z85

from kernel_runner import keys
from kernel_runner.client import KeyRefused, RunnerUnreachable, connect, sync
from tests.commanding import assert_one_sentence, command
from tests.running import RunnerProcess, runner
from tests.wire import FAILURE_SECONDS

LIMIT_SECONDS = 1.0
WRONG = ("no key", "unknown client", "another runner's")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Keys of a runner, and of another one; `unknown.key` is of no client of the first."""
    for name in ("keys", "other"):
        assert command("keygen", name, cwd=tmp_path).returncode == 0
    folder = tmp_path / "keys"
    assert command("keygen", "keys", "--client", "unknown", cwd=tmp_path).returncode == 0
    (folder / "clients" / "unknown.pub").unlink()
    return folder


def with_keys(
    folder: Path, made: Path, *options: str, address: str = "tcp://127.0.0.1:0"
) -> AbstractAsyncContextManager[RunnerProcess]:
    own = (f"--server-key={made}/server.key", f"--client-keys={made}/clients")
    return runner(folder, "shell", f"--session={address}", *own, *options)


@pytest.fixture
async def started(tmp_path: Path, made: Path) -> AsyncIterator[RunnerProcess]:
    async with with_keys(tmp_path, made) as started:
        yield started


def key_file(made: Path, name: str) -> Path | None:
    return {
        "no key": None,
        "unknown client": made / "unknown.key",
        "another runner's": made.parent / "other" / "client.key",
    }[name]


async def answer_of(started: RunnerProcess, key: Path | None, code: str = "echo $((6 * 7))") -> str:
    async with connect(started.addresses["session"], key_file=key) as kernel:
        return (await kernel.query(code).result()).stdout


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:0", "ipc://{}/session"])
async def test_a_client_with_the_right_keys_works(tmp_path: Path, made: Path, address: str) -> None:
    async with with_keys(tmp_path, made, address=address.format(tmp_path)) as started:
        first = await answer_of(started, made / "client.key")
        many = await answer_of(started, made / "client.key", "yes | head -c 3000000")

    assert first == "42\n"
    assert many == "y\n" * 1_500_000


def test_keys_work_without_await_and_on_the_command_line(tmp_path: Path, made: Path) -> None:
    async def with_runner() -> tuple[str, list[CompletedProcess[str]]]:
        async with with_keys(tmp_path, made) as started:
            return await asyncio.to_thread(ask, started.addresses["session"])

    def ask(address: str) -> tuple[str, list[CompletedProcess[str]]]:
        key = str(made / "client.key")
        with sync.connect(address, key_file=key) as kernel:
            said = kernel.query("echo hello").result().stdout
        program = tmp_path / "hello.sh"
        program.write_text("echo hello $1")
        done = [
            command("status", address, "--key", key),
            command("queue", address, env={"KERNEL_RUNNER_KEY_FILE": key}),
            command("run", str(program), "--connect", address, "--key", key, "--", "Ada"),
            command("connect", address, "--key", key),
            command("repl", "--connect", address, env={"KERNEL_RUNNER_KEY_FILE": key}),
            command("cancel", address, "r1", "--key", key),
        ]
        return said, done

    said, done = asyncio.run(with_runner())

    assert said == "hello\n"
    assert [one.returncode for one in done] == [0, 0, 0, 0, 0, 2], done
    assert done[2].stdout == "hello Ada\n"
    assert_one_sentence(done[5], "'r1'")


@pytest.mark.parametrize("name", WRONG)
async def test_who_has_not_the_right_keys_is_told_within_the_time_it_gave(
    started: RunnerProcess, made: Path, name: str
) -> None:
    address = started.addresses["session"]
    telling = {
        "no key": "wants a key|if it is one with keys",  # whichever end is faster
        "unknown client": "does not know the key of .*unknown.key",
        "another runner's": "not the runner whose key is in .*other/client.key",
    }
    async with asyncio.timeout(FAILURE_SECONDS):
        with pytest.raises((KeyRefused, RunnerUnreachable), match=telling[name]):
            async with connect(
                address, key_file=key_file(made, name), timeout_seconds=LIMIT_SECONDS
            ):
                raise AssertionError("it was let in")

    assert await answer_of(started, made / "client.key") == "42\n"


async def test_the_command_line_says_it_in_one_sentence(started: RunnerProcess, made: Path) -> None:
    address = started.addresses["session"]
    for name in WRONG:
        key = key_file(made, name)
        words = ["status", address, *(["--key", str(key)] if key else [])]
        assert_one_sentence(await asyncio.to_thread(command, *words), "key")
    bad = await asyncio.to_thread(command, "status", address, "--key", "no-such-file")
    assert_one_sentence(bad, "no-such-file: No such file", "keygen")


async def test_a_client_with_keys_is_told_of_a_runner_without(tmp_path: Path, made: Path) -> None:
    async with runner(tmp_path, "shell") as plain:
        with pytest.raises((KeyRefused, RunnerUnreachable), match=r"no keys|need none"):
            async with connect(
                plain.addresses["session"],
                key_file=made / "client.key",
                timeout_seconds=LIMIT_SECONDS,
            ):
                raise AssertionError("it was let in")


@pytest.mark.parametrize("name", [*WRONG, "all zero"])
async def test_whatever_the_others_send_is_not_answered_and_not_carried_out(
    started: RunnerProcess, made: Path, name: str
) -> None:
    with strangers(made, name) as [socket]:
        socket.connect(started.addresses["session"])
        for op in ("hello", "status", "code"):
            await send(socket, op)  # libzmq keeps it for a connection that it hopes for
        for _ in range(3):  # long enough for an answer to one who may
            assert await answer_of(started, made / "client.key") == "42\n"
        assert not await socket.poll(0)

    assert not (started.work_dir / "made").exists()


async def send(socket: zmq.asyncio.Socket, op: str) -> None:
    header = msgpack.packb({"v": 2, "op": op, "id": op})
    with suppress(zmq.Again):  # who was turned away already has nobody to send it to
        await socket.send_multipart([header, b"touch made"], zmq.NOBLOCK)


@contextmanager
def strangers(made: Path, *names: str) -> Iterator[list[zmq.asyncio.Socket]]:
    """Sockets without any code of the project."""
    context = zmq.asyncio.Context()
    try:
        yield [stranger(context, made, name) for name in names]
    finally:
        context.destroy(linger=0)


def stranger(context: zmq.asyncio.Context, made: Path, name: str) -> zmq.asyncio.Socket:
    socket = context.socket(zmq.DEALER)
    file = made / "client.key" if name == "all zero" else key_file(made, name)
    if file is not None:
        own = keys.read_client(file)
        server = bytes(32) if name == "all zero" else own.server
        socket.curve_serverkey = z85.encode(server)
        socket.curve_publickey, socket.curve_secretkey = z85.encode(own.public), own.secret
    return socket


async def test_a_hundred_strangers_do_not_disturb(started: RunnerProcess, made: Path) -> None:
    async with connect(started.addresses["session"], key_file=made / "client.key") as kernel:
        with strangers(made, *(WRONG[number % len(WRONG)] for number in range(100))) as sockets:
            for socket in sockets:
                socket.connect(started.addresses["session"])
                await send(socket, "hello")
            async with asyncio.timeout(FAILURE_SECONDS):
                for number in range(100):
                    assert (await kernel.query(f"echo {number}").result()).stdout == f"{number}\n"
                assert await answer_of(started, made / "client.key") == "42\n"


async def test_noise_on_the_port_does_not_disturb(started: RunnerProcess, made: Path) -> None:
    host, _, port = started.addresses["session"].removeprefix("tcp://").rpartition(":")
    writers = []
    for garbage in (
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 100,
        b"\xff\0\0\0\0\0\0\0\1\x7f",
    ):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(garbage * 50)
        writers.append(writer)

    assert await answer_of(started, made / "client.key") == "42\n"

    for writer in writers:
        writer.close()


async def test_the_agents_sockets_work_beside_a_session_with_keys(
    started: RunnerProcess, made: Path
) -> None:
    agent = started.agent()
    try:
        heard = await agent.run("code", "echo agent")
    finally:
        agent.close()

    assert heard.stdout == b"agent\n"
    assert await answer_of(started, made / "client.key") == "42\n"


async def test_keys_are_replaced_by_a_restart(tmp_path: Path, made: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    async with with_keys(tmp_path / "first", made) as started:
        address = started.addresses["session"]
        key = tmp_path / "old.key"
        shutil.copy(made / "client.key", key)
        async with connect(address, key_file=key) as kernel:
            await kernel.status()
            started.terminate()
            await started.ended()
            shutil.rmtree(made)
            assert command("keygen", "keys", cwd=tmp_path).returncode == 0
            async with with_keys(tmp_path / "second", made, address=address) as second:
                assert await answer_of(second, made / "client.key") == "42\n"
                kernel.reconnect_seconds = LIMIT_SECONDS
                with pytest.raises(RunnerUnreachable, match="not the runner whose key is in"):
                    async with connect(address, key_file=key, timeout_seconds=LIMIT_SECONDS):
                        raise AssertionError("it was let in")


async def test_a_client_that_is_taken_off_the_list_stays_out_after_a_restart(
    tmp_path: Path, made: Path
) -> None:
    assert command("keygen", "keys", "--client", "ada", cwd=tmp_path).returncode == 0
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    async with with_keys(tmp_path / "first", made) as started:
        assert await answer_of(started, made / "ada.key") == "42\n"
    (made / "clients" / "ada.pub").unlink()
    async with with_keys(tmp_path / "second", made) as started:
        with pytest.raises(KeyRefused, match="does not know the key"):
            await answer_of(started, made / "ada.key")
        assert await answer_of(started, made / "client.key") == "42\n"
