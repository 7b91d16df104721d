"""Requests come in; what a scrape of the runner's endpoint tells of them goes out."""

import asyncio
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kernel_runner.prometheus import MAX_CONNECTIONS
from tests.commanding import absent
from tests.running import RunnerProcess, conversation, runner
from tests.test_odd_starts import refused
from tests.wire import FAILURE_SECONDS

Samples = Mapping[tuple[str, ...], float]


def scrape(url: str, **headers: str) -> str:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=FAILURE_SECONDS) as answer:
        return str(answer.read().decode())


async def samples(started: RunnerProcess) -> Samples:
    """Each value by its name and the values of its labels."""
    text = await asyncio.to_thread(scrape, started.addresses["metrics"])
    return {
        (sample.name.removeprefix("kernel_runner_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_tasks_are_told_by_op_and_reason_with_their_times_and_bytes(tmp_path: Path) -> None:
    async with conversation("session", tmp_path, "shell", "--metrics=0") as (started, client):
        before = await samples(started)
        await client.run("code", "echo hello")
        await client.run("code", "false")
        await client.run("exec", "printf 1234567890", limits={"output_bytes": 4})
        after = await samples(started)

    assert ("tasks_total", "code", "completed") not in before
    assert after["tasks_total", "code", "completed"] == 2
    assert after["tasks_total", "exec", "output-limit"] == 1
    assert after["task_seconds_count", "code"] == 2
    assert after["task_seconds_bucket", "+Inf", "exec"] == 1
    assert after["queue_wait_seconds_count",] == 3
    assert after["output_sent_bytes_total",] == len("hello\n") + 4
    assert after["output_dropped_bytes_total",] == 6
    assert (after["queue_length",], after["sessions",], after["sessions_read",]) == (0, 1, 1)


async def test_a_scrape_is_answered_while_a_program_runs_and_others_wait(tmp_path: Path) -> None:
    async with conversation("session", tmp_path, "shell", "--metrics=0") as (started, client):
        for name in ("r1", "r2", "r3"):
            await client.say("exec", "sleep 60", id=name)
        await client.hear_until("started")
        found = await samples(started)

    assert (found["tasks_running",], found["queue_length",]) == (1, 2)


async def test_a_scraper_may_ask_for_openmetrics(tmp_path: Path) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    async with runner(tmp_path, "shell", "--metrics=0") as started:
        text = await asyncio.to_thread(scrape, started.addresses["metrics"], accept=accept)

    assert text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET / HTTP/1.1", "404"),
        ("POST /metrics HTTP/1.1", "405"),
        ("nonsense", "400"),
        ("HEAD /metrics?x=1 HTTP/1.1", "200"),
    ],
)
async def test_other_requests_are_answered_with_what_is_wrong(
    tmp_path: Path, request_line: str, status: str
) -> None:
    async with runner(tmp_path, "shell", "--metrics=0") as started:
        reader, writer = await connection(started)
        writer.write(f"{request_line}\r\n\r\n".encode())
        async with asyncio.timeout(FAILURE_SECONDS):
            answer = await reader.readline()
        writer.close()

    assert answer.split()[1].decode() == status


async def connection(
    started: RunnerProcess,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urllib.request.Request(started.addresses["metrics"])
    host, _, port = url.host.partition(":")
    return await asyncio.open_connection(host, int(port))


async def test_connections_that_say_nothing_stop_neither_tasks_nor_the_end(tmp_path: Path) -> None:
    async with conversation("session", tmp_path, "shell", "--metrics=0") as (started, client):
        silent = [await connection(started) for _ in range(MAX_CONNECTIONS + 1)]
        async with asyncio.timeout(FAILURE_SECONDS):
            with suppress(ConnectionError):  # one too many
                assert await silent[-1][0].read() == b""
        result = await client.run("code", "echo hello")
        started.terminate()
        exit_code = await started.ended()
        for _, writer in silent:
            writer.close()

    assert (result.stdout, exit_code) == (b"hello\n", 0)


async def test_without_the_option_nothing_is_bound(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell") as started:
        assert sorted(started.addresses) == ["in", "out", "session"]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path, taken: int) -> None:
    (said,) = refused(tmp_path, "--session=0", f"--metrics={taken}")

    assert said.startswith(f"kernel-runner: metrics: cannot bind tcp://127.0.0.1:{taken}: ")
    assert said.endswith("address already in use")


def test_another_host_needs_to_be_called_private(tmp_path: Path) -> None:
    (said,) = refused(tmp_path, "--session=0", "--metrics=tcp://0.0.0.0:0")

    assert "metrics: tcp://0.0.0.0:0 can be reached from other machines" in said


@pytest.mark.parametrize("address", ["ipc://here", "99999", "localhost"])
def test_what_is_no_address_is_said(tmp_path: Path, address: str) -> None:
    (said,) = refused(tmp_path, "--session=0", f"--metrics={address}")

    assert said.startswith(f"kernel-runner: metrics: {address!r} is no address")


def test_the_package_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = absent(tmp_path, "prometheus_client")
    (said,) = refused(tmp_path, "--session=0", "--metrics=0", env=missing)

    assert said.startswith("kernel-runner: metrics: ")
    assert "pip install 'kernel-runner[metrics]'" in said
