"""What the jail costs: the same program native, in a jail, and under strace where there is one.

The loops are a C program of their own, so that calls are measured and not an interpreter.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import which
from typing import Final

from benchmarks import memory
from benchmarks.rounds import OURS, Effort, Measure, Summary, interleave
from benchmarks.subjects import jail_inner
from benchmarks.table import Row

RUNS: Final = 20
"""Short ones, of which the least counts: long ones would measure who else uses the machine."""

CALLS: Final = 100_000
FORKS: Final = 800
STRACE_DIVISOR: Final = 10
LEAST_OF: Final = 5
IDLE_SECONDS: Final = 2.0
BOMB_SECONDS: Final = 4.0
MAX_MIB: Final = 20
MAX_CORE: Final = 0.1
START_MS: Final = 20
NATIVE: Final = "native"
STRACE: Final = "strace"
JAIL: Final = (sys.executable, "-m", "kernel_runner.jail", "run", "--quiet", "--policy")
COMMAND: Final = (
    sys.executable,
    "-c",
    "from kernel_runner.jail.__main__ import main; main()",
)
"""What the installed `kernel-jail` is."""

LOOPS: Final = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
    long times = atol(argv[2]);
    int zero = open("/dev/zero", O_RDONLY);
    char byte;
    struct stat found;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (long i = 0; i < times; i++) switch (argv[1][0]) {
        case 'g': syscall(SYS_getppid); break;
        case 's': stat("/usr/bin/env", &found); break;
        case 'r': if (read(zero, &byte, 1) != 1) return 1; break;
        case 'o': close(open("/usr/bin/env", O_RDONLY)); break;
        case 'f': if (fork() == 0) _exit(0); wait(NULL); break;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%f\n", ((to.tv_sec - from.tv_sec) * 1e9 + to.tv_nsec - from.tv_nsec) / times);
}
"""
HELLO: Final = '#include <stdio.h>\nint main(void) { puts("hello"); }\n'
FORK_BOMB: Final = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
DENIED: Final = "import os\nwhile True:\n try: os.chroot('.')\n except OSError: pass"
THREAD_BOMB: Final = """
import threading, time
while True:
    try: threading.Thread(target=time.sleep, args=(0.2,)).start()
    except RuntimeError: pass
"""
BOMBS: Final = {"fork bomb": FORK_BOMB, "denied calls": DENIED, "thread bomb": THREAD_BOMB}
PYTHON: Final = "/usr/bin/python3"


async def measure(effort: Effort) -> Sequence[Row]:
    with tempfile.TemporaryDirectory(prefix="kernel-runner-bench-") as name:
        folder = Path(name)
        rows: list[Row] = []
        if which("gcc") is not None:
            rows += await _loops(folder, effort)
            rows.append(await _compiling(folder, effort))
        rows.append(await _start(folder, effort))
        if Path(PYTHON).exists():
            rows.append(await _python(folder, effort))
            rows += [_bomb(folder, what, code) for what, code in BOMBS.items()]
        rows += _idle(folder)
        rows += await jail_inner.measure(effort)
        return rows


async def _loops(folder: Path, effort: Effort) -> Sequence[Row]:
    program = _compile_loops(folder)
    rows = []
    for what, times, most in (
        ("getppid", CALLS, 1.1),
        ("stat", CALLS, 1.1),
        ("read", CALLS, 1.1),
        ("open and close", CALLS, 1.35),
        ("fork and exit", FORKS, 1.4),
    ):
        contenders = _contenders([str(program), what], folder, effort.of(times) // RUNS)
        figures = await interleave(contenders, effort.rounds)
        rows.append(_against_native(f"jail: {what}", "ns", figures, most))
    return rows


def _compile_loops(folder: Path) -> Path:
    program = folder / "loops"
    (folder / "loops.c").write_text(LOOPS)
    subprocess.run(["gcc", "-O2", "-o", program, folder / "loops.c"], check=True)
    return program


async def _compiling(folder: Path, effort: Effort) -> Row:
    (folder / "hello.c").write_text(HELLO)
    command = ["gcc", "hello.c", "-o", "hello"]
    figures = await interleave(_contenders(command, folder, None), effort.rounds)
    return _against_native("jail: gcc hello.c", "ms", figures, 1.05)


async def _python(folder: Path, effort: Effort) -> Row:
    command = [PYTHON, "-I", "-c", "pass"]
    figures = await interleave(_contenders(command, folder, None), effort.rounds)
    return _against_native("jail: start of Python", "ms", figures, 1.1)


async def _start(folder: Path, effort: Effort) -> Row:
    def once(command: Sequence[str]) -> float:
        found = []
        for _ in range(LEAST_OF):
            start = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True)
            found.append((time.perf_counter() - start) * 1e3)
        return min(found)

    async def native() -> list[float]:
        return [once(["true"])]

    async def python() -> list[float]:
        return [once([sys.executable, "-c", "pass"])]

    async def ours() -> list[float]:
        return [once([*COMMAND, "run", "--", "true"])]

    contenders = {OURS: ours, NATIVE: native, "python -c pass": python}
    figures = await interleave(contenders, effort.rounds)
    more = figures[OURS].p50 - figures[NATIVE].p50
    return Row(
        "jail: kernel-jail run -- true",
        "ms",
        figures,
        f"{START_MS} ms more than true",
        more < START_MS,
    )


def _contenders(
    command: Sequence[str], folder: Path, times: int | None
) -> Mapping[str, Measure | None]:
    """Of a program that prints what it measured if it is told how often, else of its time."""

    def measured(before: Sequence[str], number: int | None) -> Measure:
        async def once() -> list[float]:
            if number is None:
                return [_least([*before, *TIMED, *command], folder) / 1e6]
            return [_least([*before, *REPEATED, *command, str(max(1, number))], folder)]

        return once

    fewer = None if times is None else times // STRACE_DIVISOR
    has_strace = which(STRACE) is not None
    return {
        OURS: measured([*JAIL, "c", "--"], times),
        NATIVE: measured([], times),
        STRACE: measured([STRACE, "-f", "-o", os.devnull], fewer) if has_strace else None,
    }


TIMED: Final = (
    "sh",
    "-c",
    f"for i in $(seq {LEAST_OF}); do"
    ' s=$(date +%s%N); "$0" "$@" >/dev/null; e=$(date +%s%N); echo $((e - s)); done',
)
"""Times the program from inside, so that the start of the jail is not counted."""

REPEATED: Final = ("sh", "-c", f'for i in $(seq {RUNS}); do "$0" "$@"; done')


def _least(command: Sequence[str], folder: Path) -> float:
    ended = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return min(map(float, ended.stdout.split()))


def _against_native(what: str, unit: str, figures: Mapping[str, Summary], most: float) -> Row:
    reached = figures[OURS].p50 <= most * figures[NATIVE].p50
    return Row(what, unit, figures, f"{most:g} of native", reached)


def _bomb(folder: Path, what: str, code: str) -> Row:
    """The share of a core that the supervisor takes while it goes on."""
    policy = folder / "bomb.yml"
    limits = f"limits: {{wall: {BOMB_SECONDS} s}}\n"
    policy.write_text(f"extends: default\nprocess: {{max_processes: 30}}\n{limits}")
    command = [*JAIL, str(policy), "--work-dir", str(folder / "work"), "--", PYTHON, "-c", code]
    (folder / "work").mkdir(exist_ok=True)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        share = 0.0
        start = time.monotonic()
        while process.poll() is None:
            seconds = sum(_cpu_seconds(one) for one in memory.children(process.pid)[:1])
            share = max(share, seconds / max(1.0, time.monotonic() - start))
            time.sleep(0.1)
    figures = {OURS: Summary(share)}
    return Row(f"jail: {what}, supervisor", "of a core", figures, f"{MAX_CORE:g}", share < MAX_CORE)


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _idle(folder: Path) -> Sequence[Row]:
    command = [*JAIL, "default", "--", "sleep", "60"]
    with subprocess.Popen(command, cwd=folder) as process:
        time.sleep(IDLE_SECONDS)
        ours = [process.pid, *memory.children(process.pid)]
        before = sum(map(_cpu_seconds, ours))
        mebibytes = [memory.pss_bytes(one) / memory.MIB for one in ours]
        time.sleep(IDLE_SECONDS)
        share = (sum(map(_cpu_seconds, ours)) - before) / IDLE_SECONDS
        process.send_signal(signal.SIGTERM)
    return [
        Row(
            "jail: idle, front and supervisor",
            "MiB, PSS",
            {OURS: Summary(sum(mebibytes))},
            f"{MAX_MIB} MiB",
            sum(mebibytes) < MAX_MIB,
        ),
        Row("jail: idle", "of a core", {OURS: Summary(share)}, "0", share == 0),
    ]
