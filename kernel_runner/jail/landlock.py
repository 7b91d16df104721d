"""Folders, files and ports come in; a Landlock ruleset goes out, and is laid upon this process.

Landlock binds rules to the files themselves: what a path means is settled when the ruleset is
made, and a link or a rename later changes nothing.  It holds for all that is started afterwards.
"""

from __future__ import annotations

import os
import stat
import struct

from kernel_runner.jail import kernel

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE_DIR: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_CHAR: Final = 1 << 6
MAKE_DIR: Final = 1 << 7
MAKE_REG: Final = 1 << 8
MAKE_SOCK: Final = 1 << 9
MAKE_FIFO: Final = 1 << 10
MAKE_BLOCK: Final = 1 << 11
MAKE_SYM: Final = 1 << 12
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15

RIGHTS: Final = {
    "read": READ_FILE | READ_DIR,
    "execute": EXECUTE,
    "write": (
        READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR
        | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REFER
    ),
    "device": READ_FILE | WRITE_FILE | IOCTL_DEV,
}  # fmt: skip
"""What each list of a policy gives; MAKE_CHAR and MAKE_BLOCK are never given."""

OF_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""The rights that a rule on something else than a folder may have."""

ABI_FOR: Final = {"truncate": 3, "ports": 4, "device ioctl": 5, "scope": 6}
_ALL_FS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
BIND_TCP: Final = 1
CONNECT_TCP: Final = 2
SCOPE_ABSTRACT_SOCKETS: Final = 1
SCOPE_SIGNALS: Final = 2
PATH_BENEATH: Final = 1
NET_PORT: Final = 2
VERSION_FLAG: Final = 1


def abi() -> int:
    """The version of the kernel's Landlock; 0 where it has none or has it switched off."""
    try:
        return kernel.call(kernel.LANDLOCK_CREATE, None, 0, VERSION_FLAG)
    except OSError:
        return 0


def handled_rights(version: int) -> int:
    """All rights of files that this version can refuse."""
    return _ALL_FS[max(known for known in _ALL_FS if known <= version)]


class Ruleset:
    """A ruleset of the kernel; closing it changes nothing for who is already under it.

    Args:
        version: the ABI to use, at least 1 and at most what `abi` says.
        ports: the rights of ports that are refused unless they are given.
        open_abstract: abstract sockets outside may be reached.
    """

    def __init__(
        self, version: int, *, ports: int = BIND_TCP | CONNECT_TCP, open_abstract: bool = False
    ) -> None:
        self._rights = handled_rights(version)
        self._has_ports = version >= ABI_FOR["ports"]
        scope = 0
        if version >= ABI_FOR["scope"]:
            scope = SCOPE_SIGNALS | (0 if open_abstract else SCOPE_ABSTRACT_SOCKETS)
        ports = ports if self._has_ports else 0
        size = 24 if version >= ABI_FOR["scope"] else 16 if self._has_ports else 8
        attributes = struct.pack("=QQQ", self._rights, ports, scope)[:size]
        self.fd = kernel.call(kernel.LANDLOCK_CREATE, attributes, size, 0)

    def allow_path(self, path: str, rights: int) -> bool:
        """False when there is no such path, or this user cannot reach it."""
        try:
            path_fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            rights &= self._rights
            if not stat.S_ISDIR(os.fstat(path_fd).st_mode):
                rights &= OF_FILES
            if rights:
                rule = struct.pack("=Qi", rights, path_fd)
                kernel.call(kernel.LANDLOCK_ADD_RULE, self.fd, PATH_BENEATH, rule, 0)
        finally:
            os.close(path_fd)
        return True

    def allow_ports(self, listen: Iterable[int], connect: Iterable[int]) -> None:
        if not self._has_ports:
            return
        rights: dict[int, int] = {}
        for ports, right in ((listen, BIND_TCP), (connect, CONNECT_TCP)):
            for port in ports:
                rights[port] = rights.get(port, 0) | right
        for port, right in rights.items():
            rule = struct.pack("=QQ", right, port)
            kernel.call(kernel.LANDLOCK_ADD_RULE, self.fd, NET_PORT, rule, 0)

    def close(self) -> None:
        os.close(self.fd)


def restrict_self(ruleset_fd: int) -> None:
    """From now on this thread, and all it starts, has only these rights; needs no_new_privs."""
    kernel.call(kernel.LANDLOCK_RESTRICT_SELF, ruleset_fd, 0)


def ruleset_of(
    places: Mapping[str, Iterable[str]],
    version: int,
    *,
    listen: Iterable[int] | None,
    connect: Iterable[int] | None,
    open_abstract: bool,
) -> tuple[Ruleset, list[str]]:
    """The ruleset of the lists of a policy, and which of their paths do not exist.

    `listen` and `connect` are ports, or None for any.
    """
    ports = (0 if listen is None else BIND_TCP) | (0 if connect is None else CONNECT_TCP)
    ruleset = Ruleset(version, ports=ports, open_abstract=open_abstract)
    missing: list[str] = []
    rights: dict[str, int] = {}
    for name, paths in places.items():
        for path in paths:
            rights[path] = rights.get(path, 0) | RIGHTS[name]
    for path, right in rights.items():
        if not ruleset.allow_path(path, right):
            missing.append(path)
    ruleset.allow_ports(listen or (), connect or ())
    return ruleset, missing
