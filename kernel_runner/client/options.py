"""What a queued request may say about how it is run, as keywords, in; `TaskOptions` out."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, TypedDict

import msgspec

from kernel_runner.messages.options import NUMBERS, Limits, StdinMode, TaskOptions, Terminal

LimitValues: TypeAlias = Limits | Mapping[str, float | str]
"""Limits, or their values by name: ``{"wall_s": 10, "memory_bytes": 256 << 20}``."""
Tty: TypeAlias = Literal[False] | tuple[int, int] | Terminal | None
"""A terminal for all streams as (rows, columns), or one as it is described, or False for pipes."""


class QueuedOptions(TypedDict, total=False):
    """The keywords of every queued request; a query to an interpreter takes the first four."""

    stdin: StdinMode | bytes
    """``"prompt"``, the default, takes input while the program waits for it, ``"stream"`` at any
    time, ``"none"`` gives the end of the input; bytes are given as they are."""
    limits: LimitValues | None
    """What it may use, such as ``{"wall_s": 10}``."""
    wall_s: float | None
    """Short for this one of the limits."""
    run: str | None
    """Groups clean, build and exec: where the build has failed, the exec is skipped."""
    args: Sequence[str]
    """What the program gets on its command line."""
    env: Mapping[str, str]
    """Variables that it has beside those of the runner."""
    cwd: str | None
    """Where it runs, below the work directory."""
    tty: Tty
    """A terminal of (rows, columns) for the program, or False for pipes."""
    sources: Sequence[str]
    """The files of the program, where the language is not to look for them."""
    keep_background: bool
    """Leave the programs running that it has left in the background."""
    as_data: bool
    """Of a query: its value comes as `Media` with `is_result`, and what it raised in the finish;
    neither is printed, where the language can do so."""


def task_options(options: QueuedOptions) -> TaskOptions:
    """The same as a message has it.

    Raises:
        TypeError: there is no such option.
        ValueError: an option has a value that it cannot have.
    """
    if not options:
        return TaskOptions()
    if unknown := options.keys() - QueuedOptions.__annotations__.keys():
        known = ", ".join(sorted(QueuedOptions.__annotations__))
        raise TypeError(f"no option {', '.join(sorted(unknown))}; there are {known}")
    for name in ("args", "sources"):
        if isinstance(given := options.get(name), str | bytes):
            raise ValueError(f"{name} is a sequence of words, not {given!r:.80}")
    stdin = options.get("stdin", "prompt")
    if not isinstance(stdin, bytes) and stdin not in ("prompt", "stream", "none"):
        raise ValueError(f"stdin is 'prompt', 'stream', 'none' or bytes, not {stdin!r:.80}")
    try:
        return _checked(_told(options, stdin))
    except msgspec.ValidationError as error:
        what, _, where = str(error).rpartition(" - at `$.")
        raise ValueError(f"{where.rstrip('`')}: {what}" if what else str(error)) from error
    except TypeError as error:  # what is no sequence, no mapping, or nothing that can be sent
        raise ValueError(f"an option has a value that it cannot have: {error}") from error


def _told(options: QueuedOptions, stdin: StdinMode | bytes) -> TaskOptions:
    tty = options.get("tty")
    return TaskOptions(
        run=options.get("run"),
        args=tuple(options.get("args", ())),
        stdin="prompt" if isinstance(stdin, bytes) else stdin,
        stdin_bytes=stdin if isinstance(stdin, bytes) else None,
        limits=_limits(options.get("limits"), options.get("wall_s")),
        env=dict(options.get("env", {})),
        cwd=options.get("cwd"),
        tty=Terminal(*tty) if isinstance(tty, tuple) else tty,
        sources=tuple(options.get("sources", ())),
        keep_background=options.get("keep_background", False),
        as_data=options.get("as_data", False),
    )


def _checked(options: TaskOptions) -> TaskOptions:
    """The same, if the runner can read it; raises `ValidationError`."""
    plain = msgspec.to_builtins(options, builtin_types=(bytes,))
    checked = msgspec.convert(plain, TaskOptions, builtin_types=(bytes,))
    for name in NUMBERS:
        if (value := getattr(checked.limits, name)) is not None and not value > 0:
            raise ValueError(f"limits: {name} has to be above 0, not {value:g}")
    return options


def _limits(given: LimitValues | None, wall_s: float | None) -> Limits:
    if not isinstance(given, Limits):
        try:
            given = msgspec.convert(dict(given or {}), Limits)
        except msgspec.ValidationError as error:
            known = ", ".join(Limits.__struct_fields__)
            raise ValueError(f"limits: {error}; there are {known}") from error
    return given if wall_s is None else msgspec.structs.replace(given, wall_s=wall_s)
