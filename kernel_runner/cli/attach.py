"""`attach`: the name of detached work comes in; what it printed and prints, and its exit code out.

Ctrl-C lets go of it, and it goes on: it was detached to be safe from this terminal.
"""

import argparse
import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from kernel_runner.cli import detached, output
from kernel_runner.cli.detached import Detached
from kernel_runner.cli.foreground import Ended, Foreground
from kernel_runner.cli.key_option import add_key, key_file_of
from kernel_runner.cli.program import exit_code_of
from kernel_runner.cli.remote import ANSWER_SECONDS
from kernel_runner.cli.standard_streams import terminal_of_program
from kernel_runner.client.connecting import connect
from kernel_runner.client.errors import RequestRefused, RunnerUnreachable, SessionTaken
from kernel_runner.client.kernel import Kernel
from kernel_runner.errors import KernelRunnerError, UsageError
from kernel_runner.messages import events
from kernel_runner.messages.options import Terminal

EXAMPLES: Final = """\
examples:
  kernel-runner attach                  the only one
  kernel-runner attach train-3f2a       by the name that `run --detach` has printed
  kernel-runner attach train-3f2a > log

All that nobody has seen is shown, and the last of what was, then what comes.  Lines that are typed
are its input.  Ctrl-C lets go of it: it goes on, and can be attached again, from anywhere.
`kernel-runner cancel NAME` ends it; `status` and `queue` take its name, too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="as `run --detach` has printed it; else the only one",
    )
    add_key(parser)


def run(options: argparse.Namespace) -> int:
    """Show it until its end; the program's exit code, or 130 when Ctrl-C has let go of it.

    Raises:
        UsageError: there is none of this name.
        ClientError: it was lost, or attached elsewhere.
    """
    work = _work_of(options.name)
    if detached.is_lost(work):
        raise _lost(work)
    key_file = key_file_of(options) or (Path(work.key_file) if work.key_file else None)
    try:
        exit_code = asyncio.run(_attach(work, key_file))
    except Ended as ended:
        output.note(f"{work.name} goes on; `kernel-runner attach {work.name}` comes back")
        exit_code = ended.exit_code
    except SessionTaken:
        raise KernelRunnerError(f"{work.name} was attached elsewhere, and goes on there") from None
    except RunnerUnreachable as error:
        if detached.is_lost(work):
            raise _lost(work) from None
        record = detached.folder() / work.name
        text = f"{error}; it may only be away: {work.name} is kept, until you remove {record}"
        raise KernelRunnerError(text) from None
    except RequestRefused as refused:
        if refused.code != "no-session":
            raise
        detached.remove(work)
        text = f"{work.name} is not kept any more at {work.address}: it has ended, or expired"
        raise KernelRunnerError(text) from None
    os._exit(exit_code)  # a thread may still wait for keys


def _lost(work: Detached) -> KernelRunnerError:
    detached.remove(work)
    return KernelRunnerError(f"{work.name} is lost with its runner, which has ended")


def _work_of(name: str | None) -> Detached:
    if name is None:
        return detached.only(detached.every())
    if (work := detached.find(name)) is not None:
        return work
    works = detached.every()
    there = f"there is {detached.listed(works)}" if works else "nothing is detached"
    raise UsageError(f"no detached work {name!r}; {there}")


async def _attach(work: Detached, key_file: Path | None) -> int:
    connecting = connect(
        work.address,
        session=work.session,
        requests=work.requests,
        keep=True,
        key_file=key_file,
        timeout_seconds=ANSWER_SECONDS,
    )
    with _let_go_by_signals() as let_go:
        async with connecting as kernel:
            shown = Shown(kernel, let_go)
            if (await kernel.status()).running == work.name:
                shown.take_input()
            exit_code = await exit_code_of(await _follow(work, kernel, shown), shown)
            await kernel.forget()
            detached.remove(work)
            return exit_code


async def _follow(work: Detached, kernel: Kernel, shown: "Shown") -> events.Finished:
    """Show build and execution to the end; the finish that counts.

    What is long shown may be forgotten, the whole build for one.
    """
    failed: events.Finished | None = None
    assert kernel.expected is not None, "there are requests"
    async for received in kernel.expected.received():
        is_build = received.id != work.name
        fd = 2 if is_build else 1
        await shown.pass_on(received.event, stdout_fd=fd, takes_input=not is_build)
        if isinstance(finish := received.event, events.Finished):
            if not is_build:
                return failed or finish
            failed = finish if finish.exit_code else None
    raise AssertionError("it ends with the end of its execution")


class LetGo:
    """Ends the task that made it, and nothing else."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        self._task = task
        self.by: signal.Signals | None = None

    def __call__(self, by: signal.Signals) -> None:
        self.by = by
        self._task.cancel()


@contextmanager
def _let_go_by_signals() -> Iterator[LetGo]:
    """Raises `Ended` when one of them has come."""
    let_go, loop = LetGo(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, let_go, number)
    try:
        yield let_go
    except asyncio.CancelledError:
        if let_go.by is None:
            raise
        raise Ended(let_go.by) from None


class Shown(Foreground):
    """What is in the foreground only to be seen: nothing that happens to us happens to it."""

    def __init__(self, kernel: Kernel, let_go: LetGo) -> None:
        super().__init__(kernel, _seen_terminal(), feeds_stdin=os.isatty(0))
        self._let_go = let_go

    def take_input(self) -> None:
        """It runs already, and what told so may not be kept any more."""
        self._open_input()

    def _open_input(self) -> None:
        if self._feeding is None:
            super()._open_input()

    def _lose_reader(self, error: OSError) -> None:
        self._let_go(signal.SIGPIPE)

    def _suspend(self) -> None:
        self.tell("it was stopped; `kill -CONT` lets it go on")


def _seen_terminal() -> Terminal | None:
    """What pictures are shown in; keys stay with our own terminal, which edits lines."""
    if (terminal := terminal_of_program()) is None:
        return None
    streams = tuple(name for name in terminal.streams if name != "stdin")
    return msgspec.structs.replace(terminal, streams=streams)
