"""`kernel-jail run`: exit codes, signals, the terminal, and that nothing is left."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pexpect
import pytest

from kernel_runner.jail import tree

COMMAND: Final = (sys.executable, "-m", "kernel_runner.jail")
PROJECT: Final = Path(__file__).parents[2]
ENV: Final = {**os.environ, "PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin"}
SECONDS: Final = 20.0


def run(*words: str, work: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *words],
        cwd=work,
        env={**ENV, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@contextmanager
def running(
    script: str, work: Path, options: Sequence[str] = ()
) -> Iterator["subprocess.Popen[str]"]:
    """A shell script that has printed its first line."""
    with subprocess.Popen(
        [*COMMAND, "run", *options, "--", "sh", "-c", script],
        cwd=work,
        env=ENV,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None, "it is a pipe"
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def until_gone(pids: Sequence[int]) -> None:
    """Wait for the end of all; fails when one goes on."""
    for pid in pids:
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        gone = select.select([pidfd], [], [], SECONDS)[0]
        os.close(pidfd)
        assert gone, f"{pid} goes on"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
        ("(sleep 60 & exit 5)", 5),
        ("exec /nonesuch 2>/dev/null", 127),
    ],
)
def test_the_exit_code_is_the_commands_own(script: str, code: int, work: Path) -> None:
    assert run("run", "--", "sh", "-c", script, work=work).returncode == code


def test_a_program_that_does_not_exist_is_127(work: Path) -> None:
    ended = run("run", "--", "nonesuch", work=work)

    assert (ended.returncode, ended.stderr) == (127, "kernel-jail: nonesuch: no such program\n")


def test_a_file_that_is_not_executable_is_126(work: Path) -> None:
    ended = run("run", "--", "/etc/passwd", work=work)

    assert ended.returncode == 126
    assert ended.stderr == "kernel-jail: /etc/passwd: /etc/passwd is not executable\n"


def test_a_program_outside_of_what_may_be_executed_is_126(work: Path) -> None:
    program = work / "own"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o755)

    ended = run("run", "--policy", str(_policy(work, "execute: !reset [/usr]")), "--", str(program),
                work=work)  # fmt: skip

    assert (ended.returncode, ended.stdout) == (126, "")
    assert "is not in files.execute of" in ended.stderr


def test_a_script_with_a_forbidden_interpreter_is_126(work: Path) -> None:
    script = work / "script"
    script.write_text(f"#!{work}/interpreter\n")
    script.chmod(0o755)
    (work / "interpreter").symlink_to("/bin/sh")
    policy = _policy(work, f"execute: !reset ['{{program}}', {work}/other]")

    ended = run("run", "--policy", str(policy), "--", "./script", work=work)

    assert (ended.returncode, ended.stdout) == (126, "")
    assert "its interpreter" in ended.stderr


def _policy(work: Path, files: str, more: str = "") -> Path:
    path = work.parent / "own.yml"
    path.write_text(f"extends: default\nfiles: {{{files}}}\n{more}")
    return path


def test_a_policy_that_cannot_be_read_is_125_and_nothing_runs(work: Path) -> None:
    ended = run("run", "--policy", "./nonesuch.yml", "--", "touch", "ran", work=work)

    assert (ended.returncode, ended.stderr) == (
        125,
        "kernel-jail: ./nonesuch.yml: No such file or directory\n",
    )
    assert not (work / "ran").exists()


def test_a_system_folder_is_no_work_directory() -> None:
    ended = run("run", "--", "true", work=Path("/etc"))

    assert ended.returncode == 125
    assert ended.stderr == ("kernel-jail: /etc is never writable: choose another work directory\n")


def test_what_the_kernel_lacks_is_named_and_nothing_runs(work: Path) -> None:
    words = ("run", "--landlock-abi", "3", "--strict", "--", "touch", "ran")

    ended = run(*words, work=work)

    assert ended.returncode == 125
    assert "require.landlock: it has ABI 3, not 6" in ended.stderr
    assert not (work / "ran").exists()


def test_with_best_effort_it_is_named_and_the_program_runs(work: Path) -> None:
    ended = run("run", "--landlock-abi", "3", "--", "echo", "ran", work=work)

    assert (ended.returncode, ended.stdout) == (0, "ran\n")
    assert "not enforced here: require.landlock: it has ABI 3, not 6" in ended.stderr


def test_a_path_of_the_policy_that_does_not_exist_is_told_by_check(work: Path) -> None:
    ended = run("check", str(_policy(work, "read: [/nonesuch]")), work=work)

    assert ended.returncode == 0
    assert "/nonesuch does not exist here; it is left out" in ended.stdout


def test_out_of_time_is_124(work: Path) -> None:
    policy = _policy(work, "", "limits: {wall: 300 ms}")

    ended = run("run", "--policy", str(policy), "--", "sleep", "60", work=work)

    assert ended.returncode == 124
    assert ended.stderr == f"kernel-jail: ended after 0.3 s, limits.wall of {policy}\n"


def test_a_violation_that_ends_the_program_is_159(work: Path) -> None:
    policy = _policy(work, "", "on_violation: kill")

    ended = run("run", "--policy", str(policy), "--", "unshare", "-U", "touch", "ran", work=work)

    assert ended.returncode == 159
    assert "unshare(CLONE_NEWUSER): refused by process: no namespaces" in ended.stderr
    assert not (work / "ran").exists()


def test_a_report_is_one_json_line(work: Path) -> None:
    ended = run("run", "--json", "--paths", "--", "cat", "/etc/shadow", work=work)

    lines = [one for one in ended.stderr.splitlines() if one.startswith("{")]
    record = json.loads(lines[0])
    assert len(lines) == 1
    assert record.pop("pid") > 0
    assert record.pop("args")
    assert record == {
        "v": 1,
        "event": "violation",
        "rule": "files.read",
        "policy": "jail-policies/default.yml",
        "syscall": "openat",
        "path": "/etc/shadow",
        "comm": "cat",
        "action": "EACCES",
        "count": 1,
        "sentence": "openat /etc/shadow for reading: not in files.read (jail-policies/default.yml)",
        "hint": "",
    }


def test_control_characters_cannot_forge_a_report(work: Path) -> None:
    # a name that the shell would not print, of a file that exists
    folder = work.parent / "a\n\x1b[31mkernel-jail: fine"
    folder.mkdir()
    (folder / "file").touch()

    ended = run("run", "--paths", "--", "sh", "-c", ': < "$0"', str(folder / "file"), work=work)

    ours = [line for line in ended.stderr.splitlines() if line.startswith("kernel-jail: ")]
    assert len(ours) == 1
    assert "a\\n\\x1b[31mkernel-jail: fine/file for reading" in ours[0]


def test_the_environment_is_that_of_the_policy(work: Path) -> None:
    ended = run("run", "--", "env", work=work, SECRET="x", LC_ALL="C", HOME="/h")

    names = {line.partition("=")[0] for line in ended.stdout.splitlines()}
    assert {"LC_ALL", "HOME", "PATH", "TMPDIR"} <= names
    assert "SECRET" not in names
    assert "PYTHONPATH" not in names


def test_the_folder_for_temporary_files_is_removed(work: Path) -> None:
    script = "touch $TMPDIR/x; mkdir -p $TMPDIR/a/b; chmod 0 $TMPDIR/a; echo $TMPDIR"

    ended = run("run", "--", "sh", "-c", script, work=work)

    assert not Path(ended.stdout.strip()).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_reaches_the_program(number: signal.Signals, work: Path) -> None:
    script = f"trap 'exit 9' {number.name[3:]}; echo; while :; do sleep 0.05; done"
    with running(script, work) as process:
        process.send_signal(number)

        assert process.wait(SECONDS) == 9


def test_what_the_program_leaves_behind_ends_with_it(work: Path) -> None:
    script = "setsid sh -c 'sleep 1000 & echo $! $$; wait' & sleep 0.3; exit 3"
    with running(f"echo; {script}", work) as process:
        assert process.stdout is not None, "it is a pipe"
        pids = [int(word) for word in process.stdout.readline().split()]

        assert process.wait(SECONDS) == 3
        assert len(pids) == 2
        until_gone(pids)


@pytest.mark.parametrize("whom", ["front", "supervisor"])
def test_the_tree_ends_when_the_jail_is_killed(whom: str, work: Path) -> None:
    script = "setsid sh -c '(sleep 1000 & sleep 1000) & exec sleep 1000' & echo; exec sleep 1000"
    with running(script, work) as process:
        pids = _grown(process.pid, 5)
        supervisor = min(pids)

        os.kill(process.pid if whom == "front" else supervisor, signal.SIGKILL)

        until_gone(pids)
        assert process.wait(SECONDS) in (-9, 137)


def _grown(root: int, size: int) -> list[int]:
    """The processes below, once there are so many."""
    end_at = time.monotonic() + SECONDS
    while time.monotonic() < end_at:
        if len(found := list(tree.below(root))) >= size:
            return found
        select.select([], [], [], 0.01)
    raise AssertionError(f"only {found}")


def test_the_program_has_the_terminal(work: Path) -> None:
    words = ["run", "--", "sh", "-c", "test -t 0 && stty size && read line && echo got $line"]
    terminal = pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], *words], cwd=str(work), env=ENV, dimensions=(17, 43), timeout=20
    )

    terminal.expect("17 43")
    terminal.sendline("a word")
    terminal.expect("got a word")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_ctrl_c_reaches_the_program_once(work: Path) -> None:
    script = "trap 'echo interrupted' INT; echo ready; sleep 0.4; sleep 0.4; echo end"
    terminal = pexpect.spawn(
        COMMAND[0], [*COMMAND[1:], "run", "--", "bash", "-c", script], cwd=str(work), env=ENV,
        timeout=20,
    )  # fmt: skip
    terminal.expect("ready")

    terminal.sendintr()
    terminal.expect("end")
    terminal.close()

    assert terminal.before is not None
    assert terminal.before.count(b"interrupted") == 1


def test_a_stopped_program_stops_the_command_and_goes_on_with_it(work: Path) -> None:
    with running("echo; kill -STOP $$; exit 4", work) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)

        process.send_signal(signal.SIGCONT)

        assert process.wait(SECONDS) == 4


def test_without_a_listener_the_same_is_refused_in_silence(work: Path) -> None:
    script = "unshare -U true; cat /etc/shadow; exit 6"

    ended = run("run", "--static", "--", "sh", "-c", script, work=work)

    assert ended.returncode == 6
    assert "kernel-jail" not in ended.stderr
    assert ended.stderr.count("Operation not permitted") == 1
    assert ended.stderr.count("Permission denied") == 1


def test_a_jail_with_a_listener_works_inside_of_one_without(work: Path) -> None:
    inside = [*COMMAND, "run", "--", "chmod", "600", "/etc/passwd"]

    ended = run("run", "--static", "--policy", "runner", "--", *inside, work=work)

    assert ended.returncode == 1
    assert "/etc/passwd: not in files.write (jail-policies/default.yml)" in ended.stderr


def test_the_runner_works_in_its_policy(work: Path) -> None:
    (work / "hello.py").write_text("print(6 * 7)")
    runner = [sys.executable, "-m", "kernel_runner", "run", "hello.py"]

    ended = run("run", "--static", "--policy", "runner", "--", *runner, work=work, HOME=str(work))

    assert (ended.stdout, ended.returncode) == ("42\n", 0), ended.stderr


def test_learn_prints_the_policy_that_then_suffices(work: Path) -> None:
    program = ("cat", "/etc/machine-id", "/etc/shells")
    learned = run("learn", "--", *program, work=work)
    policy = work.parent / "learned.yml"
    policy.write_text(learned.stderr)

    ended = run("run", "--policy", str(policy), "--paths", "--", *program, work=work)

    assert "- /etc/shells  # used" in learned.stderr
    assert ended.stdout == learned.stdout
    assert "not in files" not in ended.stderr


def test_doctor_says_what_holds_here(work: Path) -> None:
    ended = run("doctor", work=work)

    assert ended.returncode == 0
    assert "seccomp filter for" in ended.stdout


@pytest.mark.parametrize("words", [(), ("--help",), ("run", "--help")])
def test_help_is_printed(words: tuple[str, ...], work: Path) -> None:
    assert "usage: kernel-jail run" in run(*words, work=work).stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run",), "no command"),
        (("run", "--polcy", "x", "--", "true"), "no option --polcy"),
        (("run", "--policy"), "--policy needs a value"),
        (("walk",), "walk: see kernel-jail --help"),
    ],
)
def test_a_wrong_command_line_is_125(words: tuple[str, ...], sentence: str, work: Path) -> None:
    ended = run(*words, work=work)

    assert ended.returncode == 125
    assert sentence in ended.stderr


@pytest.mark.parametrize("name", ["json", "shutil", "struct", "select"])
def test_modules_in_the_work_directory_are_never_those_of_the_jail(name: str, work: Path) -> None:
    stolen = work.parent / "stolen"
    (work / f"{name}.py").write_text(f"open({str(stolen)!r}, 'w')\nraise SystemExit(3)\n")
    script = "touch $TMPDIR/x; unshare -U true; exit 4"

    ended = run("run", "--json", "--", "sh", "-c", script, work=work)
    searched = run("run", "--json", "--", "sh", "-c", script, work=work, PYTHONPATH=f"{PROJECT}::")

    assert (ended.returncode, searched.returncode) == (4, 4)
    assert not stolen.exists()


def test_the_start_loads_little_and_nothing_else_of_the_project() -> None:
    code = (
        "import sys; from kernel_runner.jail.__main__ import main; import kernel_runner.jail.run, "
        "kernel_runner.jail.supervisor, kernel_runner.jail.warden; print(*sys.modules)"
    )

    printed = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )

    loaded = printed.stdout.split()
    own = {name for name in loaded if name.startswith("kernel_runner")}
    assert {name for name in own if not name.startswith("kernel_runner.jail")} == {"kernel_runner"}
    dear = {"argparse", "asyncio", "json", "msgspec", "pathlib", "re", "signal", "socket", "typing",
            "yaml"}  # fmt: skip
    assert not dear & set(loaded)
