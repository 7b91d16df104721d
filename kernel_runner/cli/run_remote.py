"""A program in, run by a runner that is there already; its exit code out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePath

from kernel_runner.cli.foreground import Ended, Foreground
from kernel_runner.cli.program import Program, build_and_execute, hidden_name
from kernel_runner.cli.remote import ANSWER_SECONDS
from kernel_runner.cli.standard_streams import terminal_of_program
from kernel_runner.cli.status_line import StatusLine
from kernel_runner.client.connecting import connect
from kernel_runner.client.kernel import Kernel
from kernel_runner.errors import UsageError
from kernel_runner.messages import commands


def run_there(program: Program, address: str, files: Sequence[str], key_file: Path | None) -> int:
    """Send the files to the runner's work directory, build and execute them there.

    Args:
        files: the sources, and what else the program needs.
    """
    try:
        return asyncio.run(_run(program, address, files, key_file))
    except Ended as ended:
        return ended.exit_code


async def _run(program: Program, address: str, files: Sequence[str], key_file: Path | None) -> int:
    async with connect(address, key_file=key_file, timeout_seconds=ANSWER_SECONDS) as kernel:
        check_language(program, kernel)
        foreground = Foreground(kernel, terminal_of_program(), feeds_stdin=True)
        with foreground.attached(is_last=True):
            async with sent(program, kernel, files, foreground.status) as sources:
                return await build_and_execute(program, sources, kernel, foreground)


def check_language(program: Program, kernel: Kernel) -> None:
    """Raises `UsageError` where the runner has another one."""
    assert kernel.welcome is not None, "it has said hello"
    if (language := kernel.welcome.language) != program.language.name:
        raise UsageError(f"{kernel.address} runs {language}, and this is {program.language.name}")


@asynccontextmanager
async def sent(
    program: Program, kernel: Kernel, files: Sequence[str], status: StatusLine
) -> AsyncIterator[tuple[str, ...]]:
    """The names that the sources have there."""
    if program.code is not None:
        name = hidden_name(program)
        await kernel.upload(name, program.code)
        try:
            yield (name,)
        finally:
            kernel.send(commands.Clean(f"rm -f {name}"))
        return
    names = {file: _name_there(file) for file in files}
    if len(set(names.values())) < len(names):
        raise UsageError("two of the files would have the same name there")
    with status.showing("sending files ..."):
        for number, (file, name) in enumerate(names.items(), 1):
            status.update(f"sending {name} ({number} of {len(names)}) ...")
            await kernel.upload(name, Path(file))
    yield tuple(names[source] for source in program.sources)


def _name_there(file: str) -> str:
    """Below the current folder a file keeps its path, from elsewhere it has its name alone."""
    path = PurePath(file)
    return path.name if path.is_absolute() or ".." in path.parts else str(path)
