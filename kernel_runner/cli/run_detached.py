"""A program in; it runs without us, by a runner of its own or one that is there, its name out."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from kernel_runner.cli import detached, output
from kernel_runner.cli.detached import Detached
from kernel_runner.cli.program import Program, requests_of, write_hidden
from kernel_runner.cli.remote import ANSWER_SECONDS
from kernel_runner.cli.run_remote import check_language, sent
from kernel_runner.cli.status_line import StatusLine
from kernel_runner.client.connecting import connect
from kernel_runner.client.errors import RequestRefused, RunnerNotStarted
from kernel_runner.client.kernel import Kernel
from kernel_runner.client.reply import Reply
from kernel_runner.messages import events

UNREAD_BYTES: Final = 65_536
"""What may come of its output before we leave."""


def run_detached(
    program: Program, files: Sequence[str], address: str | None, key_file: Path | None
) -> int:
    """Have it built and executed, and leave; its name is printed.

    Args:
        files: the sources, and what else the program needs.
        address: of the runner; None: start one, which ends once all was fetched.
    """
    title = Path(files[0]).stem if files and program.code is None else program.language.name
    folder = detached.new_folder(title)
    try:
        name = folder.name
        if address is None:
            work = asyncio.run(_run_here(program, folder))
        else:
            work = asyncio.run(_run_there(program, files, name, address, key_file))
        detached.write(work)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # the runner may have removed it
        raise
    print(name, flush=True)
    output.note(f"it goes on without you; `kernel-runner attach {name}` shows what it prints")
    return 0


async def _run_here(program: Program, folder: Path) -> Detached:
    sources, process = program.sources, _start_runner(program, folder)
    try:
        if program.code is not None:
            source = write_hidden(program, partial(_tell, process), lambda: folder)
            sources = (str(source),)
        _tell(process, folder)
        address = await asyncio.to_thread(_address_of, process, folder)
        async with connect(address, keep=True, timeout_seconds=ANSWER_SECONDS) as kernel:
            return await _submit(program, sources, kernel, folder.name, None, is_own=True)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None, "both are pipes"
            pipe.close()


async def _run_there(
    program: Program, files: Sequence[str], name: str, address: str, key_file: Path | None
) -> Detached:
    connecting = connect(address, keep=True, key_file=key_file, timeout_seconds=ANSWER_SECONDS)
    async with connecting as kernel:
        check_language(program, kernel)
        async with sent(program, kernel, files, StatusLine(lambda data: None)) as sources:
            return await _submit(program, sources, kernel, name, key_file, is_own=False)


async def _submit(
    program: Program,
    sources: tuple[str, ...],
    kernel: Kernel,
    name: str,
    key_file: Path | None,
    *,
    is_own: bool,
) -> Detached:
    """Return once the runner has taken both requests."""
    assert kernel.welcome is not None, "it has said hello"
    work = Detached(
        name,
        kernel.address,
        kernel.welcome.session,
        kernel.welcome.language,
        None if key_file is None else str(key_file.absolute()),
        is_own,
    )
    kernel.max_unread_bytes = UNREAD_BYTES
    build, execute = requests_of(program, sources, build_tty=False, tty=None)
    build_id, execute_id = work.requests
    for reply in (kernel.send(build, build_id), kernel.send(execute, execute_id)):
        await _accepted(reply)
    return work


async def _accepted(reply: Reply) -> None:
    async for event in reply:
        match event:
            case events.Accepted():
                return
            case events.Refused():
                raise RequestRefused(event.code, event.message, event.hint)


# A runner of its own --------------------------------------------------------------------------


def _start_runner(program: Program, folder: Path) -> "subprocess.Popen[bytes]":
    """Not by asyncio, which ends its processes with itself."""
    words = [sys.executable, "-m", "kernel_runner", program.language.name, "--until-fetched"]
    words += ["--in=none", "--out=none", f"--session=ipc://{folder}/{detached.SOCKET}"]
    words += [f"--work-dir={Path.cwd()}", f"--build-dir={folder}"]
    if program.jail is not None:
        words.append(f"--jail={program.jail}")
    if program.runtime_path is not None:
        words.append(f"--runtime-path={program.runtime_path}")
    with Path(folder, "log").open("wb") as log:
        return subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # our terminal and its keys are none of its business
        )


def _tell(process: "subprocess.Popen[bytes]", path: Path) -> None:
    """It removes this when it ends."""
    assert process.stdin is not None, "it is a pipe"
    try:
        process.stdin.write(os.fsencode(path) + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return  # it has not started, and will say why


def _address_of(process: "subprocess.Popen[bytes]", folder: Path) -> str:
    assert process.stdout is not None, "it is a pipe"
    if line := process.stdout.readline():
        return str(json.loads(line)["session"])
    exit_code = process.wait()
    said = Path(folder, "log").read_text(errors="replace").strip()
    raise RunnerNotStarted(said.removeprefix("kernel-runner: ") or f"exit code {exit_code}")
