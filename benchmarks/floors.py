"""Nothing comes in; what the least possible program needs for the same job goes out, in seconds."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Final

import zmq

_ZMQ_ECHO: Final = """
import sys, zmq
with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
    socket.sndhwm = socket.rcvhwm = 0
    socket.bind(sys.argv[1])
    while len(frames := socket.recv_multipart()) > 2:
        socket.send_multipart(frames)
"""
_BARE_DRIVER: Final = """
import sys
for line in sys.stdin:
    print(repr(eval(line)), flush=True)
"""
READ_BYTES: Final = 65_536
ECHO_SECONDS: Final = 10.0
HEADER: Final = b"h" * 64
"""About as long as the header of a request."""

Echo = Callable[[int, int], Sequence[float]]


@contextmanager
def zmq_echo() -> Iterator[Echo]:
    """Two frames to a process that only sends them back.

    What it yields takes how often, and how many are sent before the first one is awaited, and
    returns the seconds for one message of each batch.
    """
    with tempfile.TemporaryDirectory(prefix="kernel-runner-bench-") as folder:
        address = f"ipc://{folder}/echo"
        with (
            subprocess.Popen([sys.executable, "-c", _ZMQ_ECHO, address]) as process,
            zmq.Context() as context,
            context.socket(zmq.DEALER) as client,
        ):
            client.sndhwm = client.rcvhwm = 0
            client.linger = 1_000
            client.rcvtimeo = round(ECHO_SECONDS * 1_000)
            client.connect(address)

            def batch(size: int) -> float:
                start = perf_counter()
                for _ in range(size):
                    client.send_multipart([HEADER, b"1+1"])
                for _ in range(size):
                    client.recv_multipart()
                return (perf_counter() - start) / size

            try:
                batch(1)
                yield lambda times, size: [batch(size) for _ in range(times)]
                client.send(b"one frame ends it")
                process.wait(ECHO_SECONDS)
            finally:
                process.kill()


@contextmanager
def bare_driver() -> Iterator[Callable[[int], Sequence[float]]]:
    """An interpreter that evaluates lines from a pipe; yields what measures `1+1` some times."""
    with subprocess.Popen(
        [sys.executable, "-c", _BARE_DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        pipe_in, pipe_out = process.stdin, process.stdout

        def evaluate() -> float:
            start = perf_counter()
            pipe_in.write(b"1+1\n")
            pipe_in.flush()
            pipe_out.readline()
            return perf_counter() - start

        try:
            evaluate()
            yield lambda times: [evaluate() for _ in range(times)]
            process.stdin.close()
        finally:
            process.kill()


def read_pipe_seconds(code: str) -> float:
    """How long a Python program prints to a plain pipe, from its first byte to its last."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None, "it is a pipe"
        descriptor = process.stdout.fileno()
        os.read(descriptor, 1)
        start = perf_counter()
        while os.read(descriptor, READ_BYTES):
            pass
        return perf_counter() - start


def start_python_seconds() -> float:
    start = perf_counter()
    subprocess.run(
        [sys.executable, "-c", "print(1)"], check=True, stdout=subprocess.PIPE, timeout=60
    )
    return perf_counter() - start


def spawn_shell_seconds() -> float:
    """`true` in a shell, nothing piped."""
    start = perf_counter()
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "true"], os.environ)
    os.waitpid(pid, 0)
    return perf_counter() - start
