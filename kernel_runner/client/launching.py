"""Starts a runner as a process of its own and connects to it through a private folder."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Final

from kernel_runner.client.connecting import connect
from kernel_runner.client.errors import RunnerDied, RunnerNotStarted
from kernel_runner.client.kernel import Kernel

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0


@asynccontextmanager
async def launch(
    language: str,
    *,
    work_dir: Path | str | None = None,
    runtime_path: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    python: Path | str = sys.executable,
    options: Sequence[str] = (),
    timeout_seconds: float = START_SECONDS,
) -> AsyncIterator[Kernel]:
    """A kernel of this language while the block is open; nothing of it is left afterwards.

    Args:
        work_dir: where the user's files are; without it an empty folder that goes with the block.
        runtime_path: the interpreter or compiler, instead of the one on the PATH.
        env: the environment of runner and programs, instead of this process's.
        python: the Python of the runner, which has this package.
        options: more words for its command line, such as ``"--max-queue-length=10"``.
        timeout_seconds: how long it may take to start.

    Raises:
        RunnerNotStarted: with what it said.

    Example:
        ```python
        from kernel_runner.client import launch

        async with launch("python") as kernel:
            result = await kernel.query("1 + 1").result()
            print(result.stdout.strip())  # 2
        ```
    """
    with (
        tempfile.TemporaryDirectory(prefix="kernel-runner-client-") as folder,
        # not beside the socket: programs walk up from where they run
        tempfile.TemporaryDirectory(prefix="kernel-runner-work-") as own_work_dir,
        # a pipe would fill up, and the runner wait for its reader; a name could be left behind
        tempfile.TemporaryFile() as log,
    ):
        words = [str(python), "-m", "kernel_runner", language, "--until-eof"]
        words.append(f"--work-dir={work_dir or own_work_dir}")
        if runtime_path is not None:
            words.append(f"--runtime-path={runtime_path}")
        words += ["--in=none", "--out=none", f"--session=ipc://{folder}/session", *options]
        process = await _start(words, log, env)
        _leave_to(process, folder, own_work_dir)
        try:
            address = await _address(process, log, timeout_seconds)
            async with AsyncExitStack() as stack:
                async with _while_it_lives(process, log):
                    connection = connect(address, timeout_seconds=timeout_seconds)
                    kernel = await stack.enter_async_context(connection)
                watch = asyncio.create_task(_watch(process, kernel, log), name="runner")
                stack.callback(watch.cancel)
                yield kernel
        finally:
            await _stop(process)


async def _start(
    words: Sequence[str], log: IO[bytes], env: Mapping[str, str] | None
) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE,  # ends with us, however we end
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=env,
            start_new_session=True,  # a Ctrl-C in our terminal is for us to act on
        )
    except OSError as error:
        raise RunnerNotStarted(f"cannot start {words[0]}: {error.strerror}") from error


def _leave_to(process: asyncio.subprocess.Process, *folders: str) -> None:
    """The runner removes the folders where we are killed before we can."""
    assert process.stdin is not None, "it is a pipe"
    process.stdin.writelines(os.fsencode(folder) + b"\n" for folder in folders)


def _said(log: IO[bytes]) -> str:
    """What the runner has logged; its place in the file is not ours to move."""
    size_bytes = os.fstat(log.fileno()).st_size
    return os.pread(log.fileno(), size_bytes, 0).decode(errors="replace").strip()


async def _address(
    process: asyncio.subprocess.Process, log: IO[bytes], timeout_seconds: float
) -> str:
    assert process.stdout is not None, "it is a pipe"
    try:
        async with asyncio.timeout(timeout_seconds):
            if line := await process.stdout.readline():
                return str(json.loads(line)["session"])
    except TimeoutError as error:
        text = f"the runner did not tell its address within {timeout_seconds:g} s"
        raise RunnerNotStarted(text) from error
    exit_code = await process.wait()
    message = _said(log)
    raise RunnerNotStarted(message or f"exit code {exit_code}")


@asynccontextmanager
async def _while_it_lives(
    process: asyncio.subprocess.Process, log: IO[bytes]
) -> AsyncIterator[None]:
    """The block ends with `RunnerDied` when the runner's process does."""
    loop = asyncio.get_running_loop()
    end = asyncio.create_task(process.wait(), name="end of the runner")

    def give_up(_: object) -> None:
        patience.reschedule(loop.time())

    try:
        async with asyncio.timeout(None) as patience:
            end.add_done_callback(give_up)
            try:
                yield
            finally:
                end.remove_done_callback(give_up)
    except TimeoutError as error:
        if not patience.expired():
            raise
        raise RunnerDied(end.result(), _said(log)) from error
    finally:
        end.cancel()


async def _watch(process: asyncio.subprocess.Process, kernel: Kernel, log: IO[bytes]) -> None:
    """Tell whoever waits for an answer that none will come."""
    exit_code = await process.wait()
    kernel.fail(RunnerDied(exit_code, _said(log)))


async def _stop(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
