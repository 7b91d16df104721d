"""`bench`: a short look at this machine; what a runner takes, beside the least that it could, out.

The floor of a figure is the same job done with nothing in between: a bare spawn, a plain pipe.
Both take turns, since a busy machine slows both down: read the ratios.
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

import msgspec

from kernel_runner import langs
from kernel_runner.base import BaseRunner
from kernel_runner.cli import measures, output
from kernel_runner.client import ClientError, Kernel, launch
from kernel_runner.errors import BrokenLanguage
from kernel_runner.langs._script import ScriptRunner
from kernel_runner.workspace import Workspace

EXAMPLES: Final = """\
Examples:
  kernel-runner bench
  kernel-runner bench --quick --json
"""
COLUMNS: Final = ("what", "unit", "here", "floor", "here/floor", "floor is")
ROUNDS: Final = 5
QUICK_ROUNDS: Final = 1
ROUNDS_SECONDS: Final = 1.0
"""After this long no further round of a figure is begun."""
QUERIES: Final = 50
RUNS: Final = 5
LINES: Final = 200_000
LINE_BYTES: Final = 100
PRINT_LINES: Final = f"for number in range({LINES}): print(f'{{number:0{LINE_BYTES - 1}}}')"
ENDLESS: Final = "print('busy', flush=True)\nwhile True: pass"


class Figure(msgspec.Struct, frozen=True):
    """One thing that was measured: medians, ours and that of the floor."""

    what: str
    unit: str
    here: float
    floor: float
    floor_is: str

    @property
    def cells(self) -> tuple[str, ...]:
        ratio = f"{self.here / self.floor:.3g}"
        return (self.what, self.unit, number(self.here), number(self.floor), ratio, self.floor_is)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("--quick", action="store_true", help="one round of each, so less exact")
    output.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, and show it; the exit code."""
    if sys.stderr is not None and sys.stderr.isatty():
        output.note("measuring, for some seconds")
    os.environ.pop("PYTHONUNBUFFERED", None)  # a plain pipe is buffered
    figures = asyncio.run(_all(QUICK_ROUNDS if options.quick else ROUNDS))
    if options.json:
        output.show_json(figures)
    else:
        output.show_table(COLUMNS, [figure.cells for figure in figures])
    return 0


def number(value: float) -> str:
    """Three digits, or all of them before the point."""
    return f"{value:.3g}" if abs(value) < 1_000 else f"{value:,.0f}"


async def _all(rounds: int) -> Sequence[Figure]:
    return [
        await _start(rounds),
        *[figure async for figure in _queries(rounds)],
        *[figure async for figure in _batches(rounds)],
    ]


async def _start(rounds: int) -> Figure:
    async def first_result() -> float:
        start = perf_counter()
        async with launch("python", runtime_path=sys.executable) as kernel:
            await kernel.query("print(1)").answer()
            return perf_counter() - start

    argv = [sys.executable, "-c", "print(1)"]
    here, floor = await _in_turns(first_result, lambda: measures.spawn_seconds(argv), rounds)
    name = "python: start to first result"
    return Figure(name, "ms", here * 1e3, floor * 1e3, "python -c 'print(1)'")


async def _queries(rounds: int) -> AsyncIterator[Figure]:
    """What an interpreter that keeps its state takes."""
    async with launch("python", runtime_path=sys.executable) as kernel:
        with measures.bare_driver() as driver:
            await measures.query_seconds(kernel, "1+1", QUERIES)
            here, floor = await _in_turns(
                lambda: _median_query(kernel),
                lambda: statistics.median(driver.evaluate_seconds(QUERIES)),
                rounds,
            )
        yield Figure("python: query 1+1", "ms", here * 1e3, floor * 1e3, "pipe to an interpreter")
        here, floor = await _in_turns(
            lambda: _lines_seconds(kernel), lambda: measures.read_pipe_seconds(PRINT_LINES), rounds
        )
        megabytes = LINES * LINE_BYTES / 1e6
        name = f"python: {LINES:,} lines"
        yield Figure(name, "MB/s", megabytes / here, megabytes / floor, "plain pipe")
        here, floor = await _in_turns(
            lambda: measures.interrupt_seconds(kernel, ENDLESS), measures.signal_seconds, 2 * rounds
        )
        yield Figure("python: interrupt", "ms", here * 1e3, floor * 1e3, "kill of a bare process")


async def _median_query(kernel: Kernel) -> float:
    return statistics.median(await measures.query_seconds(kernel, "1+1", QUERIES))


async def _lines_seconds(kernel: Kernel) -> float:
    start = perf_counter()
    await measures.output_of(kernel.query(PRINT_LINES))
    return perf_counter() - start


async def _batches(rounds: int) -> AsyncIterator[Figure]:
    """Each language that is installed runs its hello world."""
    for name, language in langs.every():
        if isinstance(language, BrokenLanguage) or shutil.which(language.command) is None:
            continue
        try:
            yield await _batch(language, rounds)
        except (ClientError, subprocess.CalledProcessError) as error:
            output.note(f"{name} is left out: {error}")


async def _batch(language: type[BaseRunner], rounds: int) -> Figure:
    with _hello_world(language) as main_file:
        async with launch(language.name, work_dir=main_file.parent) as kernel:
            (await kernel.build().result()).check()
            argv = _bare(language, main_file)
            here, floor = await _in_turns(
                lambda: measures.run_seconds(kernel, RUNS),
                lambda: statistics.median(measures.spawn_seconds(argv) for _ in range(RUNS)),
                rounds,
            )
    return Figure(f"{language.name}: hello world", "per s", 1 / here, 1 / floor, "bare spawn of it")


@contextmanager
def _hello_world(language: type[BaseRunner]) -> Iterator[Path]:
    """The file of the language's own hello world, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="kernel-runner-bench-") as folder:
        main_file = Path(folder, f"main{language.extensions[0]}")
        main_file.write_text(language.hello, encoding="utf-8")
        yield main_file


def _bare(language: type[BaseRunner], main_file: Path) -> Sequence[str | Path]:
    """The command line that runs it without us."""
    if issubclass(language, ScriptRunner):
        return [language.command, main_file]
    return [Workspace(main_file.parent).build_folder / "main"]


async def _in_turns(
    ours: Callable[[], Awaitable[float]], floor: Callable[[], float], rounds: int
) -> tuple[float, float]:
    """The medians of both, measured one after the other in each round."""
    here: list[float] = []
    bare: list[float] = []
    enough_at = perf_counter() + ROUNDS_SECONDS
    while len(here) < rounds and (not here or perf_counter() < enough_at):
        here.append(await ours())
        bare.append(floor())
    return statistics.median(here), statistics.median(bare)
