"""A policy's name comes in; its plan goes out: the policy compiled to what launching needs.

A plan is kept beside the policy it was made of, in `__jailcache__`: whoever could forge it could
as well change the policy.  It holds the texts it was made of, and is used while they are the same.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys

from kernel_runner.jail.policy_files import locate, read_text

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from typing import Any, Final, TypedDict

    from kernel_runner.jail.bpf import Clauses

    class Plan(TypedDict):
        """One policy, with all it extends, for this machine; variables are not yet put in."""

        policy: str  # as reports name it
        file: str
        places: dict[str, list[str]]  # read, execute, write, device
        listen: list[int] | None  # None: any port
        connect: list[int] | None
        unix: bool
        sockets: list[str]
        max_processes: int | None
        max_threads: int | None
        rlimits: dict[int, int]
        wall_seconds: float | None
        keep: list[str]
        set: dict[str, str]
        on_violation: str  # errno or kill
        landlock: int  # the ABI without which nothing starts
        notify: bool
        best_effort: bool
        clauses: dict[int, Clauses]  # of the calls that are not simply allowed
        filters: dict[str, bytes]  # listening, and silent: where nobody listens


CACHE: Final = "__jailcache__"
_loaded: Final[dict[str, Plan]] = {}
MADE_BY: Final = ("bpf.py", "numbers.py", "plan.py", "policy.py", "rules.py", "syscalls.py")


def load(name: str, *, paths: bool = False) -> Plan:
    """The plan of a policy, from the cache where it holds one of these very texts.

    `paths`: refused files are reported, whatever the policy says.

    Raises:
        PolicyError: it cannot be used.
    """
    path = locate(name)
    kind = "paths" if paths else "plain"
    cached = _cached(path, kind)
    if cached is not None:
        return cached
    from kernel_runner.jail import policy  # late: YAML costs more than the start of the jail

    read = policy.read(path)
    chosen = policy.with_path_reports(read.policy) if paths else read.policy
    plan = policy.compile_policy(chosen, path)
    _keep(path, kind, read.texts, plan)
    return plan


def load_once(name: str) -> Plan:
    """The same for a process that lives on: what a program does to the file changes nothing.

    Raises:
        PolicyError: it cannot be used.
    """
    if name not in _loaded:
        _loaded[name] = load(name)
    return _loaded[name]


def know(name: str, plan: Plan) -> None:
    """Have `load_once` find this one, which another process has loaded."""
    _loaded[name] = plan


def _cache_file(path: str, kind: str) -> str:
    folder, name = os.path.split(path)
    return f"{folder or '.'}/{CACHE}/{name}.{kind}.{os.uname().machine}"


def _stamp() -> list[int]:
    """Changes with the code that makes plans."""
    folder = os.path.dirname(__file__)
    found = [os.stat(f"{folder}/{name}") for name in MADE_BY]
    return [sys.hexversion, *(one.st_mtime_ns ^ one.st_size for one in found)]


def _cached(path: str, kind: str) -> Plan | None:
    try:
        cache_fd = os.open(_cache_file(path, kind), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with open(cache_fd, "rb") as file:
        owner = os.fstat(cache_fd)
        if owner.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return None
        if owner.st_uid not in (0, os.stat(path).st_uid):
            return None
        try:
            stamp, texts, plan = marshal.load(file)
        except (ValueError, EOFError, TypeError):  # half of one
            return None
    if stamp != _stamp() or any(read_text(source) != text for source, text in texts.items()):
        return None
    result: Plan = plan
    return result


def _keep(path: str, kind: str, texts: dict[str, bytes], plan: Plan) -> None:
    target = _cache_file(path, kind)
    try:
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        with open(f"{target}.{os.getpid()}", "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            kept: list[Any] = [_stamp(), texts, plan]
            marshal.dump(kept, file)
        os.replace(f"{target}.{os.getpid()}", target)
    except OSError:  # then each start is 50 ms dearer, and nothing else
        return
