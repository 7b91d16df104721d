"""A runner with a jail around each of its programs comes in; what they do, and what they cannot."""

import asyncio
import contextlib
import json
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kernel_runner.jail import landlock
from tests.running import RunnerProcess, connected, marked_processes, runner
from tests.tools import require_tool
from tests.wire import Client, Heard

pytestmark = pytest.mark.skipif(landlock.abi() < 6, reason="needs Landlock ABI 6")

ATTEMPTS = Path(__file__).with_name("attempts_runner.py").read_text()
# another user, who may only read what is root's: the interpreter of these tests may be there
AS_USER = (
    *("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
SYSTEM_PYTHON = "/usr/bin/python3"
UNSHARE = "unshare --user true"
SENTENCE = "unshare(CLONE_NEWUSER): refused by process: no namespaces (jail-policies/{}.yml)"


@pytest.fixture
async def python(tmp_path: Path) -> AsyncIterator[tuple[RunnerProcess, Client]]:
    async with (
        runner(tmp_path, "python", "--jail=auto") as started,
        connected(started) as client,
    ):
        yield started, client


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where another user may be, too: pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory(prefix="kernel-jail-test-") as name:
        yield Path(name)


def violations(heard: Heard) -> list[str]:
    """Of each log of the jail the sentence."""
    return [re.sub(r' \{"rule": .*', "", log) for log in heard.logs if '{"rule": ' in log]


@pytest.mark.parametrize("op", ["exec", "code"])
@pytest.mark.parametrize("user", ["root", "another user"])
async def test_programs_reach_nothing_of_the_runner(folder: Path, user: str, op: str) -> None:
    if os.getuid() != 0 and user == "root":
        pytest.skip("needs root")
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"needs {SYSTEM_PYTHON}")
    before = AS_USER if user != "root" and os.getuid() == 0 else ()
    for made in (folder, folder / "work", folder / "scratch"):
        made.mkdir(exist_ok=True)
        if before:
            os.chown(made, 1000, 1000)
    system = {"PATH": "/usr/bin:/bin"}
    async with (
        runner(folder, "python", "--jail=auto", before=before, env=system) as started,
        connected(started) as client,
    ):
        await client.run("exec", "true")
        await client.run("code", "1")  # by now all are there, and none is about to become another
        pids = marked_processes(started.mark)
        assert len(pids) >= 4, "guardian, runner, keeper, warden"
        sockets = [str(folder / name) for name in ("in", "out", "session")]
        code = f"{ATTEMPTS}\nmain({pids}, {sockets}, {str(folder)!r})\n"
        if op == "exec":
            (folder / "work" / "attempts.py").write_text(code)
            heard = await client.run("exec", f"{SYSTEM_PYTHON} attempts.py")
        else:
            heard = await client.run("code", code)

    assert heard.end == (0, "completed"), heard.stderr
    tried = json.loads(heard.stdout)
    assert {name for name, done in tried.items() if done == "done"} == set()
    assert len(tried) > 15


async def test_what_is_refused_is_a_log_of_its_task_with_fields(
    python: tuple[RunnerProcess, Client],
) -> None:
    _, client = python

    heard = await client.run("exec", UNSHARE)

    (log,) = [log for log in heard.logs if "CLONE_NEWUSER" in log]
    sentence, fields = log.split(' {"rule"')
    record = json.loads('{"rule"' + fields)
    assert sentence.endswith(SENTENCE.format("python"))
    assert (record["syscall"], record["comm"], record["action"]) == ("unshare", "unshare", "EPERM")
    assert (heard.finish["exitCode"], heard.finish["reason"]) == (1, "completed")


async def test_a_query_is_told_before_it_ends_and_the_interpreter_lives_on(
    python: tuple[RunnerProcess, Client],
) -> None:
    _, client = python
    await client.run("code", "kept = 42\nimport os")

    heard = await client.run("code", "try: os.chmod('/etc/hostname', 0)\nexcept OSError: print(1)")
    again = await client.run("code", "print(kept)")

    assert violations(heard)[0].endswith(
        "chmod /etc/hostname: not in files.write (jail-policies/python.yml)"
    )
    assert heard.stdout == b"1\n"
    assert (again.stdout, again.end, violations(again)) == (b"42\n", (0, "completed"), [])


async def test_each_program_of_a_keeper_is_reported_anew(
    python: tuple[RunnerProcess, Client],
) -> None:
    _, client = python

    heard = [await client.run("exec", UNSHARE) for _ in range(3)]

    assert [len(violations(one)) for one in heard] == [1, 1, 1]


async def test_what_is_repeated_is_counted(python: tuple[RunnerProcess, Client]) -> None:
    _, client = python

    heard = await client.run("exec", f"{UNSHARE}; {UNSHARE}; {UNSHARE}")

    assert [one.endswith("3 times") for one in violations(heard)] == [False, True]


@pytest.mark.parametrize("op", ["exec", "code"])
async def test_a_violation_that_kills_is_the_reason_of_the_end(tmp_path: Path, op: str) -> None:
    policy = tmp_path / "own.yml"
    policy.write_text("extends: python\non_violation: kill\n")
    script = {"exec": f"{UNSHARE}; echo never", "code": "import os; os.unshare(1 << 28)"}
    if op == "code":
        script["code"] = f"import subprocess; print(subprocess.run({UNSHARE.split()!r}), 'never')"
    async with (
        runner(tmp_path, "python", f"--jail={policy}") as started,
        connected(started) as client,
    ):
        heard = await client.run(op, script[op])
        after = await client.run(op, {"exec": "echo 1", "code": "print(1)"}[op])

    assert heard.end == (137, "jail-violation")
    assert heard.finish["message"].startswith("unshare(CLONE_NEWUSER): refused by process")
    assert heard.stdout == b""
    assert (after.end, after.stdout) == ((0, "completed"), b"1\n")


async def test_a_language_has_its_own_policy_and_works_in_it(tmp_path: Path) -> None:
    require_tool("gcc")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "main.c").write_text('#include <stdio.h>\nint main(){puts("built");}')
    async with (
        runner(tmp_path, "c", "--jail=auto") as started,
        connected(started) as client,
    ):
        built = await client.run("build", "*")
        executed = await client.run("exec", "*")
        query = await client.run("code", '#include <stdio.h>\nint main(){puts("query");}')
        refused = await client.run("exec", UNSHARE)

    assert built.end == (0, "completed"), built.stderr
    assert executed.stdout.split() == [b"built"]
    assert query.stdout.split() == [b"query"]
    assert violations(refused)[0].endswith(SENTENCE.format("c"))


async def test_files_of_the_work_folder_and_temporary_ones_are_the_programs_own(
    python: tuple[RunnerProcess, Client],
) -> None:
    started, client = python
    code = "import tempfile\nwith tempfile.NamedTemporaryFile() as file: print(file.name)"

    made = await client.run("exec", "echo mine > made && mkdir -p a/b && mv made a/b/ && ls a/b")
    temporary = await client.run("code", code)
    outside = await client.run("exec", f"echo no > {started.folder}/other")

    assert made.stdout == b"made\n"
    assert re.match(rb"/.*/kernel-runner-\w+/tmp/tmp\w+\n$", temporary.stdout)
    assert outside.finish["exitCode"] != 0
    assert not (started.folder / "other").exists()


async def test_a_program_has_its_terminal_with_its_keys(
    python: tuple[RunnerProcess, Client],
) -> None:
    _, client = python
    tty = {"rows": 30, "cols": 90, "streams": ["stdin", "stdout", "stderr"]}

    heard = await client.run("exec", "stty size; echo to the terminal > /dev/tty", tty=tty)

    assert heard.stdout.split(b"\r\n") == [b"30 90", b"to the terminal", b""]


async def test_pictures_get_through_and_no_other_socket_does(
    python: tuple[RunnerProcess, Client],
) -> None:
    started, client = python
    shown = '{"data": {"text/plain": "a picture"}}'
    (started.work_dir / "show.py").write_text(
        "import os, socket\n"
        "def say(path, words):\n"
        "    with socket.socket(socket.AF_UNIX) as shown:\n"
        "        shown.connect(path); shown.sendall(words); shown.shutdown(1)\n"
        "        return shown.recv(9)\n"
        "try:\n"
        f"    say({started.addresses['session'].removeprefix('ipc://')!r}, b'')\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
        "for _ in range(20):\n"
        f"    said = say(os.environ['KERNEL_RUNNER_MEDIA'], {shown.encode()!r})\n"
        "print(said)\n"
    )

    heard = await client.run("exec", "*", sources=["show.py"])

    assert heard.stdout == b"13\nb'ok\\n'\n"
    assert len([event for event in heard.others if event.kind == "media"]) == 20
    assert len(violations(heard)) == 1
    assert "not in network.sockets" in violations(heard)[0]


async def test_limits_hold_in_a_jail_too(python: tuple[RunnerProcess, Client]) -> None:
    _, client = python

    cpu = await client.run("exec", "while :; do :; done", limits={"cpu_s": 0.3})
    files = await client.run("exec", "ulimit -n", limits={"open_files": 20})

    assert cpu.finish["reason"] == "cpu-limit"
    assert files.stdout == b"20\n"


async def test_input_that_a_program_waits_for_is_seen(
    python: tuple[RunnerProcess, Client],
) -> None:
    _, client = python

    await client.say("exec", "read line; echo got $line")
    await client.hear_until("waiting-input")
    await client.say("input", "words\n")
    heard = await client.hear_finish()

    assert b"got words" in heard.stdout


async def test_a_warden_that_was_killed_is_replaced(
    python: tuple[RunnerProcess, Client],
) -> None:
    started, client = python
    await client.run("code", "1")  # the interpreter runs, and the warden has its listener
    pids = [pid for pid in started.processes() if pid != started.process.pid]
    (warden,) = [pid for pid in pids if _listens(pid)]

    os.kill(warden, signal.SIGKILL)
    async with asyncio.timeout(10):
        while True:  # what started before it was gone fails
            heard = await client.run("exec", UNSHARE)
            if violations(heard):
                break

    assert violations(heard)[0].endswith(SENTENCE.format("python"))


def _listens(pid: int) -> bool:
    """Whether it holds the listener of a filter, as that of the interpreter."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has closed it meanwhile
            if "seccomp" in str(link.readlink()):
                return True
    return False


async def test_a_fork_bomb_meets_its_number_and_leaves_nothing(tmp_path: Path) -> None:
    policy = tmp_path / "own.yml"
    policy.write_text("extends: shell\nprocess: {max_processes: 20, max_threads: 40}\n")
    bomb = "for i in $(seq 60); do sleep 30 & done 2>/dev/null; jobs -p | wc -l"
    async with (
        runner(tmp_path, "shell", f"--jail={policy}") as started,
        connected(started) as client,
    ):
        heard = await client.run("exec", bomb, limits={"wall_s": 10})

        assert any("more than 20 processes" in one for one in violations(heard))
        await client.run("exec", "true")


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("nowhere", "jail: nowhere: no policy of this name in "),
        ("./no/such.yml", "jail: "),
    ],
)
async def test_a_policy_that_cannot_be_used_starts_nothing(
    tmp_path: Path, policy: str, said: str
) -> None:
    with pytest.raises(AssertionError, match=re.escape(said)):
        async with runner(tmp_path, "python", f"--jail={policy}"):
            pass
