"""Nothing comes in; what this kernel enforces goes out, a line for each rule."""

from __future__ import annotations

import os
from dataclasses import dataclass

from kernel_runner.jail import landlock, launch, syscalls


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule: whether it holds here, and what it rests on or what is missing."""

    rule: str
    holds: bool
    text: str


def probe(abi: int | None = None) -> list[Finding]:
    """What can be enforced here; with `abi`, by that version of Landlock."""
    known = landlock.abi()
    version = known if abi is None else min(abi, known)
    listens = launch.has_notifications()
    machine = syscalls.this_machine()
    ports, scope, truncate = version >= 4, version >= 6, version >= 3
    return [
        Finding("system calls", machine is not None, f"seccomp filter for {os.uname().machine}"),
        Finding(
            "reports, counts of processes, metadata",
            listens,
            "seccomp notification" if listens else "no seccomp notification: Linux 5.9 and newer",
        ),
        Finding(
            "files: read, write, execute",
            version >= 2,
            f"Landlock ABI {version}" if version else "no Landlock: Linux 5.13 and newer, and lsm=",
        ),
        Finding(
            "files: truncation",
            version >= 1,
            "Landlock" if truncate else "the filter: truncate() by path is refused",
        ),
        Finding(
            "TCP ports",
            ports,
            "Landlock" if ports else "Landlock ABI 4 is missing: no ports can be allowed",
        ),
        Finding(
            "signals to others",
            version >= 1,
            "Landlock" if scope else "the filter guards the jail's own processes, not others",
        ),
        Finding(
            "abstract sockets of others",
            scope,
            "Landlock" if scope else "Landlock ABI 6 is missing: holds while unix is false",
        ),
    ]
