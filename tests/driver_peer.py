"""The runner's end of a Python driver: a process, its pipes and its input terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import kernel_runner

DRIVER = Path(kernel_runner.__file__).parent / "langs/drivers/python/kernel_runner_driver/start.py"
FAILURE_SECONDS = 20
EXTPROC = 0o200000


@dataclass
class Frame:
    type: str
    keys: dict[str, str]
    body: bytes


@dataclass
class Peer:
    """The runner's end of one driver."""

    process: subprocess.Popen[bytes]
    commands: int
    events: int
    stdout: int
    stderr: int
    terminal: int
    shell: str = ""
    incoming: bytearray = field(default_factory=bytearray)

    def send(self, type: str, body: str = "", **keys: object) -> None:
        data = body.encode()
        options = "".join(f" {key}={value}" for key, value in keys.items())
        os.write(self.commands, f"{type} {len(data)}{options}\n".encode() + data)

    def frame(self) -> Frame:
        type, pairs, body = next_frame(self.events, self.incoming)
        return Frame(type, dict(pair.split("=", 1) for pair in pairs), body)

    def until(self, type: str) -> list[Frame]:
        frames = [self.frame()]
        while frames[-1].type != type:
            frames.append(self.frame())
        return frames

    def run(self, code: str) -> list[Frame]:
        self.send("code", code)
        return self.until("done")

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)


def next_frame(events: int, incoming: bytearray) -> tuple[str, list[str], bytes]:
    """The type, the keys and the body; what came after it stays in `incoming`."""
    while True:
        header, newline, rest = bytes(incoming).partition(b"\n")
        if newline:
            type, length, *pairs = header.decode().split(" ")
            if len(rest) >= int(length):
                del incoming[: len(header) + 1 + int(length)]
                return type, pairs, rest[: int(length)]
        incoming += read_within(events)


def read_within(descriptor: int) -> bytes:
    ready, _, _ = select.select([descriptor], [], [], FAILURE_SECONDS)
    assert ready, "nothing came in time"
    data = os.read(descriptor, 65_536)
    assert data, "the driver has left"
    return data


def shown(frame: Frame) -> dict[str, str | bytes]:
    """The representations in a `media` frame."""
    size = int(frame.keys["json"])
    head, binary = json.loads(frame.body[:size]), frame.body[size:]
    data: dict[str, str | bytes] = head["data"]
    for mime, length in head.get("binary", {}).items():
        data[mime], binary = binary[:length], binary[length:]
    return data


def words(frames: list[Frame], type: str = "stdout") -> str:
    return b"".join(frame.body for frame in frames if frame.type == type).decode()


def _start(directory: Path, shell: str, env: Mapping[str, str], python: str) -> Peer:
    command_read, commands = os.pipe()
    events, event_write = os.pipe()
    stdout, stdout_write = os.pipe()
    stderr, stderr_write = os.pipe()
    master, slave = pty.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST
    attributes[3] = termios.ICANON | termios.ECHO | EXTPROC
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    process = subprocess.Popen(
        [python, str(DRIVER), shell, str(command_read), str(event_write)],
        stdin=slave,
        stdout=stdout_write,
        stderr=stderr_write,
        pass_fds=(command_read, event_write),
        cwd=directory,
        env={
            **os.environ,
            "MPLBACKEND": "Agg",
            "MPLCONFIGDIR": str(directory / "mpl"),
            "IPYTHONDIR": str(directory / "ipython"),
            **env,
        },
        start_new_session=True,
    )
    for descriptor in (command_read, event_write, stdout_write, stderr_write, slave):
        os.close(descriptor)
    return Peer(process, commands, events, stdout, stderr, master)


@contextmanager
def started(
    directory: Path,
    shell: str = "plain",
    *,
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
) -> Iterator[Peer]:
    peer = _start(directory, shell, env or {}, python)
    try:
        peer.shell = peer.until("ready")[-1].keys["shell"]
        yield peer
    finally:
        peer.process.kill()
        peer.process.wait()
        for descriptor in (peer.commands, peer.events, peer.stdout, peer.stderr, peer.terminal):
            os.close(descriptor)
