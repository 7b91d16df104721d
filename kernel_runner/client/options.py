"""What a caller says about how a request is run, as keywords, in; `TaskOptions` out."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from kernel_runner.messages.options import Limits, StdinMode, TaskOptions, TerminalSize


class QueuedOptions(TypedDict, total=False):
    """The keywords of every queued request."""

    run: str | None
    args: Sequence[str]
    stdin: StdinMode | bytes
    wall_s: float | None
    env: Mapping[str, str]
    cwd: str | None
    tty: Literal[False] | tuple[int, int] | None
    """(rows, columns), or False for pipes."""
    keep_background: bool


def task_options(options: QueuedOptions) -> TaskOptions:
    stdin = options.get("stdin", "prompt")
    tty = options.get("tty")
    return TaskOptions(
        run=options.get("run"),
        args=tuple(options.get("args", ())),
        stdin="prompt" if isinstance(stdin, bytes) else stdin,
        stdin_bytes=stdin if isinstance(stdin, bytes) else None,
        limits=Limits(wall_s=options.get("wall_s")),
        env=dict(options.get("env", {})),
        cwd=options.get("cwd"),
        tty=TerminalSize(*tty) if isinstance(tty, tuple) else tty,
        keep_background=options.get("keep_background", False),
    )
