"""What it costs that events are kept until they are acknowledged: output and the smallest query."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import benchmarks
from benchmarks.rounds import OURS, Effort, Measure, Summary, interleave
from benchmarks.table import Row
from kernel_runner.cli import measures
from kernel_runner.client import Kernel, launch

WITHOUT: Final = "without journal"
MEGABYTES: Final = 100
LINE: Final = "x" * 99
QUERIES: Final = 500
TARGET_RATE: Final = 0.8
TARGET_QUERY: Final = 1.1


async def measure(effort: Effort) -> Sequence[Row]:
    megabytes = effort.of(MEGABYTES)
    with _runner_without_journal() as python:
        async with (
            launch("python", runtime_path=sys.executable) as ours,
            launch("python", python=python, runtime_path=sys.executable) as other,
        ):
            kernels = {OURS: ours, WITHOUT: other}
            for kernel in kernels.values():
                await measures.query_seconds(kernel, "1+1", 10)
            rates = await interleave(
                {name: _rate_of(kernel, megabytes) for name, kernel in kernels.items()},
                effort.rounds,
            )
            queries = await interleave(
                {name: _query_of(kernel, effort.of(QUERIES)) for name, kernel in kernels.items()},
                effort.rounds,
            )
    return [
        _row(f"{megabytes} MB of lines, kept until acknowledged", "MB/s", rates, TARGET_RATE),
        _row("query 1+1, kept until acknowledged", "ms, p50", queries, TARGET_QUERY),
    ]


def _row(what: str, unit: str, figures: dict[str, Summary], target: float) -> Row:
    share = figures[OURS].p50 / figures[WITHOUT].p50
    reached = share >= target if target < 1 else share <= target
    words = f"at {'least' if target < 1 else 'most'} {target} of that {WITHOUT}"
    return Row(what, unit, figures, words, reached)


def _rate_of(kernel: Kernel, megabytes: int) -> Measure:
    lines = megabytes * 1_000_000 // (len(LINE) + 1)

    async def rate() -> list[float]:
        start = perf_counter()
        output = await measures.output_of(kernel.query(f"for _ in range({lines}): print('{LINE}')"))
        seconds = perf_counter() - start
        assert len(output) == lines * (len(LINE) + 1), "output was lost"
        return [megabytes / seconds]

    return rate


def _query_of(kernel: Kernel, times: int) -> Measure:
    async def query() -> list[float]:
        seconds = await measures.query_seconds(kernel, "1+1", times)
        return [value * 1_000 for value in seconds]

    return query


@contextmanager
def _runner_without_journal() -> Iterator[Path]:
    """What `launch` takes as its Python: runs another module."""
    with TemporaryDirectory() as folder:
        script = Path(folder, "python")
        root = Path(benchmarks.__file__).parents[1]
        words = shlex.join([sys.executable, "-m", "benchmarks.without_journal"])
        script.write_text(
            "#!/bin/sh\n"
            "shift 2  # -m kernel_runner\n"
            f'PYTHONPATH={shlex.quote(str(root))} exec {words} "$@"\n'
        )
        script.chmod(0o700)
        yield script
