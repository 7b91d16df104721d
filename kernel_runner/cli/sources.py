"""Names of files in; the language that runs them, and which of them are its sources, out."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel_runner import langs
from kernel_runner.errors import UsageError

if TYPE_CHECKING:
    from kernel_runner.base import BaseRunner

MAX_FIRST_LINE_BYTES: Final = 256
"""What Linux reads of the first line of a script."""


def language_of(files: Sequence[str]) -> "type[BaseRunner]":
    """By the endings; where none is known by the first line of the first file.

    Raises:
        UsageError: there is none, or more than one.
    """
    found = {language.name: name for name in files for language in langs.of_file(name)[:1]}
    match sorted(found):
        case []:
            return _by_first_line(files)
        case [only]:
            return langs.load(only)
        case several:
            named = ", ".join(f"{found[name]} is {name}" for name in several)
            raise UsageError(f"one language at a time: {named}; say --lang")


def sources_among(files: Sequence[str], language: "type[BaseRunner]") -> Sequence[str]:
    """Those with an ending of the language; all where none has one."""
    endings = (*language.extensions,)
    return [
        name for name in files if name.endswith(endings) or name.lower().endswith(endings)
    ] or files


def _by_first_line(files: Sequence[str]) -> "type[BaseRunner]":
    names, endings = " ".join(files), " ".join(langs.endings())
    if (interpreter := _interpreter_of(files[0])) is None:
        raise UsageError(f"{names}: not one of the known endings ({endings}); say --lang")
    for name in (interpreter, re.sub(r"[-.\d]+$", "", interpreter)):  # python3.11 is python
        if (language := langs.of_interpreter(name)) is not None:
            return language
    raise UsageError(
        f"{files[0]}: its first line asks for {interpreter}, which no language here has; say --lang"
    )


def _interpreter_of(file: str) -> str | None:
    """The program that the ``#!`` line names, behind ``env`` as well; None without such a line."""
    with Path(file).open("rb") as opened:
        line = opened.read(MAX_FIRST_LINE_BYTES).partition(b"\n")[0].decode(errors="replace")
    if not line.startswith("#!"):
        return None
    program, *words = line.removeprefix("#!").split() or [""]
    if Path(program).name == "env":
        named = [word for word in words if not word.startswith("-") and "=" not in word]
        program = named[0] if named else "env"
    return Path(program).name or None
