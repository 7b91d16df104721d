"""A kernel, or the machine alone, comes in; the seconds that a job took go out."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import IO, Final

from kernel_runner.client.kernel import Kernel
from kernel_runner.client.reply import Reply
from kernel_runner.messages import events

READ_BYTES: Final = 65_536
_BARE_DRIVER: Final = """
import sys
for line in sys.stdin:
    print(repr(eval(line)), flush=True)
"""

# A kernel -------------------------------------------------------------------------------------


async def query_seconds(kernel: Kernel, code: str, times: int) -> list[float]:
    """How long each query took to its finish, one after the other."""
    seconds = []
    for _ in range(times):
        start = perf_counter()
        finish = await kernel.query(code).answer()
        seconds.append(perf_counter() - start)
        assert isinstance(finish, events.Finished), finish
        assert finish.exit_code == 0, finish
    return seconds


async def run_seconds(kernel: Kernel, runs: int, *, build: str = "", script: str = "*") -> float:
    """How long each of these runs took; all wait in one line.

    Raises:
        ProgramFailed: one of them did.
    """
    start = perf_counter()
    replies = [kernel.run(build=build, exec=script) for _ in range(runs)]
    for reply in replies:
        (await reply.result()).check()
    return (perf_counter() - start) / runs


async def output_of(reply: Reply) -> bytes:
    """All that the task printed to its standard output."""
    output = [
        event.data
        async for event in reply
        if isinstance(event, events.Output) and event.type == "stdout"
    ]
    return b"".join(output)


async def until_printed(reply: Reply) -> None:
    """Return when it has printed something."""
    async for event in reply:
        if isinstance(event, events.Output):
            return


async def interrupt_seconds(kernel: Kernel, code: str) -> float:
    """From the interrupt to the finish of a query that prints a line and then goes on for ever."""
    reply = kernel.query(code)
    await until_printed(reply)
    start = perf_counter()
    await kernel.interrupt()
    await reply.answer()
    return perf_counter() - start


# The machine alone ----------------------------------------------------------------------------


def spawn_seconds(argv: Sequence[str | Path]) -> float:
    """A program started and waited for, with nothing to read and its output thrown away.

    Raises:
        CalledProcessError: it failed.
    """
    null = os.devnull
    start = perf_counter()
    pid = os.posix_spawnp(
        argv[0],
        [os.fspath(word) for word in argv],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, null, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, null, os.O_WRONLY, 0),
        ],
    )
    _, status = os.waitpid(pid, 0)
    seconds = perf_counter() - start
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), argv)
    return seconds


def signal_seconds() -> float:
    """From a signal to the end of a bare process that sleeps."""
    pid = os.posix_spawnp("sleep", ["sleep", "60"], os.environ)
    start = perf_counter()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return perf_counter() - start


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


class BareDriver:
    """An interpreter that evaluates lines from a pipe, and does nothing else."""

    def __init__(self, lines_in: IO[bytes], lines_out: IO[bytes]) -> None:
        self._lines_in = lines_in
        self._lines_out = lines_out

    def evaluate_seconds(self, times: int) -> list[float]:
        """How long each evaluation of `1+1` took."""
        return [self._evaluate() for _ in range(times)]

    def _evaluate(self) -> float:
        start = perf_counter()
        self._lines_in.write(b"1+1\n")
        self._lines_in.flush()
        self._lines_out.readline()
        return perf_counter() - start


@contextmanager
def bare_driver() -> Iterator[BareDriver]:
    """One that has evaluated its first line, while the block is open."""
    with subprocess.Popen(
        [sys.executable, "-c", _BARE_DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        driver = BareDriver(process.stdin, process.stdout)
        try:
            driver.evaluate_seconds(1)
            yield driver
            process.stdin.close()
        finally:
            process.kill()
