"""A program in, run by a runner in this process; its exit code out."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from kernel_runner import cgroup
from kernel_runner.cli.foreground import Ended, Foreground
from kernel_runner.cli.local import local_kernel
from kernel_runner.cli.program import Program, build_and_execute, write_hidden
from kernel_runner.cli.standard_streams import streams_for_itself, terminal_of_program
from kernel_runner.launcher import Launcher


def run_here(program: Program, control: socket.socket, *, watch: bool) -> int:
    """Run it in the current folder; nothing is left of it when this returns.

    Args:
        control: leads to a guardian, which ends with it.
        watch: run it again whenever one of its sources changes, until Ctrl-C.
    """
    launcher = Launcher(control, cgroup.own_folder())
    try:
        if watch:
            from kernel_runner.cli.watch import run_at_changes

            return asyncio.run(run_at_changes(lambda: _run(program, launcher), program.sources))
        return asyncio.run(_run(program, launcher, is_last=True))
    except Ended as ended:
        return ended.exit_code
    finally:
        control.close()
        os.wait()  # the guardian, which leaves when all that was started has ended


async def _run(program: Program, launcher: Launcher, *, is_last: bool = False) -> int:
    with _source_files(program, launcher) as sources:
        terminal = terminal_of_program()
        async with local_kernel(
            program.language,
            launcher,
            work_dir=Path.cwd(),
            own_streams=streams_for_itself(terminal),
            runtime_path=program.runtime_path,
            jail=program.jail,
        ) as kernel:
            foreground = Foreground(kernel, terminal, feeds_stdin=False)
            with foreground.attached(is_last=is_last):
                return await build_and_execute(program, sources, kernel, foreground)


@contextmanager
def _source_files(program: Program, launcher: Launcher) -> Iterator[tuple[str, ...]]:
    """The names of the sources; source text becomes a hidden file of the current folder.

    There it finds its neighbours: modules, headers.  Where nothing can be written it has none.
    """
    if program.code is None:
        yield program.sources
        return
    with ExitStack() as stack:

        def elsewhere() -> Path:
            folder = stack.enter_context(TemporaryDirectory(prefix="kernel-runner-"))
            launcher.remove_at_end(Path(folder))
            return Path(folder)

        file = write_hidden(program, launcher.remove_at_end, elsewhere)
        stack.callback(file.unlink, missing_ok=True)
        yield (str(file),)
