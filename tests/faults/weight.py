"""A runner comes in; the memory and the descriptors of all its own processes go out."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.memory import pss_bytes
from tests.running import RunnerProcess


def memory(started: RunnerProcess) -> int:
    """PSS in bytes of guardian, keepers and runner."""
    total = 0
    for pid in own_processes(started):
        with suppress(OSError, ValueError):  # it may end meanwhile
            total += pss_bytes(pid)
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
