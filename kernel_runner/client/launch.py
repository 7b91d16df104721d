"""Starts a runner as a process of its own and connects to it through a private folder."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from kernel_runner.client.errors import RunnerDied, RunnerNotStarted
from kernel_runner.client.kernel import Kernel, connect

STOP_SECONDS: Final = 5.0


@asynccontextmanager
async def launch(
    language: str,
    *,
    work_dir: Path | str | None = None,
    runtime_path: Path | str | None = None,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Kernel]:
    """A kernel of this language while the block is open; nothing of it is left afterwards.

    Args:
        work_dir: where the user's files are; without it an empty folder that goes with the block.
        runtime_path: the interpreter or compiler, instead of the one on the PATH.
        env: the environment of runner and programs, instead of this process's.

    Raises:
        RunnerNotStarted: with what it said.
    """
    with tempfile.TemporaryDirectory(prefix="kernel-runner-client-") as folder:
        own_work_dir = Path(folder, "work")
        own_work_dir.mkdir()
        options = [f"--work-dir={work_dir or own_work_dir}"]
        if runtime_path is not None:
            options.append(f"--runtime-path={runtime_path}")
        options += ["--in=none", "--out=none", f"--session=ipc://{folder}/session"]
        log_file = Path(folder, "log")  # a pipe would fill up, and the runner wait for its reader
        process = await _start([language, *options], log_file, env)
        try:
            async with connect(await _address(process, log_file)) as kernel:
                watch = asyncio.create_task(_watch(process, kernel, log_file), name="runner")
                try:
                    yield kernel
                finally:
                    watch.cancel()
        finally:
            await _stop(process)


async def _start(
    words: Sequence[str], log_file: Path, env: Mapping[str, str] | None
) -> asyncio.subprocess.Process:
    with log_file.open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kernel_runner", *words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=env,
        )


async def _address(process: asyncio.subprocess.Process, log_file: Path) -> str:
    assert process.stdout is not None, "it is a pipe"
    if line := await process.stdout.readline():
        return str(json.loads(line)["session"])
    exit_code = await process.wait()
    message = log_file.read_text(errors="replace").strip()
    raise RunnerNotStarted(message or f"exit code {exit_code}")


async def _watch(process: asyncio.subprocess.Process, kernel: Kernel, log_file: Path) -> None:
    """Tell whoever waits for an answer that none will come."""
    exit_code = await process.wait()
    kernel.fail(RunnerDied(exit_code, log_file.read_text(errors="replace").strip()))


async def _stop(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
