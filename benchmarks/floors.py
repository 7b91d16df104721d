"""Nothing comes in; what the least possible program needs for the same job goes out, in seconds."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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
def warm_fork(argv: Sequence[str | Path]) -> Iterator[Callable[[], float]]:
    """A process that has started and forks one that prints hello, for each line that it reads.

    What this yields does it once, and returns the seconds.  The process prints `done` when it has
    waited for the one that it forked.
    """
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        lines_in, lines_out = process.stdin, process.stdout

        def fork() -> float:
            start = perf_counter()
            lines_in.write(b"\n")
            lines_in.flush()
            printed = [lines_out.readline(), lines_out.readline()]
            assert printed == [b"hello\n", b"done\n"], printed
            return perf_counter() - start

        try:
            fork()
            yield fork
            lines_in.close()
        finally:
            process.kill()


@contextmanager
def bare_request(address: str, frames: Sequence[bytes]) -> Iterator[Callable[[], float]]:
    """A blocking socket that sends these frames to a runner; yields what measures one answer."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        client.linger = 0
        client.rcvtimeo = round(ECHO_SECONDS * 1_000)
        client.connect(address)

        def ask() -> float:
            start = perf_counter()
            client.send_multipart(frames)
            client.recv_multipart()
            return perf_counter() - start

        ask()
        yield ask
