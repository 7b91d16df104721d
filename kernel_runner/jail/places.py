"""The paths of a plan come in, with variables; those of this start go out."""

from __future__ import annotations

import os

from kernel_runner.jail.errors import NoSuchProgram, NotExecutable

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Final

VARIABLES: Final = ("work_dir", "tmp", "python", "program", "terminal", "home", "package", "media")
"""`{python}`: the virtual environment or installation of Python that the program is in;
`{program}`: its own file; `{terminal}`: the terminals that it is given; `{package}`: the folder
that this package is in; `{media}`: the socket where a runner takes what its program shows.  Some
may be nothing."""


def put_in(paths: Iterable[str], variables: Mapping[str, Sequence[str]]) -> list[str]:
    """Paths with a variable become one for each of its values, or none."""
    found: list[str] = []
    for path in paths:
        if not path.startswith("{"):
            found.append(path)
            continue
        name, _, rest = path[1:].partition("}")
        found += [value + rest for value in variables.get(name, ())]
    return found


def variables(*, work_dir: str, tmp: str, program: str) -> dict[str, list[str]]:
    home = os.environ.get("HOME", "")
    return {
        "work_dir": [work_dir],
        "tmp": [tmp],
        "python": python_of(program),
        "program": [program],
        "terminal": terminals(),
        "package": [os.path.dirname(os.path.dirname(os.path.dirname(__file__)))],
        "home": [home] if home.startswith("/") and home != "/" else [],
    }


def python_of(program: str) -> list[str]:
    """The folders of the Python that this program belongs to; none if it belongs to none."""
    found: list[str] = []
    for path in (program, os.path.realpath(program)):
        prefix = os.path.dirname(os.path.dirname(path))
        is_virtual = os.path.isfile(f"{prefix}/pyvenv.cfg")
        if prefix not in ("", "/", *found) and (is_virtual or _has_library(prefix)):
            found.append(prefix)
    return found


def _has_library(prefix: str) -> bool:
    try:
        names = os.listdir(f"{prefix}/lib")
    except OSError:
        return False
    return any(
        name.startswith("python3") and os.path.isfile(f"{prefix}/lib/{name}/os.py")
        for name in names
    )


def terminals() -> list[str]:
    found: list[str] = []
    for fd in (0, 1, 2):
        if os.isatty(fd):
            name = os.ttyname(fd)
            if name not in found:
                found.append(name)
    return [*found, "/dev/tty"] if found else []


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Whether `path` is one of them or inside of one; the folders are real paths."""
    return any(path == one or path.startswith(f"{one.rstrip('/')}/") for one in folders)


def find_program(name: str, path: str, work_dir: str) -> str:
    """The program that a shell would run, as a full path.

    Raises:
        NoSuchProgram, NotExecutable: there is none, or it cannot be executed.
    """
    folders = [""] if "/" in name else [f"{one or '.'}/" for one in path.split(":")]
    refused = ""
    for folder in folders:
        candidate = os.path.join(work_dir, f"{folder}{name}")
        if os.path.isdir(candidate):
            refused = refused or f"{candidate} is a directory"
        elif os.access(candidate, os.X_OK):
            return os.path.normpath(candidate)
        elif os.path.exists(candidate):
            refused = f"{candidate} is not executable"
    if refused:
        raise NotExecutable(name, refused)
    raise NoSuchProgram(name)


def check_executable(name: str, program: str, allowed: Sequence[str], policy: str) -> None:
    """Say beforehand what Landlock would refuse without a word.

    Raises:
        NotExecutable: the program, or the interpreter that its first line names.
    """
    real = [os.path.realpath(one) for one in allowed]
    if not is_below(os.path.realpath(program), real):
        raise NotExecutable(name, f"{program} is not in files.execute of {policy}")
    try:
        with open(program, "rb") as file:
            first = file.readline(256)
    except OSError:  # it may be executed without being read
        return
    words = first[2:].split(None, 1) if first.startswith(b"#!") else []
    if not words:
        return
    interpreter = os.fsdecode(words[0])
    if not os.path.exists(interpreter):
        raise NotExecutable(name, f"its interpreter {interpreter} does not exist")
    if not is_below(os.path.realpath(interpreter), real):
        raise NotExecutable(
            name, f"its interpreter {interpreter} is not in files.execute of {policy}"
        )
