"""Programs to start come in; the guardian's own messages come out, undisguised."""

import marshal
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).parent.parent
FAILURE_SECONDS: Final = 20.0


class Kept:
    """A program, seen from the other end of its keeper's socket."""

    def __init__(self, keeper: socket.socket) -> None:
        self.socket = keeper

    def hear(self) -> Any:
        """The next message; None at the end of all."""
        message = self.socket.recv(65_536)
        return marshal.loads(message) if message else None

    def hear_until(self, kind: str) -> Any:
        while (message := self.hear()) is not None:
            if message[0] == kind:
                return message
        raise AssertionError(f"the keeper left without {kind!r}")

    def say(self, *message: Any) -> None:
        plain = [int(word) if isinstance(word, int) else word for word in message]
        self.socket.send(marshal.dumps(tuple(plain)))

    def started(self) -> int:
        """The pid; the keeper has said that the program was executed."""
        kind, pid = self.hear()
        assert kind == "started", (kind, pid)
        return int(pid)

    def look(self) -> Any:
        self.say("look")
        kind, answer = self.hear()
        assert kind == "waiting", (kind, answer)
        return answer

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()


def spawn(
    control: socket.socket,
    argv: Sequence[str],
    fds: Mapping[int, int] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    cwd: str = "/",
    terminal: int | None = None,
    rlimits: Mapping[int, int] | None = None,
) -> Kept:
    """`fds` maps each number in the program to a descriptor of ours."""
    fds = fds or {}
    spec = {
        "argv": list(argv),
        "env": dict(os.environ if env is None else env),
        "cwd": cwd,
        "targets": list(fds),
        "terminal": terminal,
        "rlimits": dict(rlimits or {}),
        "limits": {},
        "cgroup": None,
        "jail": None,
    }
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(FAILURE_SECONDS)
    payload = os.memfd_create("payload")
    with theirs, os.fdopen(payload, "wb") as file:
        file.write(marshal.dumps(spec))
        file.flush()
        passed = [theirs.fileno(), payload, *fds.values()]
        socket.send_fds(control, [marshal.dumps(("spawn", len(passed)))], passed)
    return Kept(ours)


@contextmanager
def start_guardian() -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """A guardian without a runner: its control socket, which the block closes, and its process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "kernel_runner.guardian", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=PROJECT,
        )
    with process:
        try:
            with ours:
                yield ours, process
            process.wait(FAILURE_SECONDS)
        finally:
            process.kill()


@contextmanager
def guardian() -> Iterator[socket.socket]:
    """The control socket of a guardian without a runner; it has left with 0 after the block."""
    with start_guardian() as (control, process):
        yield control
    assert process.returncode == 0


def output_of(
    control: socket.socket, argv: Sequence[str], **options: Any
) -> tuple[bytes, int, list[Any]]:
    """What a program printed, its wait status, and what the keeper said at last."""
    read_fd, write_fd = os.pipe()
    with spawn(control, argv, {1: write_fd}, **options) as program:
        os.close(write_fd)
        with os.fdopen(read_fd, "rb") as pipe:
            program.started()
            printed = pipe.read()
        _, status, _ = program.hear_until("exited")
        ended = list(program.hear_until("ended"))
        assert program.hear() is None
        return printed, status, ended


def read_until(fd: int, word: bytes) -> bytes:
    """Reads until `word` has come."""
    seen = b""
    while word not in seen:
        ready, _, _ = select.select([fd], [], [], FAILURE_SECONDS)
        assert ready, f"no {word!r} after {seen!r}"
        piece = os.read(fd, 65_536)
        assert piece, f"the end came instead of {word!r}, after {seen!r}"
        seen += piece
    return seen


class Pipe:
    """A pipe for the output of programs; both ends are closed after the test."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        self._open = {self.read_fd, self.write_fd}

    def close_write_end(self) -> None:
        """From now on the end of file comes when the last program has closed it."""
        os.close(self.write_fd)
        self._open.remove(self.write_fd)

    def read_until(self, word: bytes) -> bytes:
        return read_until(self.read_fd, word)

    def pids(self, count: int) -> list[int]:
        """Reads lines until `count` numbers have come."""
        text = b""
        while len(text.split()) < count or not text.endswith(b"\n"):
            text += self.read_until(b"\n")
        return [int(word) for word in text.split()]

    def read_to_end(self) -> None:
        while select.select([self.read_fd], [], [], FAILURE_SECONDS)[0]:
            if not os.read(self.read_fd, 65_536):
                return
        raise AssertionError("somebody still holds the pipe")

    def close(self) -> None:
        for fd in self._open:
            os.close(fd)


def watch(pid: int) -> int:
    """A pidfd, to be asked later whether this very process has ended."""
    return os.pidfd_open(pid)


def ends(pidfd: int) -> bool:
    """The process ends before a generous time is over; closes the pidfd."""
    try:
        return bool(select.select([pidfd], [], [], FAILURE_SECONDS)[0])
    finally:
        os.close(pidfd)
