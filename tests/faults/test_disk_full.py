"""The disk is full under the spool; the program waits instead, and every byte arrives."""

import asyncio
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import pytest

from kernel_runner.client import Kernel, Reply, connect
from kernel_runner.messages import events
from tests.faults.tally import counting, times
from tests.faults.weight import until_still
from tests.running import RunnerProcess, runner
from tests.wire import FAILURE_SECONDS

DISK_BYTES: Final = 2 << 20
LINES: Final = 400_000
SCRIPT: Final = f"seq {LINES}; touch made; seq {LINES} 3000000; touch end"
PRINTED: Final = b"".join(b"%d\n" % n for n in (*range(1, LINES + 1), *range(LINES, 3_000_001)))
OPTIONS: Final = ("--max-pending-bytes=100000", f"--max-spool-bytes={1 << 30}")
TOLD: Final = "the spool cannot be written, so programs wait"


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A whole disk of two megabytes, in `folder`; only root can mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def small_files(_: Path) -> Iterator[None]:
    """No file can have more than two megabytes: what the runner inherits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("fault", "shortage"),
    [
        ("disk full under the spool", small_disk),
        ("files of the spool cannot grow", small_files),
    ],
)
async def test_a_program_waits_for_a_disk_that_is_full_and_loses_nothing(
    tmp_path: Path, fault: str, shortage: Callable[[Path], AbstractContextManager[None]]
) -> None:
    (spool := tmp_path / "spool").mkdir()
    with counting(fault) as tally, shortage(spool):
        async with (
            runner(tmp_path, "shell", f"--spool-dir={spool}", *OPTIONS) as started,
            connect(started.addresses["session"]) as kernel,
        ):
            for _ in range(times(1, 20)):
                stdout, told = await read_after_the_program_has_waited(started, kernel)
                tally.compare_bytes(PRINTED, stdout)
                assert told == 1
                assert (await kernel.execute("echo next").result()).stdout == "next\n"
                tally.tried += 1
            tally.measured = f"{len(PRINTED) / 1e6:.0f} MB each time; told once each time"
        assert list(spool.iterdir()) == []


async def read_after_the_program_has_waited(
    started: RunnerProcess, kernel: Kernel
) -> tuple[bytes, int]:
    """What it printed, and how often the client was told of the disk."""
    reply = kernel.execute(f"rm -f made end; {SCRIPT}")
    async for event in reply:
        if isinstance(event, events.Started):
            break
    kernel.pause()
    await until_still(started, "seq")
    assert not (started.work_dir / "end").exists()
    kernel.resume()
    async with asyncio.timeout(2 * FAILURE_SECONDS):
        return await all_of(reply)


async def all_of(reply: Reply) -> tuple[bytes, int]:
    heard = [event async for event in reply]
    outputs = [event.data for event in heard if isinstance(event, events.Output)]
    return b"".join(outputs), sum(isinstance(e, events.Log) and TOLD in e.text for e in heard)
