"""Queries that use too much come in; they end, and what the session has defined is still there."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.running import connected, runner
from tests.wire import Client, Heard

MIB = 1 << 20


@pytest.fixture
async def python(tmp_path: Path) -> AsyncIterator[Client]:
    """A Python session in which `kept` is 42."""
    async with runner(tmp_path, "python") as started, connected(started) as client:
        await client.run("code", "kept = 42")
        yield client


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Client]:
    """A shell session in which `kept` is 42."""
    async with runner(tmp_path, "shell") as started, connected(started) as client:
        await client.run("code", "kept=42")
        yield client


async def assert_kept(client: Client, code: str = "print(kept)") -> None:
    heard = await client.run("code", code)
    assert (heard.end, heard.stdout) == ((0, "completed"), b"42\n")


async def test_processor_time_ends_a_query(python: Client) -> None:
    heard = await python.run("code", "while True: pass", limits={"cpu_s": 0.3})

    assert heard.end == (130, "cpu-limit")
    assert heard.finish["message"] == "it used more than 0.3 s of processor time"
    assert heard.finish["signals"] == ["SIGINT"]
    assert 0.29 <= heard.finish["usage"]["cpu_s"] < 2
    await assert_kept(python)


async def test_processor_time_before_the_query_does_not_count(python: Client) -> None:
    busy = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass"

    first = await python.run("code", busy, limits={"cpu_s": 0.7})
    second = await python.run("code", busy, limits={"cpu_s": 0.7})

    assert first.end == second.end == (0, "completed")
    assert 0.38 <= second.finish["usage"]["cpu_s"] < 0.7


async def test_processor_time_hidden_in_children_counts_and_they_end(python: Client) -> None:
    code = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        while True: pass
time.sleep(30)
"""
    heard = await python.run("code", code, limits={"cpu_s": 0.5})

    assert heard.finish["reason"] == "cpu-limit"
    assert heard.finish["usage"]["cpu_s"] >= 0.4
    await assert_kept(python)


async def test_memory_ends_a_query_and_only_what_it_takes_itself_counts(python: Client) -> None:
    await python.run("code", "before = b'x' * 150_000_000")
    code = "import time\nmine = []\nwhile True: mine.append(b'x' * 4_000_000); time.sleep(0.005)"

    heard = await python.run("code", code, limits={"memory_bytes": 100 * MIB})

    assert heard.end == (130, "memory-limit")
    assert heard.finish["message"] == "it used more than 100 MiB of memory"
    assert heard.finish["usage"]["max_rss_bytes"] > 250_000_000
    await assert_kept(python)


async def test_memory_that_grows_faster_than_anybody_looks_is_bounded(python: Client) -> None:
    code = "mine = []\nwhile True: mine.append(b'x' * 100_000_000)"

    heard = await python.run("code", code, limits={"memory_bytes": 64 * MIB})
    await python.run("code", "del mine")
    plain = await python.run("code", "mine = b'x' * 600_000_000; del mine")

    assert heard.finish["reason"] == "memory-limit"
    assert heard.finish["usage"]["max_rss_bytes"] < 600 * MIB
    assert plain.end == (0, "completed")
    await assert_kept(python)


async def test_memory_hidden_in_children_counts_and_they_end(python: Client) -> None:
    code = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        mine = os.urandom(1_000_000) * 50
        time.sleep(30)
time.sleep(30)
"""
    heard = await python.run("code", code, limits={"memory_bytes": 120 * MIB})

    assert heard.finish["reason"] == "memory-limit"
    await assert_kept(python)


async def test_too_many_processes_of_a_query_end_and_the_interpreter_stays(python: Client) -> None:
    code = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(7):
    os.fork()
time.sleep(30)
"""
    heard = await python.run("code", code, limits={"processes": 20})

    assert heard.finish["reason"] == "process-limit"
    assert heard.finish["message"] == "it had more than 20 processes and threads"
    await assert_kept(python)


async def test_an_interpreter_that_cannot_be_interrupted_is_killed(python: Client) -> None:
    code = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True: pass
"""
    heard = await python.run("code", code, limits={"cpu_s": 0.2})
    after = await python.run("code", "'kept' in globals()")

    assert heard.end == (137, "cpu-limit")
    assert heard.finish["signals"] == ["SIGINT", "SIGKILL"]
    assert 0.2 < heard.finish["usage"]["cpu_s"] < 10
    assert after.stdout == b"False\n"


async def test_files_are_limited_while_the_query_runs_and_not_after(python: Client) -> None:
    code = """
opened = []
try:
    while len(opened) < 200: opened.append(open("/dev/null"))
except OSError as error: print(error.strerror)
opened.clear()
try:
    with open("large", "wb", buffering=0) as file:
        while file.tell() < 100_000: file.write(b"x" * 10_000)
except OSError as error: print(error.strerror)
"""
    limited = await python.run("code", code, limits={"open_files": 50, "file_bytes": 50_000})
    free = await python.run("code", code)

    assert limited.stdout == b"Too many open files\nFile too large\n"
    assert (free.end, free.stdout) == ((0, "completed"), b"")
    await assert_kept(python)


async def test_a_shell_keeps_its_state_when_a_limit_ends_its_programs(shell: Client) -> None:
    busy = f"{sys.executable} -c 'while True: pass'; echo went on"
    hungry = f"""{sys.executable} -c 'a = []
while True: a.append(b"x" * 4_000_000)'"""

    cpu = await shell.run("code", busy, limits={"cpu_s": 0.3})
    memory = await shell.run("code", hungry, limits={"memory_bytes": 80 * MIB})
    large = await shell.run(
        "code", "head -c 90000 /dev/zero >large; wc -c <large", limits={"file_bytes": 40_000}
    )

    assert cpu.finish["reason"] == "cpu-limit"
    assert cpu.finish["usage"]["cpu_s"] >= 0.29
    assert memory.finish["reason"] == "memory-limit"
    assert large.stdout.strip() == b"40000"
    await assert_kept(shell, "echo $kept")


async def test_a_shell_function_that_never_ends_is_interrupted(shell: Client) -> None:
    heard = await shell.run("code", "while :; do :; done", limits={"cpu_s": 0.3})

    assert heard.end == (130, "cpu-limit")
    await assert_kept(shell, "echo $kept")


async def test_without_limits_a_long_query_tells_the_usage_of_all_its_processes(
    shell: Client,
) -> None:
    code = f"""{sys.executable} -c 'import time
a = b"x" * 80_000_000
end = time.process_time() + 0.6
while time.process_time() < end: pass'"""

    heard = await shell.run("code", code)

    assert heard.finish["usage"]["cpu_s"] > 0.3
    assert heard.finish["usage"]["max_rss_bytes"] > 80_000_000


async def test_two_queries_in_a_row_have_their_own_limits(python: Client) -> None:
    take = "mine = b'x' * 60_000_000; del mine; import time; time.sleep(0.2)"

    ends: list[Heard] = [
        await python.run("code", take, limits=limits)
        for limits in ({"memory_bytes": 200 * MIB}, {"memory_bytes": 20 * MIB}, {}, {"cpu_s": 60})
    ]

    # the second one may be over before anybody has looked: then it is not known
    assert [heard.end for heard in (ends[0], *ends[2:])] == [(0, "completed")] * 3
    await assert_kept(python)
