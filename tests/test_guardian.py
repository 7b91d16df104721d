"""Programs go to a real guardian; how they start, or why not, is checked."""

import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.guarding import Pipe, guardian, output_of, read_until, spawn

ECHO = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ.get('X'), os.getcwd()]))"


def test_the_output_of_a_program_arrives_through_a_passed_pipe(control: socket.socket) -> None:
    printed, status, ended = output_of(control, ["echo", "hello"])

    assert printed == b"hello\n"
    assert status == 0
    assert ended[:2] == ["ended", []]


def test_messages_come_in_order_and_end_with_end_of_file(control: socket.socket) -> None:
    with spawn(control, ["sh", "-c", "exit 3"]) as program:
        kinds = [program.hear()[0] for _ in range(3)]

        assert kinds == ["started", "exited", "ended"]
        assert program.hear() is None


def test_exit_status_is_the_one_of_waitpid(control: socket.socket) -> None:
    with spawn(control, ["sh", "-c", "exit 42"]) as program:
        assert program.hear_until("exited") == ("exited", 42 << 8, False)


def test_death_by_signal_is_reported_as_such(control: socket.socket) -> None:
    with spawn(control, ["sh", "-c", "kill -SEGV $$"]) as program:
        _, status, _ = program.hear_until("exited")

    assert os.WTERMSIG(status) == signal.SIGSEGV


@pytest.mark.parametrize(
    ("argv", "cwd", "failure"),
    [
        (["no-such-program"], "/", ("failed", 2, "no-such-program")),
        (["/etc/passwd"], "/", ("failed", 13, "/etc/passwd")),
        (["true"], "/no/such/folder", ("failed", 2, "/no/such/folder")),
        (["true", "a\0b"], "/", ("failed", 22, "true")),
        (["true", "x" * 2**18], "/", ("failed", 7, "true")),
    ],
    ids=["not found", "no permission", "no folder", "a NUL", "an argument too long"],
)
def test_a_failed_start_names_the_reason_and_the_thing(
    control: socket.socket, argv: list[str], cwd: str, failure: tuple[str, int, str]
) -> None:
    with spawn(control, argv, cwd=cwd) as program:
        assert program.hear() == failure
        assert program.hear() is None


def test_words_arrive_unchanged(control: socket.socket, tmp_path: Path) -> None:
    words = ["a b", "\"'$x\n", "", "\udcff\udc80", "\u00fc\U0001f600"]
    environment = {"X": "spaces 'quotes' \udcff", "PATH": os.environ["PATH"]}

    printed, status, _ = output_of(
        control, [sys.executable, "-c", ECHO, *words], env=environment, cwd=str(tmp_path)
    )

    assert status == 0
    assert json.loads(printed) == [words, environment["X"], str(tmp_path)]


def test_a_megabyte_of_arguments_and_environment_arrives(control: socket.socket) -> None:
    words = ["x" * 100_000] * 5
    environment = {f"X{n}": "y" * 100_000 for n in range(5)} | {"PATH": os.environ["PATH"]}
    script = "import os, sys; print(sum(map(len, sys.argv)), sum(map(len, os.environ.values())))"

    printed, _, _ = output_of(control, [sys.executable, "-c", script, *words], env=environment)

    arguments_length, environment_length = map(int, printed.split())
    assert arguments_length >= 500_000
    assert environment_length >= 500_000


def test_programs_are_found_on_the_path_of_their_own_environment(
    control: socket.socket, tmp_path: Path
) -> None:
    tool = tmp_path / "my-tool"
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)

    printed, _, _ = output_of(control, ["my-tool"], env={"PATH": f"/nowhere:{tmp_path}"})

    assert printed == b"found\n"


def test_a_program_has_no_descriptors_but_its_own(control: socket.socket, pipe: Pipe) -> None:
    script = "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"
    with spawn(
        control,
        [sys.executable, "-c", script],
        {1: pipe.write_fd, 2: pipe.write_fd, 7: pipe.read_fd},
    ) as program:
        pipe.close_write_end()
        program.hear_until("ended")

    # the last one is that of the listing itself
    assert os.read(pipe.read_fd, 100) == b"[0, 1, 2, 3, 7]\n"


def test_descriptors_may_swap_their_numbers(control: socket.socket) -> None:
    one_read, one_write = os.pipe()
    two_read, two_write = os.pipe()
    # the guardian's own numbers for these are small as well and overlap with the targets
    targets = dict.fromkeys(range(3, 20), two_write) | {1: one_write, 0: two_read}
    with spawn(control, ["sh", "-c", "echo one; echo two >&9"], targets) as program:
        program.hear_until("ended")

    assert os.read(one_read, 100) == b"one\n"
    assert os.read(two_read, 100) == b"two\n"
    for fd in (one_read, one_write, two_read, two_write):
        os.close(fd)


def test_a_program_is_the_foreground_of_its_terminal_and_its_keeper_leads_the_session(
    control: socket.socket,
) -> None:
    master, slave = os.openpty()
    with spawn(
        control,
        ["sh", "-c", "ps -o pid=,pgid=,sid=,tpgid= -p $$ && echo via tty > /dev/tty"],
        dict.fromkeys((0, 1, 2), slave),
        terminal=0,
    ) as program:
        pid = program.started()
        seen = read_until(master, b"via tty")
        program.hear_until("ended")
    os.close(master)
    os.close(slave)

    process, group, session, foreground = (int(word) for word in seen.split()[:4])
    assert process == group == foreground == pid
    assert session != pid


def test_ignored_and_blocked_signals_are_not_inherited() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with guardian() as control:
            printed, _, _ = output_of(control, ["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"])
            interrupted, status, _ = output_of(control, ["sh", "-c", "kill -INT $$; echo alive"])
    finally:
        signal.signal(signal.SIGINT, before)

    of_the_c_library = 0b11 << 31  # 32 and 33, which GNU make hands down ignored
    masks = [int(line.split()[1], 16) & ~of_the_c_library for line in printed.splitlines()]
    assert masks == [0, 0]
    assert (interrupted, os.WTERMSIG(status)) == (b"", signal.SIGINT)


def test_limits_are_set_and_clipped_to_what_is_allowed(control: socket.socket) -> None:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    rlimits = {resource.RLIMIT_CPU: 7, resource.RLIMIT_NOFILE: allowed + 1}

    printed, _, _ = output_of(
        control, ["sh", "-c", "ulimit -Ht; ulimit -St; ulimit -n"], rlimits=rlimits
    )

    assert printed.split() == [b"7", b"7", str(allowed).encode()]
