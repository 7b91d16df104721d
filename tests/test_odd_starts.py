"""Odd surroundings come in; a runner that serves comes out, or one line that says what is wrong."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from kernel_runner.client import connect
from tests.commanding import assert_one_sentence, command, shell
from tests.running import conversation, runner
from tests.wire import FAILURE_SECONDS

SERVE = (sys.executable, "-m", "kernel_runner", "python", "--in=none", "--out=none")


def refused(folder: Path, *options: str, env: Mapping[str, str] | None = None) -> list[str]:
    """What a runner says that does not start."""
    done = subprocess.run(
        [*SERVE, *options],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=FAILURE_SECONDS,
    )
    assert done.returncode == 2, done
    return done.stderr.splitlines()


GONE = "the current folder is not there any more (No such file or directory); change to another"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("run --lang shell -c 'echo started'", GONE),
        ("run $OLDPWD/hello.sh", GONE),
        ("run hello.sh", "hello.sh: no such file or directory"),
        ("repl shell", GONE),
    ],
)
def test_a_command_without_a_current_folder_says_so(tmp_path: Path, words: str, part: str) -> None:
    (tmp_path / "hello.sh").write_text("echo started")
    (tmp_path / "gone").mkdir()

    done = shell(f"cd gone; rmdir ../gone; kernel-runner {words}", cwd=tmp_path)

    assert_one_sentence(done, part)


def test_langs_needs_no_current_folder(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()

    done = shell("cd gone; rmdir ../gone; kernel-runner langs", cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, command("langs").stdout, "")


@pytest.mark.parametrize("option", ["--runtime-path", "--address-file"])
def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path, option: str) -> None:
    (said,) = refused(tmp_path, "--session=0", f"{option}={tmp_path}")

    assert said.startswith(f"kernel-runner: {option[2:]}: {tmp_path}")


def test_a_file_in_the_place_of_a_socket_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("words")

    (said,) = refused(tmp_path, f"--session=ipc://{file}")

    assert "is no socket" in said
    assert file.read_text() == "words"


def test_a_folder_for_scratch_files_that_is_not_there_is_said(tmp_path: Path) -> None:
    (said,) = refused(tmp_path, "--session=0", env={"TMPDIR": str(tmp_path / "no")})

    assert said.startswith("kernel-runner: TMPDIR: ")


def test_a_current_folder_that_was_removed_is_said(tmp_path: Path) -> None:
    script = 'mkdir gone; cd gone; rmdir ../gone; exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *SERVE, "--session=0"],
        cwd=tmp_path,
        # without a current folder nothing is found that is only there
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=FAILURE_SECONDS,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("kernel-runner: work-dir: .: the current folder")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
async def test_a_runner_serves_with_its_standard_streams_closed(
    tmp_path: Path, closed: str
) -> None:
    file = tmp_path / "addresses"
    options = ("--session=0", f"--address-file={file}", f"--work-dir={tmp_path}")
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'exec "$@" {closed}', "sh", *SERVE, *options)
    )
    try:
        async with connect(await _address(process, file)) as kernel:
            result = await kernel.query("print(1)").result()
    finally:
        process.terminate()
        async with asyncio.timeout(FAILURE_SECONDS):
            exit_code = await process.wait()

    assert (result.stdout, exit_code) == ("1\n", 0)


async def _address(process: asyncio.subprocess.Process, file: Path) -> str:
    async with asyncio.timeout(FAILURE_SECONDS):
        while not file.exists():
            assert process.returncode is None
            await asyncio.sleep(0.01)
    return str(json.loads(file.read_text())["session"])


async def test_a_relative_folder_for_scratch_files_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    async with conversation("session", tmp_path, "c", env={"TMPDIR": "scratch"}) as (_, client):
        result = await client.run("code", "int main(void) { return 4; }")

    assert result.end == (4, "completed")


async def test_a_task_need_not_wait_for_an_interpreter_that_never_starts(tmp_path: Path) -> None:
    path = tmp_path / "hanging"
    path.write_text("#!/bin/sh\nexec sleep 600\n")
    path.chmod(0o755)
    async with conversation("session", tmp_path, "python", f"--runtime-path={path}") as (_, client):
        late = await client.run("code", "1", limits={"wall_s": 0.1})
        request = await client.say("code", "1")
        await client.hear_until("started")
        await client.say("interrupt")
        interrupted = await client.hear_finish(request)
        batch = await client.run("exec", "echo batch")

    assert late.end == (127, "timeout")
    assert interrupted.end == (130, "interrupted")
    assert batch.stdout == b"batch\n"


async def test_what_an_interpreter_prints_before_its_first_cell_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "flooding"
    path.write_text("#!/bin/sh\nhead -c 300000000 /dev/zero\ntouch done\n")
    path.chmod(0o755)
    async with conversation("session", tmp_path, "python", f"--runtime-path={path}") as (
        started,
        client,
    ):
        # each of these takes longer than a flood of that size would need
        for _ in range(5):
            await client.run("exec", "head -c 30000000 /dev/zero | wc -c")
        pid = (await client.status())["pid"]
        memory = _peak_memory_kib(pid)

        assert memory < 100_000
        assert not (started.work_dir / "done").exists()


def _peak_memory_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="there is no IPv6 here")
async def test_the_loopback_address_of_ipv6_can_be_bound(tmp_path: Path) -> None:
    options = ("--session=0", "--bind=::1")
    async with (
        runner(tmp_path, "shell", *options) as started,
        connect(started.addresses["session"]) as kernel,
    ):
        status = await kernel.status()

    assert started.addresses["session"].startswith("tcp://[::1]:")
    assert status.language == "shell"
