"""The words behind `run` and `learn` come in; options go out, and what is to be run."""

from __future__ import annotations

import os

from kernel_runner.jail.errors import UsageError
from kernel_runner.jail.start import Start

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from kernel_runner.jail.plan import Plan

WITH_VALUE: Final = ("--policy", "--work-dir", "--report", "--landlock-abi")
PLAIN: Final = ("--paths", "--json", "--quiet", "--strict", "--static")


def read(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The options, and the command behind them.

    Raises:
        UsageError: there is no such option, or no command.
    """
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            break
        if name in WITH_VALUE:
            if not equals and not rest:
                raise UsageError(f"{name} needs a value")
            found[name] = value if equals else rest.pop(0)
        elif word in PLAIN:
            found[word] = ""
        elif word.startswith("-"):
            raise UsageError(f"no option {word}; see kernel-jail --help")
        else:
            rest.insert(0, word)
            break
    if not rest:
        raise UsageError("no command: kernel-jail run -- COMMAND...")
    return found, rest


def start_of(plan: Plan, command: list[str], options: Mapping[str, str]) -> Start:
    """What to run and how.

    Raises:
        UsageError: an option has no such value.
    """
    abi = options.get("--landlock-abi")
    if abi is not None and not abi.isdigit():
        raise UsageError(f"--landlock-abi {abi}: not a number")
    records_fd = 2 if "--json" in options else None
    if (path := options.get("--report")) is not None:
        try:
            records_fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(f"--report {path}: {error.strerror}") from error
    return Start(
        plan,
        command,
        work_dir=options.get("--work-dir"),
        max_abi=None if abi is None else int(abi),
        is_static="--static" in options,
        sentences="--json" not in options and "--quiet" not in options,
        records_fd=records_fd,
    )
