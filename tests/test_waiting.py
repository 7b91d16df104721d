"""Programs that wait for their input, and others that do not, are told apart from outside."""

import os
import pty
import socket
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import run
from typing import Final

import pytest

from tests.guarding import FAILURE_SECONDS, Kept, guardian, read_until, spawn
from tests.tools import require_tool

PYTHON: Final = [sys.executable, "-u", "-c"]
ASYNCIO: Final = """
import asyncio, sys
async def main():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.readline()
asyncio.run(main())
"""
LOOKS: Final = 200  # more than a start takes
READLINE: Final = "require('readline').createInterface({input: process.stdin}).on('line', () => 0)"
READ_SYNC: Final = "require('fs').readSync(0, Buffer.alloc(10))"
THREAD: Final = "import threading, time; threading.Thread(target=input).start(); time.sleep(600)"
SELECT: Final = "import select; select.select([0], [], [])"
POLL: Final = "import select; p = select.poll(); p.register(0, select.POLLIN); p.poll()"

READERS: Final = {
    "python input": [*PYTHON, "input('? ')"],
    "python thread": [*PYTHON, THREAD],
    "sh read": ["dash", "-c", "read line"],
    "bash read": ["bash", "-c", "read line"],
    "perl": ["perl", "-e", "<STDIN>"],
    "node read": ["node", "-e", READ_SYNC],
    "cat | cat": ["sh", "-c", "cat | cat"],
    "child of a child": ["sh", "-c", "(cat <&3; true); true"],
}
EVENT_LOOPS: Final = {
    "python asyncio": [*PYTHON, ASYNCIO],
    "python select": [*PYTHON, SELECT],
    "python poll": [*PYTHON, POLL],
    "node readline": ["node", "-e", READLINE],
}
OTHERS: Final = {
    "sleeps": ["sleep", "600"],
    "computes": ["sh", "-c", "while :; do :; done"],
    "reads a pipe": ["sh", "-c", "sleep 600 | cat"],
    "waits for a pipe": [
        *PYTHON,
        "import os, select; r, w = os.pipe(); select.select([r], [], [0])",
    ],
    "waits for output": [*PYTHON, "import os; [os.write(w, b'x' * 2**20) for r, w in [os.pipe()]]"],
    "watches no event": [*PYTHON, "import select; p = select.poll(); p.register(0, 0); p.poll()"],
    "reads a file": ["sh", "-c", "exec 4<>fifo; read line <&4"],
}


@pytest.fixture(scope="module")
def control() -> Iterator[socket.socket]:
    with guardian() as control:
        yield control


@contextmanager
def on_a_pipe(control: socket.socket, argv: Sequence[str], cwd: str) -> Iterator[Kept]:
    read_fd, write_fd = os.pipe()
    # as descriptor 3 too, for what a shell starts in the background
    with spawn(control, argv, {0: read_fd, 3: read_fd}, cwd=cwd) as program:
        os.close(read_fd)
        program.started()
        yield program
    os.close(write_fd)


@contextmanager
def on_a_terminal(control: socket.socket, argv: Sequence[str], cwd: str) -> Iterator[Kept]:
    master, slave = pty.openpty()
    tty.setraw(slave, termios.TCSANOW)
    fds = dict.fromkeys((0, 1, 2, 3), slave)
    with spawn(control, argv, fds, cwd=cwd, terminal=True) as program:
        os.close(slave)
        program.started()
        yield program
    os.close(master)


WAYS: Final = {"pipe": on_a_pipe, "terminal": on_a_terminal}


def looks_until(program: Kept, answer: str) -> bool:
    """The answer is heard before a generous time is over, and then again: it is no accident."""
    give_up_at = time.monotonic() + FAILURE_SECONDS
    while time.monotonic() < give_up_at:
        if program.look() == answer:
            return bool(program.look() == answer)
    return False


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", READERS)
def test_a_program_that_reads_its_input_is_seen(
    control: socket.socket, tmp_path: Path, name: str, way: str
) -> None:
    require_tool(READERS[name][0])

    with WAYS[way](control, READERS[name], str(tmp_path)) as program:
        assert looks_until(program, "certain")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EVENT_LOOPS)
def test_an_event_loop_that_has_the_input_may_wait_for_it(
    control: socket.socket, tmp_path: Path, name: str, way: str
) -> None:
    require_tool(EVENT_LOOPS[name][0])

    with WAYS[way](control, EVENT_LOOPS[name], str(tmp_path)) as program:
        assert looks_until(program, "maybe")


@pytest.mark.parametrize("way", WAYS)
def test_scanf_is_seen(control: socket.socket, tmp_path: Path, way: str) -> None:
    require_tool("gcc")
    source = tmp_path / "ask.c"
    source.write_text('#include <stdio.h>\nint main(void) { int n; return scanf("%d", &n); }')
    run(["gcc", source, "-o", tmp_path / "ask"], check=True)

    with WAYS[way](control, ["./ask"], str(tmp_path)) as program:
        assert looks_until(program, "certain")


@pytest.mark.parametrize("way", WAYS)
def test_java_is_seen(control: socket.socket, tmp_path: Path, way: str) -> None:
    require_tool("java")
    source = tmp_path / "Ask.java"
    source.write_text(
        "class Ask { public static void main(String[] a) {"
        " new java.util.Scanner(System.in).nextLine(); } }"
    )

    with WAYS[way](control, ["java", "Ask.java"], str(tmp_path)) as program:
        assert looks_until(program, "certain")


def test_a_password_read_from_the_controlling_terminal_is_seen(
    control: socket.socket, tmp_path: Path
) -> None:
    argv = [*PYTHON, "import getpass; getpass.getpass()"]

    with on_a_terminal(control, argv, str(tmp_path)) as program:
        assert looks_until(program, "certain")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OTHERS)
def test_a_program_that_does_not_wait_for_its_input_is_left_alone(
    control: socket.socket, tmp_path: Path, name: str, way: str
) -> None:
    os.mkfifo(tmp_path / "fifo")

    with WAYS[way](control, OTHERS[name], str(tmp_path)) as program:
        assert {program.look() for _ in range(LOOKS)} == {None}


def test_the_input_of_another_program_is_not_ours(control: socket.socket, tmp_path: Path) -> None:
    with (
        on_a_pipe(control, ["cat"], str(tmp_path)) as reader,
        on_a_pipe(control, ["sleep", "600"], str(tmp_path)) as sleeper,
    ):
        assert looks_until(reader, "certain")
        assert sleeper.look() is None


def test_a_program_without_input_never_waits_for_it(control: socket.socket) -> None:
    read_fd, write_fd = os.pipe()
    with spawn(control, ["sh", "-c", "read line <&3"], {3: read_fd}) as program:
        program.started()

        assert {program.look() for _ in range(LOOKS)} == {None}
    os.close(read_fd)
    os.close(write_fd)


def test_a_nested_terminal_is_not_ours(control: socket.socket, tmp_path: Path) -> None:
    script = "import pty, os, signal; pid, fd = pty.fork(); pid or input(); signal.pause()"

    with on_a_terminal(control, [*PYTHON, script], str(tmp_path)) as program:
        assert {program.look() for _ in range(LOOKS)} == {None}


def test_after_the_input_has_come_nobody_waits(control: socket.socket) -> None:
    read_fd, write_fd = os.pipe()
    output_fd, program_output_fd = os.pipe()
    script = "read line; echo got; exec sleep 600"
    with spawn(control, ["sh", "-c", script], {0: read_fd, 1: program_output_fd}) as program:
        program.started()
        assert looks_until(program, "certain")
        os.write(write_fd, b"line\n")
        read_until(output_fd, b"got")

        assert program.look() is None
    for fd in (read_fd, write_fd, output_fd, program_output_fd):
        os.close(fd)
