"""The command line beside the program itself: its start, its help, a gigabyte through it."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from io import BufferedReader
from pathlib import Path
from time import perf_counter
from typing import Final

from benchmarks.rounds import OURS, Effort, Measure, interleave
from benchmarks.table import Row
from kernel_runner.cli import measures

COMMAND: Final = Path(sys.executable).with_name("kernel-runner")
RUN: Final = (COMMAND, "run", "--runtime-path", sys.executable)
STARTS: Final = 5
TARGET_MORE_MS: Final = 120
TARGET_HELP_MS: Final = 150
GIGABYTE: Final = 1_000_000_000
MAX_ROUNDS: Final = 3
TARGET_MB: Final = 100
SECONDS: Final = 300.0

CAT: Final = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer, 1 << 16)"
PRINT: Final = "import sys; [sys.stdout.buffer.write(bytes(1 << 16)) for _ in range({size} >> 16)]"


async def measure(effort: Effort) -> Sequence[Row]:
    with tempfile.TemporaryDirectory(prefix="kernel-runner-bench-") as name:
        folder = Path(name)
        return [
            await _start(folder, effort),
            await _help(effort),
            await _through(folder, effort),
            await _out_of(folder, effort),
        ]


async def _start(folder: Path, effort: Effort) -> Row:
    hello = _program(folder, "hello.py", "print('hello')")
    bare = f"python {hello.name}"
    contenders = {
        OURS: _starts([*RUN, hello], effort),
        bare: _starts([sys.executable, hello], effort),
    }
    await interleave(contenders, rounds=1)  # what has to be compiled is compiled by this one
    figures = await interleave(contenders, effort.rounds)
    more = figures[OURS].p50 - figures[bare].p50
    return Row(
        f"kernel-runner run {hello.name}",
        "ms",
        figures,
        f"{TARGET_MORE_MS} ms more",
        more <= TARGET_MORE_MS,
        [f"{more:.0f} ms more than {bare}"],
    )


async def _help(effort: Effort) -> Row:
    contenders = {
        OURS: _starts([COMMAND, "--help"], effort),
        "python -c pass": _starts([sys.executable, "-c", "pass"], effort),
    }
    figures = await interleave(contenders, effort.rounds)
    reached = figures[OURS].p50 <= TARGET_HELP_MS
    return Row("kernel-runner --help", "ms", figures, f"{TARGET_HELP_MS} ms", reached)


async def _through(folder: Path, effort: Effort) -> Row:
    """From a pipe to a pipe, through a program that copies."""
    cat = _program(folder, "cat.py", CAT)
    size = effort.of(GIGABYTE)

    def feed(argv: Sequence[str | Path]) -> Callable[[], float]:
        source = ["head", "-c", str(size), "/dev/zero"]
        return lambda: _piped_seconds([source, argv], size)

    return await _piped("piped through `run`", cat, feed, size, effort)


async def _out_of(folder: Path, effort: Effort) -> Row:
    """What a program prints, to a pipe."""
    size = effort.of(GIGABYTE) >> 16 << 16
    program = _program(folder, "print.py", PRINT.format(size=size))

    def read(argv: Sequence[str | Path]) -> Callable[[], float]:
        return lambda: _piped_seconds([argv], size)

    return await _piped("printed through `run`", program, read, size, effort)


async def _piped(
    what: str,
    program: Path,
    measured: Callable[[Sequence[str | Path]], Callable[[], float]],
    size: int,
    effort: Effort,
) -> Row:
    ours, bare = measured([*RUN, program]), measured([sys.executable, program])

    def rate(seconds: Callable[[], float]) -> Measure:
        async def megabytes_per_second() -> list[float]:
            return [size / 1e6 / seconds()]

        return megabytes_per_second

    contenders = {OURS: rate(ours), f"python {program.name}": rate(bare)}
    figures = await interleave(contenders, min(effort.rounds, MAX_ROUNDS))
    reached = figures[OURS].p50 >= TARGET_MB
    return Row(f"{size / 1e9:.2g} GB {what}", "MB/s", figures, f"{TARGET_MB} MB/s", reached)


def _program(folder: Path, name: str, code: str) -> Path:
    file = folder / name
    file.write_text(code + "\n", encoding="utf-8")
    return file


def _starts(argv: Sequence[str | Path], effort: Effort) -> Measure:
    async def milliseconds() -> list[float]:
        return [measures.spawn_seconds(argv) * 1_000 for _ in range(effort.of(STARTS))]

    return milliseconds


def _output(process: subprocess.Popen[bytes]) -> BufferedReader:
    assert isinstance(process.stdout, BufferedReader), "it is a pipe"
    return process.stdout


def _piped_seconds(line: Sequence[Sequence[str | Path]], size: int) -> float:
    """How long programs, each reading what the one before prints, take to the last byte."""
    start = perf_counter()
    reads: int | None = subprocess.DEVNULL
    processes: list[subprocess.Popen[bytes]] = []
    for argv in line:
        process = subprocess.Popen(argv, stdin=reads, stdout=subprocess.PIPE)
        if processes:
            _output(processes[-1]).close()
        processes.append(process)
        reads = _output(process).fileno()
    arrived = 0
    with _output(processes[-1]) as output:
        while data := output.read1(measures.READ_BYTES):
            arrived += len(data)
    seconds = perf_counter() - start
    exit_codes = [process.wait(SECONDS) for process in processes]
    assert (arrived, any(exit_codes)) == (size, False), (arrived, exit_codes)
    return seconds
