"""A program of a task in, its exit code out: with its streams, pictures, limits and input."""

import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from kernel_runner import prompts, shown
from kernel_runner.host import Host
from kernel_runner.launcher import Argv
from kernel_runner.limits import budget_of
from kernel_runner.messages import events
from kernel_runner.messages.options import Terminal
from kernel_runner.process import Flow, OutputKind, Program, Streams
from kernel_runner.task import Task

Environment: TypeAlias = Mapping[str, str]

log = logging.getLogger(__name__)


async def run_program(
    host: Host,
    task: Task,
    argv: Argv,
    *,
    cwd: Path,
    env: Environment,
    output: OutputKind,
    media_environment: Callable[[Environment], Environment] | None,
) -> int:
    """Returns when its whole process tree has ended and all its output was passed on.

    Args:
        media_environment: adds what makes its libraries show pictures; None: it can show none.

    Raises:
        LaunchError: it could not be started.
    """
    task.check_interrupted()
    streams = _streams(host, task, output)
    with _showing(host, task, env, streams, media_environment) as environment:
        program = await Program.start(
            host.launcher,
            argv,
            env=environment,
            cwd=cwd,
            program_streams=streams,
            signals=task.signals,
            on_limit=task.pass_limit,
            on_killed=task.violate,
            budget=budget_of(task.limits, used_cpu_seconds=task.cpu_seconds),
            on_stopped=lambda number: task.post(events.Stopped(signal.Signals(number).name)),
        )
        task.program = program
        watcher = _connect(task, program, streams)
        task.begin(program)
        try:
            return await _end(task, program)
        finally:
            if watcher is not None:
                watcher.stop()
            task.activity = task.program = None
            task.input.disconnect()


def _streams(host: Host, task: Task, output: OutputKind) -> Streams:
    options = task.options
    streams = Streams(_flow_to(task))
    is_counted = task.limits.output_bytes is not None
    for number, fd in host.own_streams.items() if options.stdin == "stream" else ():
        if number == 0 or not is_counted:
            streams.give(os.dup(fd), number)
    match options.tty:
        case Terminal():
            streams.open_terminal(options.tty)
            output = "pipes"
        case False:
            output = "pipes"
    if streams.gives(0):
        pass
    elif options.stdin == "stream" or options.stdin_bytes is not None:
        streams.open_input("pipe")
    else:
        streams.open_input("null" if options.stdin == "none" else "terminal")
    streams.open_output(output)
    return streams


def _flow_to(task: Task) -> Flow:
    """Sends output to the task; slows the program down with its client."""
    return Flow(
        on_output=task.output,
        is_full=lambda: task.session.full,
        when_room=task.session.when_room,
        pause=task.clock.pause,
    )


@contextmanager
def _showing(
    host: Host,
    task: Task,
    env: Environment,
    streams: Streams,
    media_environment: Callable[[Environment], Environment] | None,
) -> Iterator[Environment]:
    """The environment in which a program finds where to show its pictures."""
    if media_environment is None:
        yield env
        return
    with shown.listening(host.scratch, task, streams.drain) as found:
        yield {**media_environment(env), **found} if found else env


def _connect(task: Task, program: Program, streams: Streams) -> prompts.Watcher | None:
    if streams.input is None:
        return None
    task.input.connect(streams.input)
    return prompts.Watcher(program.spawned, streams.input, task.input, lambda: streams.last_output)


async def _end(task: Task, program: Program) -> int:
    try:
        if task.options.keep_background:
            await program.wait_keeping_background()
        else:
            tree = await program.wait()
            if tree.swept and task.end_reason is None:
                log.info("ended with the program: %s", ", ".join(tree.swept))
    finally:
        # also when the runner stops: the finish tells how the program ended
        task.add_program(program.exit, program.tree)
    return task.exit_code
