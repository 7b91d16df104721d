"""A runner comes in; memory and descriptors of its processes go out, or that one waits."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from benchmarks.memory import pss_bytes
from tests.running import LOOK_SECONDS, RunnerProcess
from tests.wire import FAILURE_SECONDS

STILL_LOOKS: Final = 20


def memory(started: RunnerProcess) -> int:
    """PSS in bytes of guardian, keepers and runner."""
    total = 0
    for pid in own_processes(started):
        with suppress(OSError, ValueError):  # it may end meanwhile
            total += pss_bytes(pid)
    assert total, "the runner may be looked at only by root, or with --debug"
    return total


def descriptors(started: RunnerProcess) -> int:
    """How many guardian, keepers and runner have open."""
    total = 0
    for pid in own_processes(started):
        with suppress(OSError):
            total += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return total


def own_processes(started: RunnerProcess) -> Iterator[int]:
    """Guardian, keepers and runner; the user's programs are none of them."""
    for pid in started.processes():
        with suppress(OSError):
            if b"\0-m\0kernel_runner\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                yield pid


async def until_still(started: RunnerProcess, name: str) -> None:
    """Return when the program of this name has not written for a while: it waits for room."""
    written: list[str] = []
    async with asyncio.timeout(FAILURE_SECONDS):
        while len(written) < STILL_LOOKS:
            await asyncio.sleep(LOOK_SECONDS)
            counters = [Path(f"/proc/{pid}/io").read_text() for pid in started.processes(name)]
            written = [*written, *counters] if counters == written[-1:] else counters
