"""Programs come one by one and at once; which keepers they have, and what is left of those."""

import os
import signal
import socket
import sys
from pathlib import Path

from tests.guarding import Kept, Pipe, ends, output_of, read_until, spawn, start_guardian, watch


def keeper_of_next(control: socket.socket) -> int:
    """Run a program to its end; the pid of its keeper, which is free then."""
    printed, _, _ = output_of(control, ["sh", "-c", "echo $PPID"])
    return int(printed)


def descriptors(pid: int) -> list[str]:
    return sorted(fd.name for fd in Path(f"/proc/{pid}/fd").iterdir())


def test_programs_one_after_another_have_the_same_keeper(control: socket.socket) -> None:
    assert len({keeper_of_next(control) for _ in range(5)}) == 1


def test_a_keeper_is_free_again_after_a_start_that_failed(control: socket.socket) -> None:
    keeper = keeper_of_next(control)
    with spawn(control, ["no-such-program"]) as program:
        assert program.hear() == ("failed", 2, "no-such-program")
        assert program.hear() is None

    assert keeper_of_next(control) == keeper


def test_programs_at_the_same_time_have_a_keeper_each_and_one_stays(
    control: socket.socket, pipe: Pipe
) -> None:
    programs = [
        spawn(control, ["sh", "-c", "echo $PPID; exec sleep 600"], {1: pipe.write_fd})
        for _ in range(4)
    ]
    keepers = pipe.pids(4)
    pidfds = {keeper: watch(keeper) for keeper in keepers}
    for program in programs:
        program.say("sweep")
        program.hear_until("ended")
        program.socket.close()
    free = keeper_of_next(control)

    assert len(set(keepers)) == 4
    assert free in keepers
    assert all(ends(pidfd) for keeper, pidfd in pidfds.items() if keeper != free)
    os.close(pidfds[free])


def test_a_keeper_whose_program_left_others_behind_is_not_free(
    control: socket.socket, pipe: Pipe
) -> None:
    with spawn(control, ["sh", "-c", "sleep 600 & echo $PPID"], {1: pipe.write_fd}) as program:
        (keeper,) = pipe.pids(1)
        program.hear_until("exited")
        other = keeper_of_next(control)

    assert other != keeper


def test_each_program_has_its_own_terminal(control: socket.socket) -> None:
    keepers = []
    for word in ("one", "two", "three"):
        master, slave = os.openpty()
        script = f"echo $PPID; echo {word} > /dev/tty"
        with spawn(
            control, ["sh", "-c", script], dict.fromkeys((0, 1, 2), slave), terminal=0
        ) as program:
            seen = read_until(master, word.encode())
            program.hear_until("ended")
        os.close(slave)
        os.close(master)
        keepers.append(seen.split()[0])

    assert len(set(keepers)) == 1


def test_a_program_after_one_with_a_terminal_has_none(control: socket.socket) -> None:
    master, slave = os.openpty()
    with spawn(control, ["true"], {0: slave}, terminal=0) as program:
        program.hear_until("ended")

    _, status, _ = output_of(control, ["sh", "-c", "true < /dev/tty"], env={"PATH": "/bin"})

    os.close(slave)
    os.close(master)
    assert status != 0


def test_a_terminal_that_is_gone_does_not_hold_its_keeper(control: socket.socket) -> None:
    keeper = keeper_of_next(control)
    master, slave = os.openpty()
    with spawn(control, ["sleep", "600"], {0: slave}, terminal=0) as program:
        program.started()
        os.close(slave)
        os.close(master)
        program.say("sweep")
        program.hear_until("ended")

    assert keeper_of_next(control) == keeper


def test_usage_is_that_of_one_program(control: socket.socket) -> None:
    hungry = "x = b'x' * 80_000_000\nimport time\nwhile time.process_time() < 0.3: pass"
    _, _, first = output_of(control, [sys.executable, "-c", hungry])
    _, _, second = output_of(control, ["true"])

    assert first[2] >= 0.3 > second[2]
    assert first[3] >= 80_000_000 > second[3]


def test_a_keeper_holds_nothing_of_the_programs_it_had(control: socket.socket, pipe: Pipe) -> None:
    keeper = keeper_of_next(control)
    held = descriptors(keeper)
    for _ in range(20):
        assert keeper_of_next(control) == keeper
    with spawn(control, ["true"], {1: pipe.write_fd, 5: pipe.read_fd}) as program:
        program.hear_until("ended")
        assert program.hear() is None
    pipe.close_write_end()
    pipe.read_to_end()

    assert descriptors(keeper) == held


def test_a_keeper_holds_nothing_of_the_others(control: socket.socket, pipe: Pipe) -> None:
    with spawn(control, ["sleep", "600"], {1: pipe.write_fd}) as program:
        program.started()
        keeper_of_next(control)
        program.say("sweep")
        program.hear_until("ended")
        assert program.hear() is None
    pipe.close_write_end()

    pipe.read_to_end()


def test_a_free_keeper_that_was_killed_is_replaced(control: socket.socket) -> None:
    keeper = keeper_of_next(control)
    keeper_end = watch(keeper)
    os.kill(keeper, signal.SIGKILL)
    assert ends(keeper_end)

    assert keeper_of_next(control) != keeper


def test_signals_to_a_free_keeper_reach_neither_it_nor_its_next_program(
    control: socket.socket,
) -> None:
    keeper = keeper_of_next(control)
    names = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "PIPE", "ALRM")
    for name in names:
        os.kill(keeper, signal.Signals[f"SIG{name}"])

    assert keeper_of_next(control) == keeper


def test_a_free_keeper_that_was_stopped_goes_on(control: socket.socket) -> None:
    keeper = keeper_of_next(control)
    os.kill(keeper, signal.SIGSTOP)

    assert keeper_of_next(control) == keeper


def test_a_free_keeper_ends_with_its_guardian_however_that_ends() -> None:
    for number in (None, signal.SIGKILL):
        with start_guardian() as (control, process):
            keeper_end = watch(keeper_of_next(control))
            if number is not None:
                process.send_signal(number)
                assert ends(keeper_end)
        if number is None:
            assert ends(keeper_end)


def test_a_keeper_with_a_program_serves_on_when_its_guardian_is_killed(pipe: Pipe) -> None:
    with start_guardian() as (control, process):
        program: Kept = spawn(control, ["sh", "-c", "echo $PPID; read x"], {0: pipe.read_fd})
        program.started()
        process.kill()
        process.wait()
        os.write(pipe.write_fd, b"\n")

        assert program.hear_until("ended")
        assert program.hear() is None
        program.socket.close()


def test_many_programs_leave_their_keeper_as_small_as_it_was(
    control: socket.socket,
) -> None:
    keeper = keeper_of_next(control)
    for count in range(500):
        with spawn(control, ["true"]) as program:
            program.hear_until("ended")
        if count == 100:
            before = _resident_pages(keeper)

    assert keeper_of_next(control) == keeper
    assert _resident_pages(keeper) < before + 100


def _resident_pages(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
