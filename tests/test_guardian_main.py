"""A runner is started under its guardian; how both end, and what is left, is checked."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guarding import FAILURE_SECONDS, PROJECT, ends, watch

RUNNER = """
import marshal, os, signal, sys
from kernel_runner.guardian import main
from tests.guarding import spawn
def run(control):
    {body}
try:
    code = main(run)
finally:
    print("left", flush=True)
sys.exit(code)
"""


@contextmanager
def start_runner(body: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    script = RUNNER.format(body=body.strip().replace("\n", "\n    "))
    command = [sys.executable, "-c", script, *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as guarded:
        try:
            yield guarded
        finally:
            # after a failure; the runner is told to end with it
            guarded.kill()


def line_of(guarded: subprocess.Popen[str]) -> str:
    assert guarded.stdout is not None
    return guarded.stdout.readline()


def test_the_exit_code_is_that_of_the_runner_and_only_the_parent_cleans_up() -> None:
    with start_runner("print('unflushed', os.read(0, 1)); return 7") as guarded:
        assert guarded.communicate(timeout=FAILURE_SECONDS)[0] == "unflushed b''\nleft\n"
        assert guarded.returncode == 7


def test_an_error_of_the_runner_is_exit_code_1() -> None:
    body = "sys.stderr = sys.stdout; raise ValueError('told')"
    with start_runner(body) as guarded:
        printed, _ = guarded.communicate(timeout=FAILURE_SECONDS)

    assert "ValueError: told" in printed
    assert guarded.returncode == 1


TREE = """
for name in sys.argv[1:]:
    control.send(marshal.dumps(("remove", name)))
control.send(marshal.dumps(("forget", sys.argv[-1])))
program = spawn(control, ["sh", "-c", "setsid sleep 600 & echo $$ $!; wait"], {1: 1})
program.started()
# a process that the runner started by itself
own = __import__("subprocess").Popen(["sh", "-c", "sleep 600 & echo $!; wait"])
os.write(1, b"%d\\n" % os.getpid())  # whole, though others write there too
signal.pause()
"""


def test_nothing_is_left_of_a_killed_runner(tmp_path: Path) -> None:
    file, folder, link, kept = (tmp_path / name for name in ("file", "folder", "link", "kept"))
    (folder / "sub").mkdir(parents=True)
    file.touch()
    kept.mkdir()
    link.symlink_to(kept)
    paths = [str(path) for path in (file, folder, link, tmp_path / "missing", kept)]
    with start_runner(TREE, *paths) as guarded:
        lines = [line_of(guarded) for _ in range(3)]
        pids = [int(word) for line in lines for word in line.split()]
        assert len(pids) == 4, lines
        pidfds = [watch(pid) for pid in pids]
        runner = _child_of(guarded.pid, pids)
        os.kill(runner, signal.SIGKILL)

        assert guarded.wait(FAILURE_SECONDS) == 128 + signal.SIGKILL
        assert all(map(ends, pidfds))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]


def _child_of(parent: int, pids: list[int]) -> int:
    """The one among `pids` that `parent` has started itself."""
    for pid in pids:
        stat = Path(f"/proc/{pid}/stat").read_text()
        if int(stat.rpartition(")")[2].split()[1]) == parent:
            return pid
    raise AssertionError(f"none of {pids} is a child of {parent}")


HEAR_SIGNAL = """
numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print("ready", flush=True)
return signal.sigwait(numbers)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
def test_signals_to_the_guardian_reach_the_runner(name: str) -> None:
    with start_runner(HEAR_SIGNAL) as guarded:
        assert line_of(guarded) == "ready\n"
        guarded.send_signal(signal.Signals[name])

        assert guarded.wait(FAILURE_SECONDS) == signal.Signals[name]


def test_the_runner_is_asked_to_end_when_the_guardian_is_killed() -> None:
    body = "print(os.getpid(), flush=True); signal.pause()"
    with start_runner(body) as guarded:
        runner_end = watch(int(line_of(guarded)))
        guarded.kill()

        assert ends(runner_end)


def test_programs_do_not_see_the_end_of_a_runner_that_lives() -> None:
    body = """
control.close()
print("closed", flush=True)
return signal.sigwait([signal.SIGTERM])
"""
    body = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n" + body.strip()
    with start_runner(body) as guarded:
        assert line_of(guarded) == "closed\n"
        guarded.send_signal(signal.SIGTERM)

        assert guarded.wait(FAILURE_SECONDS) == signal.SIGTERM
