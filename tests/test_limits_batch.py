"""Programs that use too much come in, with and without cgroups; the limit that ends them out."""

import asyncio
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel_runner.cgroup import own_folder
from tests.running import RunnerProcess, connected, process_ended, runner
from tests.tools import require_tool
from tests.wire import FAILURE_SECONDS, Client, Heard

MIB = 1 << 20


@pytest.fixture(params=[(), ("--cgroup=none",)], ids=["cgroup", "watched"])
async def kernel(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[RunnerProcess, Client]]:
    """A runner with cgroups where those can be had, and one that watches."""
    async with (
        runner(tmp_path, "python", *request.param) as started,
        connected(started) as client,
    ):
        pid = (await client.status())["pid"]
        yield started, client
    folder = own_folder()
    assert folder is None or list(Path(folder).glob(f"kernel-runner-{pid}-*")) == []


async def run(client: Client, program: str, **fields: object) -> Heard:
    """A Python program in batch mode."""
    script = f"exec {sys.executable} -u - <<'END'\n{textwrap.dedent(program)}\nEND"
    return await client.run("exec", script, **fields)


async def test_processor_time_ends_a_program_that_wall_time_would_not(
    kernel: tuple[RunnerProcess, Client],
) -> None:
    heard = await run(kernel[1], "while True: pass", limits={"cpu_s": 0.3})

    assert heard.end == (143, "cpu-limit")
    assert heard.finish["message"] == "it used more than 0.3 s of processor time"
    assert 0.29 <= heard.finish["usage"]["cpu_s"] < 2


async def test_processor_time_is_that_of_all_processes(
    kernel: tuple[RunnerProcess, Client],
) -> None:
    program = """
        import os, signal, time
        for _ in range(3):
            if os.fork() == 0:
                while True: pass
        signal.pause()
        """

    heard = await run(kernel[1], program, limits={"cpu_s": 0.5})

    assert heard.finish["reason"] == "cpu-limit"


@pytest.mark.parametrize("word", ["SIG_IGN", "SIG_DFL"])
async def test_processor_time_is_not_hidden_in_children_that_nobody_waits_for(
    kernel: tuple[RunnerProcess, Client], word: str
) -> None:
    # with SIGCHLD ignored the kernel counts children nowhere
    program = f"""
        import os, signal, time
        signal.signal(signal.SIGCHLD, signal.{word})
        for _ in range(100):
            if os.fork() == 0:
                end = time.process_time() + 0.2
                while time.process_time() < end: pass
                os._exit(0)
            time.sleep(0.25)
        """

    heard = await run(kernel[1], program, limits={"cpu_s": 0.6, "wall_s": 12})

    assert heard.finish["reason"] == "cpu-limit"


async def test_a_program_that_ignores_signals_is_killed(
    kernel: tuple[RunnerProcess, Client],
) -> None:
    program = """
        import signal
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        while True: pass
        """

    heard = await run(kernel[1], program, limits={"cpu_s": 0.2})

    assert heard.end == (137, "cpu-limit")
    assert heard.finish["signals"] == ["SIGTERM", "SIGKILL"]


async def test_memory_ends_a_program(kernel: tuple[RunnerProcess, Client]) -> None:
    program = """
        import time
        kept = []
        while True:
            kept.append(b"x" * 4_000_000)
            time.sleep(0.01)
        """

    heard = await run(kernel[1], program, limits={"memory_bytes": 100 * MIB})

    assert heard.end == (137, "memory-limit")
    assert heard.finish["message"] == "it used more than 100 MiB of memory"
    assert 100 * MIB < heard.finish["usage"]["max_rss_bytes"] < 400 * MIB


async def test_memory_that_grows_faster_than_anybody_looks_is_bounded(
    kernel: tuple[RunnerProcess, Client],
) -> None:
    program = 'kept = []\nwhile True: kept.append(b"x" * 100_000_000)'

    heard = await run(kernel[1], program, limits={"memory_bytes": 64 * MIB})

    assert heard.finish["reason"] == "memory-limit"
    assert heard.finish["usage"]["max_rss_bytes"] < 64 * 2 * MIB + 256 * MIB + 64 * MIB


async def test_memory_is_that_of_all_processes(kernel: tuple[RunnerProcess, Client]) -> None:
    program = """
        import os, signal
        for _ in range(5):
            if os.fork() == 0:
                kept = os.urandom(1_000_000) * 40
                signal.pause()
        signal.pause()
        """

    heard = await run(kernel[1], program, limits={"memory_bytes": 130 * MIB})

    assert heard.finish["reason"] == "memory-limit"


async def test_pages_that_processes_have_in_common_count_once(
    kernel: tuple[RunnerProcess, Client],
) -> None:
    program = """
        import os, time
        kept = b"x" * 80_000_000
        for _ in range(5):
            if os.fork() == 0:
                time.sleep(1)
                os._exit(0)
        time.sleep(1)
        """

    heard = await run(kernel[1], program, limits={"memory_bytes": 150 * MIB})

    assert heard.end == (0, "completed")
    assert 80_000_000 < heard.finish["usage"]["max_rss_bytes"] < 150 * MIB


async def test_memory_of_the_kept_interpreter_and_of_other_tasks_does_not_count(
    kernel: tuple[RunnerProcess, Client],
) -> None:
    client = kernel[1]
    await client.run("code", "kept = b'x' * 200_000_000")

    heard = await run(client, "print('fine')", limits={"memory_bytes": 60 * MIB})
    query = await client.run("code", "len(kept)", limits={"memory_bytes": 60 * MIB})

    assert (heard.end, heard.stdout) == ((0, "completed"), b"fine\n")
    assert (query.end, query.stdout) == ((0, "completed"), b"200000000\n")


async def test_usage_without_limits_is_that_of_the_whole_tree(
    kernel: tuple[RunnerProcess, Client],
) -> None:
    program = """
        import os, time
        for _ in range(3):
            if os.fork() == 0:
                kept = b"x" * 60_000_000
                end = time.process_time() + 0.3
                while time.process_time() < end: pass
                time.sleep(1.5)
                os._exit(0)
        for _ in range(3): os.wait()
        """

    heard = await run(kernel[1], program)

    assert heard.end == (0, "completed")
    assert heard.finish["usage"]["cpu_s"] >= 0.85
    assert heard.finish["usage"]["max_rss_bytes"] > 180_000_000


async def test_a_fork_bomb_ends(kernel: tuple[RunnerProcess, Client]) -> None:
    # bounded: without a limit it would be 250 processes
    bomb = 'bomb() { [ "$1" = 0 ] || { bomb $(($1 - 1)) | bomb $(($1 - 1)) & }; sleep 5; }; bomb 7'

    heard = await kernel[1].run("exec", bomb, limits={"processes": 30, "wall_s": 10})

    was_refused = "processes" in heard.finish.get("limits_hit", ())
    assert was_refused or heard.finish["reason"] == "process-limit", heard.finish
    assert "more than 30 processes and threads" in heard.finish["message"]


async def test_a_file_that_is_too_large_is_an_error_of_the_call(
    kernel: tuple[RunnerProcess, Client],
) -> None:
    require_tool("dd")
    script = "dd if=/dev/zero of=large bs=1000 count=100; wc -c <large"

    heard = await kernel[1].run("exec", script, limits={"file_bytes": 50_000})
    after = await kernel[1].run("exec", script)

    assert heard.stdout.split() == [b"50000"]
    assert b"File too large" in heard.stderr
    assert after.stdout.split() == [b"100000"]


async def test_a_program_that_wants_the_signal_dies_of_it_and_the_finish_names_the_limit(
    kernel: tuple[RunnerProcess, Client],
) -> None:
    program = """
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        open("large", "wb").write(b"x" * 100_000)
        """

    heard = await run(kernel[1], program, limits={"file_bytes": 50_000})

    assert heard.end == (153, "completed")
    assert heard.finish["limits_hit"] == ["file_bytes"]
    assert heard.finish["message"] == "it made a file larger than 48.8 KiB"


async def test_files_beyond_the_limit_cannot_be_opened(
    kernel: tuple[RunnerProcess, Client],
) -> None:
    program = """
        opened = []
        try:
            while True: opened.append(open("/dev/null"))
        except OSError as error:
            print(len(opened) < 20, error.strerror)
        """

    heard = await run(kernel[1], program, limits={"open_files": 20})

    assert heard.stdout == b"True Too many open files\n"


async def test_each_run_has_its_own_limits_and_nothing_leaks_to_the_next(
    kernel: tuple[RunnerProcess, Client],
) -> None:
    show = "ulimit -n; ulimit -d; ulimit -f; echo $(trap)"

    plain = await kernel[1].run("exec", show)
    first = await kernel[1].run(
        "exec", show, limits={"open_files": 40, "file_bytes": 512_000, "memory_bytes": MIB}
    )
    second = await kernel[1].run("exec", show, limits={"open_files": 50})
    again = await kernel[1].run("exec", show)

    assert first.stdout.split()[:3] == [b"40", str((256 + 2) * 1024).encode(), b"1000"]
    assert second.stdout.split()[0] == b"50"
    assert second.stdout.split()[1:] == plain.stdout.split()[1:]
    assert again.stdout == plain.stdout


async def test_what_is_kept_in_the_background_keeps_its_limits(
    kernel: tuple[RunnerProcess, Client],
) -> None:
    client = kernel[1]
    hungry = "import time\\nkept = []\\nwhile True: kept.append(b'x' * 5_000_000); time.sleep(0.02)"
    script = f"""printf "{hungry}" > hungry.py
        ({sys.executable} hungry.py; touch hungry.ended) >/dev/null 2>&1 &
        (trap 'touch trapped' TERM; while :; do sleep 0.05; done) & echo $!"""

    heard = await client.run(
        "exec", script, keep_background=True, limits={"memory_bytes": 100 * MIB}
    )
    pid = int(heard.stdout)

    assert heard.end == (0, "completed")
    assert heard.finish["usage"]["max_rss_bytes"] < 100 * MIB
    async with asyncio.timeout(FAILURE_SECONDS):
        await process_ended(pid)
    after = await client.run("exec", "echo on")
    assert after.stdout == b"on\n"


async def test_several_programs_of_a_task_share_its_processor_time(tmp_path: Path) -> None:
    require_tool("gcc")
    busy = "int main(void) { for (volatile long i = 0; i < 1L << 62; i++); }"
    async with runner(tmp_path, "c") as started, connected(started) as client:
        heard = await client.run("code", busy, limits={"cpu_s": 0.5})

    assert heard.finish["reason"] == "cpu-limit"
    assert 0.45 <= heard.finish["usage"]["cpu_s"] < 2
