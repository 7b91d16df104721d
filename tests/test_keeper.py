"""Programs leave processes behind; that none of them lasts is checked."""

import os
import signal
import socket
import subprocess
import sys

from tests.guarding import FAILURE_SECONDS, Pipe, ends, guardian, output_of, spawn, watch


def test_a_signal_to_the_program_leaves_its_children_alone(
    control: socket.socket, pipe: Pipe
) -> None:
    with spawn(control, ["sh", "-c", "sleep 600 & echo $!; wait"], {1: pipe.write_fd}) as program:
        program.started()
        (child,) = pipe.pids(1)
        child_end = watch(child)
        program.say("signal", signal.SIGTERM, "program")
        exited = program.hear()
        program.say("signal", signal.SIGTERM, "group")
        ended = program.hear()

    assert exited == ("exited", signal.SIGTERM, True)
    assert ended[:2] == ("ended", [])
    assert ends(child_end)


def test_a_signal_to_the_tree_reaches_other_sessions(control: socket.socket, pipe: Pipe) -> None:
    with spawn(
        control, ["sh", "-c", "setsid sleep 600 & echo $!; trap '' TERM; wait"], {1: pipe.write_fd}
    ) as program:
        program.started()
        (child,) = pipe.pids(1)
        child_end = watch(child)
        # until setsid has become sleep, the group of the shell is its own too
        program.say("signal", signal.SIGTERM, "tree")

        assert ends(child_end)
        assert program.hear_until("ended")


def test_a_signal_to_nobody_is_no_error(control: socket.socket, pipe: Pipe) -> None:
    with spawn(control, ["sh", "-c", "setsid sleep 600 & echo $!"], {1: pipe.write_fd}) as program:
        program.hear_until("exited")
        for scope in ("program", "group"):
            program.say("signal", signal.SIGKILL, scope)
        program.say("sweep")

        assert program.hear_until("ended")


def test_background_processes_are_reported_swept_and_named(
    control: socket.socket, pipe: Pipe
) -> None:
    with spawn(control, ["sh", "-c", "sleep 600 & echo $!"], {1: pipe.write_fd}) as program:
        program.started()
        (child,) = pipe.pids(1)
        child_end = watch(child)
        exited = program.hear()
        program.say("sweep")
        _, names, *_ = program.hear()

    assert exited == ("exited", 0, True)
    assert names in ([f"sleep ({child})"], [f"sh ({child})"])
    assert ends(child_end)


def test_who_is_swept_together_with_the_program_is_not_named(
    control: socket.socket, pipe: Pipe
) -> None:
    with spawn(control, ["sh", "-c", "sleep 600 & echo $!; wait"], {1: pipe.write_fd}) as program:
        program.started()
        pipe.pids(1)
        program.say("sweep")
        exited = program.hear()
        ended = program.hear()

    assert exited[:2] == ("exited", signal.SIGKILL)
    assert ended[:2] == ("ended", [])


DAEMON = """
import os, signal
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
print(os.getpid(), flush=True)
signal.pause()
"""


def test_a_daemon_belongs_to_its_program_and_is_swept(control: socket.socket, pipe: Pipe) -> None:
    with (
        spawn(control, [sys.executable, "-c", DAEMON], {1: pipe.write_fd}) as program,
        spawn(control, ["sleep", "600"]) as other,
    ):
        assert program.hear_until("exited") == ("exited", 0, True)
        (daemon,) = pipe.pids(1)
        daemon_end = watch(daemon)
        program.say("sweep")
        _, names, *_ = program.hear_until("ended")
        other.started()
        other.say("signal", signal.SIGTERM, "program")

        assert [name.partition(" ")[2] for name in names] == [f"({daemon})"]
        assert ends(daemon_end)
        assert other.hear() == ("exited", signal.SIGTERM, False)


def test_a_background_process_that_ends_by_itself_ends_the_tree(
    control: socket.socket, pipe: Pipe
) -> None:
    with spawn(control, ["sh", "-c", "read line <&3 &"], {3: pipe.read_fd}) as program:
        assert program.hear_until("exited") == ("exited", 0, True)
        os.write(pipe.write_fd, b"\n")

        assert program.hear()[:2] == ("ended", [])


def test_usage_includes_children(control: socket.socket) -> None:
    hungry = "x = b'x' * 80_000_000\nimport time\nwhile time.process_time() < 0.3: pass"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hungry!r}])"

    _, _, ended = output_of(control, [sys.executable, "-c", script])

    _, _, cpu_seconds, max_rss_bytes, _ = ended
    assert 0.3 <= cpu_seconds < FAILURE_SECONDS
    assert 80_000_000 <= max_rss_bytes < 500_000_000


BOMB = """
import os, signal
for depth in range(6):
    os.fork()
    os.setsid() if os.getpgid(0) != os.getpid() else None
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b'.')
signal.pause()
"""


def test_a_fork_bomb_is_swept(control: socket.socket, pipe: Pipe) -> None:
    with spawn(control, [sys.executable, "-c", BOMB], {1: pipe.write_fd}) as program:
        pipe.close_write_end()
        program.started()
        pipe.read_until(b".")
        program.say("sweep")
        program.hear_until("ended")

    pipe.read_to_end()


PHOENIX = """
import os, signal
os.fork()
os.fork()
while os.fork():
    os.wait()
os.write(1, b'.')
signal.pause()
"""


def test_processes_that_start_others_when_one_dies_are_swept(
    control: socket.socket, pipe: Pipe
) -> None:
    with spawn(control, [sys.executable, "-c", PHOENIX], {1: pipe.write_fd}) as program:
        pipe.close_write_end()
        program.started()
        pipe.read_until(b".")
        program.say("sweep")
        program.hear_until("ended")

    pipe.read_to_end()


def test_the_tree_ends_when_the_runner_lets_go_of_the_keeper(
    control: socket.socket, pipe: Pipe
) -> None:
    with spawn(
        control, ["sh", "-c", "setsid sleep 600 & echo $$ $!; wait"], {1: pipe.write_fd}
    ) as program:
        program.started()
        pidfds = [watch(pid) for pid in pipe.pids(2)]

    assert all(map(ends, pidfds))


def test_a_killed_keeper_takes_its_whole_tree_with_it(control: socket.socket, pipe: Pipe) -> None:
    script = "setsid sleep 600 & echo $PPID $$ $!; wait"
    with (
        spawn(control, ["sh", "-c", script], {1: pipe.write_fd}) as program,
        spawn(control, ["sleep", "600"]) as other,
    ):
        program.started()
        other.started()
        keeper, *rest = pipe.pids(3)
        pidfds = [watch(pid) for pid in rest]
        os.kill(keeper, signal.SIGKILL)

        assert program.hear() is None
        assert all(map(ends, pidfds))
        other.say("signal", signal.SIGTERM, "program")
        assert other.hear() == ("exited", signal.SIGTERM, False)


def test_signals_from_the_program_do_not_end_its_keeper(control: socket.socket) -> None:
    script = "for s in HUP INT QUIT TERM USR1 USR2 PIPE ALRM; do kill -$s $PPID; done; exit 5"
    with spawn(control, ["sh", "-c", script]) as program:
        assert program.hear_until("exited") == ("exited", 5 << 8, False)


def test_the_guardian_ends_everything_at_the_end_of_its_control_socket(pipe: Pipe) -> None:
    with guardian() as control:
        program = spawn(
            control, ["sh", "-c", "setsid sleep 600 & echo $$ $!; wait"], {1: pipe.write_fd}
        )
        program.started()
        pidfds = [watch(pid) for pid in pipe.pids(2)]

    with program:
        assert all(map(ends, pidfds))


def test_a_keeper_leaves_in_silence_when_its_guardian_left_without_reading_its_answer() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.send(b"free")
    ours.close()
    words = "import socket, sys; from kernel_runner.keeper import serve_orders;"
    words += " serve_orders(socket.socket(fileno=int(sys.argv[1])), [])"

    with theirs:
        done = subprocess.run(
            [sys.executable, "-c", words, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            capture_output=True,
        )

    assert (done.returncode, done.stderr) == (0, b"")
