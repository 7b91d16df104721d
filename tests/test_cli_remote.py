"""Addresses come in; what `status`, `queue` and `cancel` tell of the runner there goes out."""

import asyncio
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from threading import Thread

import msgpack
import pytest
import zmq

import kernel_runner
from tests.commanding import COMMAND, assert_one_sentence, command, environment
from tests.running import RunnerProcess, connected, runner


async def asked(
    *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> CompletedProcess[str]:
    return await asyncio.to_thread(command, *words, cwd=cwd, env=env)


async def asked_of(started: RunnerProcess, *words: str) -> CompletedProcess[str]:
    return await asked(*words, env={"KERNEL_RUNNER_ADDRESS": started.addresses["session"]})


async def test_status_queue_and_cancel_work_while_the_first_client_reads_nothing(
    tmp_path: Path,
) -> None:
    async with runner(tmp_path, "shell") as started, connected(started) as client:
        for name in ("first", "second", "third"):
            await client.say("exec", "yes", id=name)
        await client.hear_until("started")
        status = await asked_of(started, "status")
        listing = await asked_of(started, "queue")
        waits = await asked_of(started, "cancel", "second")
        runs = await asked_of(started, "cancel", "first", "--json")
        left = json.loads((await asked_of(started, "queue", "--json")).stdout)
        await asked_of(started, "cancel", "third")

    facts = dict(line.split(maxsplit=1) for line in status.stdout.splitlines())
    assert (facts["state"], facts["language"]) == ("busy", "shell")
    assert (facts["running"], facts["waiting"]) == ("first", "2")
    rows = [line.split()[:3] for line in listing.stdout.splitlines()]
    assert rows[0] == ["PLACE", "ID", "OP"]
    assert rows[1:] == [
        ["running", "first", "exec"],
        ["1", "second", "exec"],
        ["2", "third", "exec"],
    ]
    assert (waits.returncode, waits.stdout) == (0, "cancelled second\n")
    assert json.loads(runs.stdout) == {"cancelled": "first"}
    assert "second" not in [entry["id"] for entry in left["waiting"]]


async def test_the_address_comes_by_word_file_or_environment(tmp_path: Path) -> None:
    file = tmp_path / "kernel.json"
    async with runner(tmp_path, "shell", f"--address-file={file}") as started:
        address = started.addresses["session"]
        ways = [
            await asked("status", address, "--json"),
            await asked("status", "--address-file", str(file), "--json"),
            await asked("status", "--json", env={"KERNEL_RUNNER_ADDRESS": address}),
            await asked("status", "--json", env={"KERNEL_RUNNER_ADDRESS_FILE": str(file)}),
        ]
        empty = await asked("queue", address)

    found = [json.loads(done.stdout) for done in ways]
    assert found[0]["state"] == "idle"
    assert all(one == found[0] for one in found)
    assert empty.stdout == "nothing runs, nothing waits\n"


async def test_what_is_not_there_cannot_be_cancelled(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell") as started:
        done = await asked("cancel", started.addresses["session"], "no-such-id")

    assert_one_sentence(done, "'no-such-id'")


async def test_options_may_stand_between_the_words_of_a_command(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell") as started, connected(started) as client:
        await client.say("code", "sleep 600", id="long")
        done = await asked("cancel", started.addresses["session"], "--json", "long")

    assert (done.stderr, json.loads(done.stdout)) == ("", {"cancelled": "long"})


@pytest.mark.parametrize("words", [["status"], ["queue"], ["cancel"], ["connect"]])
def test_a_dead_address_is_told_soon(tmp_path: Path, words: list[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens
        address = f"tcp://127.0.0.1:{closed.getsockname()[1]}"
        begin = time.monotonic()
        done = command(*words, address, *(["r1"] if words == ["cancel"] else []))

    assert_one_sentence(done, f"no answer from {address} within 2 s", "start a runner")
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["status", "udp://127.0.0.1:5"], "is no address"),
        (["status", "nowhere"], "is no address"),
        (["status", "tcp://127.0.0.1:65536"], "with a port up to 65535"),
        (["status", "70000"], "with a port up to 65535"),
        (
            ["status", "tcp://no-such-host.invalid:2010"],
            "no-such-host.invalid is not known as a host",
        ),
        (["status", "ipc://x", "--address-file", "file"], "give one of them"),
        (["status", "--address-file", "no-such-file"], "No such file"),
        (["status", "--address-file", "."], "Is a directory"),
        (["queue", "--address-file", "bad"], "no addresses of a runner"),
        (["queue", "--address-file", "list"], "no addresses of a runner"),
        (["queue", "--address-file", "none"], "no session address"),
        (["cancel"], "ID"),
        (["cancel", "ipc://x"], "its ID goes behind the address"),
        (["cancel", "ipc://x", "r1", "r2"], "r2"),
        (["status", "--jsno"], "--jsno"),
        (["connect", "--address-file", "none"], "no session address"),
    ],
)
def test_what_names_no_runner_is_one_sentence(tmp_path: Path, words: list[str], part: str) -> None:
    (tmp_path / "bad").write_bytes(b"\xff{")
    (tmp_path / "list").write_text("[1]")
    (tmp_path / "none").write_text('{"in": null, "out": null, "session": null}')

    assert_one_sentence(command(*words, cwd=tmp_path), part)


def answering(
    folder: Path, header: Mapping[str, object] | bytes, *, answers: int = 1
) -> tuple[str, Thread]:
    """The address of one that answers so many requests, each with this."""
    address = f"ipc://{folder}/other"
    context = zmq.Context[zmq.Socket[bytes]]()
    router = context.socket(zmq.ROUTER)
    router.bind(address)

    def answer() -> None:
        with context, router:
            for _ in range(answers):
                peer, request, _ = router.recv_multipart()
                identity = {"id": msgpack.unpackb(request)["id"]}
                said = (
                    header if isinstance(header, bytes) else msgpack.packb({**header, **identity})
                )
                router.send_multipart([peer, said, b""])

    thread = Thread(target=answer)
    thread.start()
    return address, thread


STATUS = {
    **{"v": 2, "t_ns": 1, "type": "status", "started_at": 1.5, "state": "idle", "language": "c"},
    **{"runner_version": "99.0", "queue_length": 0, "running": None, "pid": 5},
}


def test_a_runner_of_another_version_is_told_and_shown(tmp_path: Path) -> None:
    address, thread = answering(tmp_path, {**STATUS, "a-new-field": [1]}, answers=2)

    done = command("status", address, "--json")
    thread.join()

    note = f"the runner is version 99.0, this is {kernel_runner.__version__}"
    assert done.stderr == f"kernel-runner: {note}\n"
    assert json.loads(done.stdout)["language"] == "c"


CONNECTING = (
    ["status", "ADDRESS"],
    ["queue", "ADDRESS"],
    ["cancel", "ADDRESS", "r1"],
    ["connect", "ADDRESS"],
    ["repl", "--connect", "ADDRESS"],
    ["run", "--connect", "ADDRESS", "--lang", "c", "-c", "int main() {}"],
)


@pytest.mark.parametrize("words", CONNECTING, ids=lambda words: str(words[0]))
@pytest.mark.parametrize(
    "header",
    [
        {"v": 3, "type": "welcome", "greeting": "hello"},
        {"v": 2, "type": "error", "op": "?", "code": "bad-request", "message": "v has to be 3"},
    ],
    ids=["answered", "refused"],
)
def test_a_runner_of_another_protocol_is_one_sentence_for_whatever_connects(
    tmp_path: Path, header: Mapping[str, object], words: list[str]
) -> None:
    address, thread = answering(tmp_path, header)

    done = command(*(address if word == "ADDRESS" else word for word in words))
    thread.join()  # it was asked one thing

    assert_one_sentence(done, address, "v has to be", "use the same version of kernel-runner")


@pytest.mark.parametrize("header", [b"\xc1", {"v": 3, "type": "state"}, {**STATUS, "pid": "five"}])
def test_answers_of_another_protocol_are_one_sentence(
    tmp_path: Path, header: Mapping[str, object] | bytes
) -> None:
    address, thread = answering(tmp_path, header)

    done = command("status", address)
    thread.join()

    assert_one_sentence(done, address, "same version")


def test_what_clients_call_their_requests_cannot_steer_a_terminal(tmp_path: Path) -> None:
    nasty = "\x1b]0;title\x07"
    address, thread = answering(tmp_path, {**STATUS, "running": nasty}, answers=2)

    done = command("status", address)
    thread.join()

    assert "\\x1b]0;title\\x07" in done.stdout


async def test_connect_runs_cells_in_a_runner_that_is_there(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell") as started:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "connect", started.addresses["session"]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment(),
        )
        stdout, _ = await process.communicate(b"echo $((6 * 7))\n")

    assert (process.returncode, stdout) == (0, b"42\n")
