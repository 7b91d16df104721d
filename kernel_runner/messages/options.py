"""What a request may say about how it is run: the keys of a queued command's header."""

from typing import Annotated, Literal

import msgspec

StdinMode = Literal["prompt", "stream", "none"]
OnOutputLimit = Literal["end", "drop"]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one task may use; absent is as the runner is configured, which may be unlimited.

    `processes` counts threads, too.  Of more output than `output_bytes` the head and the tail are
    sent; `on_output_limit` says whether the program is ended (the default) or what lies between
    is dropped while it goes on.
    """

    wall_s: float | None = None
    cpu_s: float | None = None
    memory_bytes: int | None = None
    output_bytes: int | None = None
    processes: int | None = None
    file_bytes: int | None = None
    open_files: int | None = None
    on_output_limit: OnOutputLimit | None = None


NUMBERS = tuple(name for name in Limits.__struct_fields__ if name != "on_output_limit")
"""The limits that are a number."""


StandardStream = Literal["stdin", "stdout", "stderr"]
Characters = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class Terminal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One terminal of this many characters, which `streams` are; the other streams are pipes."""

    rows: Characters
    cols: Characters
    streams: Annotated[tuple[StandardStream, ...], msgspec.Meta(min_length=1)] = (
        "stdin",
        "stdout",
        "stderr",
    )


class TaskOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one queued command is run.

    `stdin`: ``prompt`` accepts input while the program waits for it, ``stream`` at any time,
    ``none`` gives end of file.  On the wire it can be bytes instead, here in `stdin_bytes`: they
    are given as they are, then end of file.
    `tty`: absent means as the kind of program wants, false means pipes as in a shell's pipeline.
    `cwd` and `sources` are relative to the work directory; `sources` are the files of the program,
    the main one first, where the language is not to look for them.  `run` groups clean, build and
    exec.  `as_data` is for queries: the value of the last expression comes as `media`, and what was
    raised in the finish alone, where the language can; neither is printed.
    """

    run: str | None = None
    args: tuple[str, ...] = ()
    stdin: StdinMode = "prompt"
    stdin_bytes: bytes | None = None
    limits: Limits = Limits()
    env: dict[str, str] = {}
    cwd: str | None = None
    tty: Literal[False] | Terminal | None = None
    sources: tuple[str, ...] = ()
    keep_background: bool = False
    as_data: bool = False

    def set_for_programs(self) -> str:
        """The names of those options that are set and only make sense for a program of its own."""
        names = ("args", "env", "cwd", "tty", "sources", "keep_background")
        return ", ".join(name for name in names if getattr(self, name))


DEFAULT_OPTIONS = TaskOptions()
