"""A language comes in; a runner of one's own goes out, and nothing of it outlives the block."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from kernel_runner.client import RunnerDied, RunnerNotStarted, launch
from kernel_runner.messages import commands
from tests.running import MARK, marked_processes, process_ended
from tests.wire import FAILURE_SECONDS


async def test_a_displayed_object_reaches_the_client_in_all_its_representations() -> None:
    code = (
        "class Shown:\n def _repr_html_(self): return '<b>'\n"
        " def _repr_png_(self): return b'\\x89PNG'\n"
        "display(Shown())"
    )
    async with launch("python") as client:
        result = await client.query(code).result()

    assert len(result.media) == 1
    assert result.media[0].data["text/html"] == "<b>"
    assert result.media[0].data["image/png"] == b"\x89PNG"


@pytest.mark.parametrize(
    "shown",
    [
        "{}",
        "{'text/plain': 'x' * 100}",
        "{'image/png': 'no base64!'}",
        "{'application/json': {'a': [1, 2**70]}}",
        "{'text/plain': '\\ud800'}",
    ],
)
async def test_whatever_is_displayed_the_cell_ends_and_the_next_one_runs(shown: str) -> None:
    async with launch("python") as client, asyncio.timeout(FAILURE_SECONDS):
        first = await client.query(f"display({shown}, raw=True)").result()
        second = await client.query("print(6 * 7)").result()

    assert first.reason in ("completed", "error")
    assert second.stdout == "42\n"


async def test_a_runner_that_does_not_start_says_why() -> None:
    with pytest.raises(RunnerNotStarted, match="no language 'cobol'"):
        async with launch("cobol"):
            pass


async def test_launch_leaves_no_process_behind(tmp_path: Path) -> None:
    async with launch("shell", work_dir=tmp_path) as client:
        pid = (await client.status()).pid
        background = await client.query("sleep 600 & echo $!").result()

    async with asyncio.timeout(FAILURE_SECONDS):
        await process_ended(pid)
        await process_ended(int(background.stdout))


async def test_a_runner_that_logs_much_is_not_held_up_by_its_launcher() -> None:
    async with launch("shell") as client, asyncio.timeout(FAILURE_SECONDS):
        for number in range(200):
            await client.send(commands.HostEvent("x" * 1_000, number)).answer()
        result = await client.query("echo here").result()

    assert result.stdout == "here\n"


async def test_a_launched_runner_that_is_killed_is_cleaned_up_after() -> None:
    async with launch("shell") as client:
        pid = (await client.status()).pid
        os.kill(pid, signal.SIGKILL)


async def test_a_runner_that_dies_is_told_to_whoever_waits_for_an_answer(tmp_path: Path) -> None:
    async with launch("shell", work_dir=tmp_path) as kernel:
        pid = (await kernel.status()).pid
        waiting = kernel.execute("sleep 30")

        os.kill(pid, signal.SIGKILL)

        with pytest.raises(RunnerDied, match="exit code 137"):
            await waiting.result()
        with pytest.raises(RunnerDied):
            await kernel.status()


async def test_a_launched_runner_ends_with_its_client_however_that_ends() -> None:
    mark = os.urandom(8).hex()
    code = (
        "import asyncio\nfrom kernel_runner.client import launch\n"
        "async def main():\n"
        "    async with launch('python') as kernel:\n"
        "        await kernel.query('x = 1').result()\n"
        "        kernel.query('while True: pass')\n"
        "        print('ready', flush=True)\n"
        "        await asyncio.sleep(1000)\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, MARK: mark},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.kill()
    await process.wait()

    for pid in marked_processes(mark):
        await process_ended(pid)
    assert marked_processes(mark) == []


async def test_a_runner_that_dies_before_it_has_answered_is_told_at_once(tmp_path: Path) -> None:
    impostor = tmp_path / "python"
    impostor.write_text('#!/bin/sh\necho \'{"session": "ipc:///nobody"}\'\necho gone >&2; exit 3\n')
    impostor.chmod(0o755)

    with pytest.raises(RunnerDied, match="exit code 3: gone"):
        async with launch("python", python=impostor):
            pass


@pytest.mark.parametrize("moment", ["at once", "while it is used"])
async def test_a_client_that_is_killed_leaves_no_folder(
    tmp_path_factory: pytest.TempPathFactory, moment: str
) -> None:
    folder = tmp_path_factory.mktemp("k")  # the path of a socket has to be short
    script = (
        "import asyncio, os, signal\n"
        "from kernel_runner.client import launch, launching\n"
        "if {at_once}:\n"
        "    async def address(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    launching._address = address\n"
        "async def main():\n"
        "    async with launch('shell') as kernel:\n"
        "        await kernel.query('touch made').result()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    ).replace("{at_once}", str(moment == "at once"))
    mark = str(folder)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), env={**os.environ, "TMPDIR": mark, MARK: mark}
    )
    assert await process.wait() == -signal.SIGKILL
    async with asyncio.timeout(FAILURE_SECONDS):
        for pid in marked_processes(mark):
            await process_ended(pid)

    assert list(folder.iterdir()) == []
