"""A language comes in, a client of a whole runner goes out: all stages, in this process, no wire.

async with running("python", tmp_path) as client:
    client.say(Query("print(6 * 7)"), "r1")
    heard = await client.hear_until("finished")
"""

import logging
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from kernel_runner import langs, logs
from kernel_runner.base import BaseRunner
from kernel_runner.channels.memory import MemoryChannel
from kernel_runner.config import MAX_PENDING_BYTES, MAX_QUEUE_LENGTH
from kernel_runner.embedded import serving
from kernel_runner.host import Host
from kernel_runner.launcher import own_guardian
from kernel_runner.limits import UNLIMITED, Allowance
from kernel_runner.workspace import Workspace

__all__ = ["MemoryChannel", "running"]


@asynccontextmanager
async def running(
    language: str | type[BaseRunner],
    work_dir: Path,
    *,
    env: Mapping[str, str],
    max_queue_length: int = MAX_QUEUE_LENGTH,
    max_pending_bytes: int = MAX_PENDING_BYTES,
    allowance: Allowance = UNLIMITED,
    cgroup: str | None = None,
) -> AsyncIterator[MemoryChannel]:
    """A runner that serves one client while the block is open; no process is left afterwards.

    Args:
        language: its name, or a class that need not be registered.
        env: the environment of programs; ``PATH`` has to be in it.
        allowance: the limits of requests.
        cgroup: below which limited programs get theirs; None: they are only watched.
    """
    make_runner = langs.load(language) if isinstance(language, str) else language
    channel = MemoryChannel()
    logging.getLogger(logs.ROOT).setLevel(logging.INFO)
    with tempfile.TemporaryDirectory(prefix="kernel-runner-") as scratch:
        async with own_guardian(cgroup) as launcher:
            runner = make_runner(Host(launcher, Workspace(work_dir), Path(scratch), env))
            async with serving(
                runner,
                channel,
                max_queue_length=max_queue_length,
                max_pending_bytes=max_pending_bytes,
                allowance=allowance,
            ):
                yield channel
