"""How many programs a second a runner starts, waits for and cleans up after.

Beside it the same programs started by nobody but `posix_spawn`, and the least that is possible: a
process that has started already forks one that prints hello.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Final

from benchmarks import floors
from benchmarks.rounds import OURS, Effort, Measure, interleave
from benchmarks.table import Row
from kernel_runner import langs
from kernel_runner.cli import measures
from kernel_runner.client import Kernel, launch

PROGRAMS: Final = 100
BUILDS: Final = 10
SPAWN: Final = "posix_spawn"
FORK: Final = "warm fork"

PYTHON_FORKS: Final = """
import os, sys
for _ in sys.stdin:
    if os.fork() == 0:
        print("hello", flush=True)
        os._exit(0)
    os.wait()
    os.write(1, b"done\\n")
"""
SHELL_FORKS: Final = "while read -r _; do ( echo hello ); echo done; done"
C_FORKS: Final = """
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    char line;
    while (read(0, &line, 1) == 1) {
        if (fork() == 0) { puts("hello"); fflush(stdout); _exit(0); }
        wait(NULL);
        puts("done"); fflush(stdout);
    }
}
"""


@dataclass(frozen=True, slots=True)
class Hello:
    """Hello world in one language: how it is run without us, and the process that forks."""

    language: str
    main_file: Path
    bare: Sequence[str | Path]
    forks: Sequence[str | Path]


async def measure(effort: Effort) -> Sequence[Row]:
    rows = [await _true(effort)]
    with tempfile.TemporaryDirectory(prefix="kernel-runner-bench-") as folder:
        for hello in _hellos(Path(folder)):
            rows.append(await _run(hello, effort))
            if hello.language == "c":
                rows.append(await _build_and_run(hello, effort))
    return rows


def _hellos(folder: Path) -> Iterator[Hello]:
    python = _main_file(folder, "python")
    python_forks = [sys.executable, "-c", PYTHON_FORKS]
    yield Hello("python", python, [sys.executable, "-u", python], python_forks)
    shell = _main_file(folder, "shell")
    yield Hello("shell", shell, ["bash", shell], ["bash", "-c", SHELL_FORKS])
    if which("gcc") is not None:
        c = _main_file(folder, "c")
        forks = folder / "forks.c"
        forks.write_text(C_FORKS, encoding="utf-8")
        yield Hello("c", c, [_compiled(c)], [_compiled(forks)])


def _main_file(folder: Path, name: str) -> Path:
    language = langs.load(name)
    main_file = folder / name / f"main{language.extensions[0]}"
    main_file.parent.mkdir()
    main_file.write_text(language.hello, encoding="utf-8")
    return main_file


def _compile(source: Path, binary: Path) -> Sequence[str | Path]:
    return ["gcc", "-Wall", source, "-o", binary]


def _compiled(source: Path) -> Path:
    binary = source.parent.parent / f"{source.stem}-of-{source.parent.name}"
    subprocess.run(_compile(source, binary), check=True)
    return binary


async def _true(effort: Effort) -> Row:
    programs = effort.of(PROGRAMS)
    async with launch("shell") as kernel:
        contenders = {
            OURS: _ours(kernel, programs, script="true"),
            "posix_spawn of sh": _bare(
                lambda: measures.spawn_seconds(["/bin/sh", "-c", "true"]), programs
            ),
        }
        return Row('exec "true"', "per s", await interleave(contenders, effort.rounds))


async def _run(hello: Hello, effort: Effort) -> Row:
    """What has to be built was built before."""
    programs = effort.of(PROGRAMS)
    with floors.warm_fork(hello.forks) as fork:
        async with _kernel(hello) as kernel:
            (await kernel.build().result()).check()
            contenders = {
                OURS: _ours(kernel, programs),
                SPAWN: _bare(lambda: measures.spawn_seconds(hello.bare), programs),
                FORK: _bare(fork, programs),
            }
            figures = await interleave(contenders, effort.rounds)
    return Row(f"hello world, {hello.language}", "per s", figures)


async def _build_and_run(hello: Hello, effort: Effort) -> Row:
    programs = effort.of(BUILDS)
    binary = hello.main_file.with_suffix("")

    def spawn_both() -> float:
        built = measures.spawn_seconds(_compile(hello.main_file, binary))
        return built + measures.spawn_seconds([binary])

    async with _kernel(hello) as kernel:
        contenders = {OURS: _ours(kernel, programs, build="*"), SPAWN: _bare(spawn_both, programs)}
        figures = await interleave(contenders, effort.rounds)
    return Row(f"hello world, {hello.language}, with build", "per s", figures)


def _kernel(hello: Hello) -> AbstractAsyncContextManager[Kernel]:
    runtime_path = sys.executable if hello.language == "python" else None
    return launch(hello.language, work_dir=hello.main_file.parent, runtime_path=runtime_path)


def _ours(kernel: Kernel, runs: int, *, build: str = "", script: str = "*") -> Measure:
    async def rate() -> list[float]:
        return [1 / await measures.run_seconds(kernel, runs, build=build, script=script)]

    return rate


def _bare(measure_seconds: Callable[[], float], times: int) -> Measure:
    async def rate() -> list[float]:
        return [times / sum(measure_seconds() for _ in range(times))]

    return rate
