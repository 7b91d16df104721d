"""Words of a command line come in; a runner that serves, or an exit code and a reason, goes out."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from kernel_runner.client import connect
from tests.running import runner
from tests.wire import FAILURE_SECONDS

NO_SOCKETS = ("--in=none", "--out=none")


def run_to_end(
    folder: Path, *words: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "kernel_runner", *words],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(scratch), **(env or {})},
        capture_output=True,
        text=True,
        timeout=FAILURE_SECONDS,
        check=False,
    )
    assert list(scratch.iterdir()) == []
    return done


def test_all_wrong_options_are_reported_together_and_nothing_is_started(tmp_path: Path) -> None:
    words = ["cobol", "--work-dir=/no/such", "--max-queue-length=0", "--frobnicate", "extra"]
    words += ["--session=tcp://0.0.0.0:0", f"--address-file={tmp_path}/addresses"]

    done = run_to_end(tmp_path, *words, env={"KERNEL_RUNNER_DEBUG": "perhaps"})

    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    for part in ("cobol", "work-dir", "max-queue-length", "--frobnicate", "extra", "session"):
        assert len([line for line in lines if part in line]) == 1, done.stderr
    assert "debug" in done.stderr
    assert all(line.startswith("kernel-runner: ") for line in lines)
    assert len(lines) == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scratch"]


def test_a_switch_with_a_wrong_value_is_reported_with_everything_else(tmp_path: Path) -> None:
    words = ["shell", "--debug=5", "--plaintext=", "--max-queue-length=x"]

    done = run_to_end(tmp_path, *words, env={"KERNEL_RUNNER_WORKDIR": "/tmp"})

    assert (done.returncode, done.stdout) == (2, "")
    assert sorted(done.stderr.splitlines()) == [
        "kernel-runner: command line: debug: has to be true or false, not '5'",
        "kernel-runner: command line: max-queue-length: has to be a whole number, not 'x'",
        "kernel-runner: command line: plaintext: a value is missing",
        "kernel-runner: environment: KERNEL_RUNNER_WORKDIR is no option; "
        "did you mean KERNEL_RUNNER_WORK_DIR?",
    ]


def test_a_misspelt_option_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    done = run_to_end(tmp_path, "shell", "--workdir=/tmp", "--zzz", "--in=x")

    assert [line.partition(" is ")[2] for line in done.stderr.splitlines()] == [
        "not understood; did you mean --work-dir?",
        "not understood",
        "no address; write tcp://HOST:PORT, PORT, ipc://PATH or none",
    ]


def test_a_switch_may_have_a_value(tmp_path: Path) -> None:
    done = run_to_end(tmp_path, "shell", "--debug=false", "--in=x")

    assert [line.split()[1] for line in done.stderr.splitlines()] == ["in:"]


@pytest.mark.parametrize("words", [[], ["python", "--work-dir"], ["python", "--max-body=5"]])
def test_a_command_line_that_cannot_be_read_is_exit_code_2(
    tmp_path: Path, words: list[str]
) -> None:
    done = run_to_end(tmp_path, *words)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_help_names_every_option(tmp_path: Path) -> None:
    done = run_to_end(tmp_path, "serve", "--help")

    assert done.returncode == 0
    for option in ("--in", "--out", "--session", "--plaintext", "--config", "--address-file"):
        assert option in done.stdout


def test_an_address_that_is_taken_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = run_to_end(tmp_path, "python", *NO_SOCKETS, f"--session={address}")

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"kernel-runner: cannot bind {address}: Address already in use")
    assert len(done.stderr.splitlines()) == 1


def test_the_address_of_a_living_runner_is_not_taken_from_it(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(tmp_path / "s"))
        taken.listen()
        done = run_to_end(tmp_path, "python", *NO_SOCKETS, f"--session=ipc://{tmp_path}/s")

        assert done.returncode == 2
        assert "another process listens there" in done.stderr
        assert (tmp_path / "s").exists()


def test_an_ipc_path_that_is_too_long_or_has_no_folder_is_said(tmp_path: Path) -> None:
    long = run_to_end(tmp_path, "python", *NO_SOCKETS, f"--session=ipc://{'x' * 108}")
    lost = run_to_end(tmp_path, "python", *NO_SOCKETS, "--session=ipc:///no/such/folder/s")

    assert (long.returncode, lost.returncode) == (2, 2)
    assert "107 bytes" in long.stderr
    assert "cannot bind" in lost.stderr


async def test_port_0_is_replaced_by_the_port_chosen_and_said_in_one_json_line(
    tmp_path: Path,
) -> None:
    file = tmp_path / "addresses"
    options = ["--in=0", "--out=0", "--session=tcp://127.0.0.1:0", f"--address-file={file}"]
    async with runner(tmp_path, "shell", *options) as started:
        addresses = dict(started.addresses)
        assert json.loads(file.read_text()) == addresses
        ports = {int(address.rpartition(":")[2]) for address in addresses.values()}
        async with connect(addresses["session"]) as kernel:
            status = await kernel.status()

    assert sorted(addresses) == ["in", "out", "session"]
    assert len(ports) == 3
    assert 0 not in ports
    assert status.language == "shell"
    assert not file.exists()


async def test_options_come_by_flag_environment_and_file(tmp_path: Path) -> None:
    file = tmp_path / "runner.toml"
    other = tmp_path / "other"
    other.mkdir()
    file.write_text(f"max-queue-length = 1\nmax-body-bytes = 7\nwork-dir = '{other}'\n")
    env = {"KERNEL_RUNNER_CONFIG": str(file), "KERNEL_RUNNER_MAX_BODY_BYTES": "20"}
    async with (
        runner(tmp_path, "shell", env=env) as started,
        connect(started.addresses["session"]) as kernel,
    ):
        fits = await kernel.execute("echo 12345678").result()
        large = await kernel.execute("echo 12345678901234567890").result()
        where = await kernel.execute("pwd").result()

    assert fits.stdout == "12345678\n"
    assert large.reason == "bad-request"
    assert where.stdout == f"{started.work_dir}\n"  # the flag goes before the file


async def test_the_runner_starts_on_plain_asyncio_where_uvloop_is_not_installed(
    tmp_path: Path,
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "uvloop.py").write_text("raise ImportError\n")
    async with (
        runner(tmp_path, "shell", env={"PYTHONPATH": str(hidden)}) as started,
        connect(started.addresses["session"]) as kernel,
    ):
        result = await kernel.query("echo $((6 * 7))").result()

    assert result.stdout == "42\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_ends_it_with_exit_code_0_and_a_second_one_is_safe(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with runner(tmp_path, "shell") as started:
        started.process.send_signal(number)
        started.process.send_signal(number)
        assert await started.ended() == 0


IMPORTS = """
import os, sys
before = set(sys.modules), os.listdir("/proc/self/fd"), os.listdir("/proc/self/task")
import kernel_runner
loaded = set(sys.modules) - before[0]
assert os.listdir("/proc/self/fd") == before[1]
assert os.listdir("/proc/self/task") == before[2]
print(sorted(loaded))
"""


def test_importing_the_package_loads_itself_alone_and_acts_on_nothing() -> None:
    environment = {**os.environ, "KERNEL_RUNNER_DEBUG": "nonsense"}

    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout == "['kernel_runner']\n"
    assert done.stderr == ""


def test_the_public_names_are_loaded_when_they_are_used() -> None:
    code = (
        "import sys, kernel_runner as k; [getattr(k, name) for name in k.__all__]; "
        "assert 'zmq' in sys.modules; k.nothing"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "AttributeError: module 'kernel_runner' has no attribute 'nothing'" in done.stderr


def test_the_guardian_loads_nothing_large() -> None:
    code = "import sys, kernel_runner.guardian; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert loaded.isdisjoint({"zmq", "asyncio", "msgspec", "msgpack", "typing", "logging"})


async def test_with_standard_output_closed_it_still_serves(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kernel_runner", "shell", *NO_SOCKETS),
        *(f"--session=ipc://{tmp_path}/s", f"--address-file={tmp_path}/addresses"),
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with connect(f"ipc://{tmp_path}/s") as kernel:
            assert (await kernel.query("echo here").result()).stdout == "here\n"
    finally:
        process.terminate()
        async with asyncio.timeout(FAILURE_SECONDS):
            await process.wait()


async def test_missing_values_are_reported_with_everything_else(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kernel_runner", "--work-dir=/nowhere", "--wrong", "--in"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()

    assert (process.returncode, stdout) == (2, b"")
    lines = stderr.decode().splitlines()
    assert [line.split(";")[0] for line in lines] == [
        "kernel-runner: command line: '--wrong' is not understood",
        "kernel-runner: command line: in: a value is missing",
        "kernel-runner: which language?",
        "kernel-runner: work-dir: /nowhere is not a folder",
    ]
