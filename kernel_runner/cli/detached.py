"""Work that was detached: what is needed to come back to it, by a short name, in and out.

Each has a folder of the user's own with a record.  That of a runner which was started for it is
removed by the runner when it ends; a runner that is there already knows nothing of its own.
"""

import os
import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from kernel_runner import addresses
from kernel_runner.errors import ConfigError, UsageError

NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
MAX_STEM_CHARACTERS: Final = 20
RECORD: Final = "record.json"
SOCKET: Final = "session"


class Detached(msgspec.Struct, frozen=True):
    """One program that runs, or has run; `name` is also the id of its request."""

    name: str
    address: str
    session: str
    language: str
    key_file: str | None
    is_own: bool
    """Whether the runner was started for it."""

    @property
    def requests(self) -> tuple[str, str]:
        """The ids of its build and its execution."""
        return f"{self.name}-build", self.name


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where they are: not in the folder for run time, which goes when the user logs out."""
    home = environment.get("HOME") or "/"  # a container's user may have none
    state = Path(environment.get("XDG_STATE_HOME") or Path(home, ".local", "state"))
    return Path("/", state, "kernel-runner", "detached")


def new_folder(title: str) -> Path:
    """An empty folder, open to nobody else; its name is a new one that tells of the title.

    Raises:
        ConfigError: it cannot be made, or others can enter the folder of all.
    """
    stem = "-".join(NAME.findall(title))[:MAX_STEM_CHARACTERS].strip("-") or "work"
    made = folder() / f"{stem}-{os.urandom(2).hex()}"
    try:
        made.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        addresses.make_private(made.parent)
        made.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError([f"{made}: {error.strerror}; is XDG_STATE_HOME right?"]) from error
    return made


def write(work: Detached) -> None:
    """From now on it can be found."""
    file = folder() / work.name / RECORD
    new = file.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(work))
    new.replace(file)  # whoever finds it finds all of it


def remove(work: Detached) -> None:
    """It was fetched, or is lost."""
    shutil.rmtree(folder() / work.name, ignore_errors=True)


def every() -> Sequence[Detached]:
    """All that can be come back to, the oldest first; what is lost is removed."""
    files = sorted(folder().glob(f"*/{RECORD}"), key=_made_at)
    there = []
    for file in files:
        if (work := find(file.parent.name)) is None:
            continue
        if is_lost(work):
            remove(work)
        else:
            there.append(work)
    return there


def find(name: str) -> Detached | None:
    """That of this name; its runner may have been killed."""
    if NAME.fullmatch(name) is None:
        return None
    try:
        return msgspec.json.decode((folder() / name / RECORD).read_bytes(), type=Detached)
    except (OSError, msgspec.DecodeError):
        return None


def is_lost(work: Detached) -> bool:
    """Whether its runner is surely gone; one at another machine may only be away."""
    scheme, _, path = work.address.partition("://")
    return scheme == "ipc" and path.startswith("/") and not _is_heard(path)


def only(works: Sequence[Detached]) -> Detached:
    """The one that is meant by no name.

    Raises:
        UsageError: there is none, or more than one.
    """
    match works:
        case [work]:
            return work
        case []:
            text = "nothing is detached; `kernel-runner run --detach FILE` does it"
            raise UsageError(text)
        case several:
            raise UsageError(f"which one? {listed(several)}")


def listed(works: Sequence[Detached]) -> str:
    """Their names, for a person."""
    return ", ".join(f"{work.name} ({work.language})" for work in works)


def _made_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # it has just gone
        return 0.0


def _is_heard(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # it may be busy, or not ours
            return True
    return True
