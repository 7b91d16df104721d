"""Addresses as people write them in, as ZeroMQ takes them out; which of them reach how far."""

import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kernel_runner.errors import ConfigError

NO_ADDRESS: Final = "none"
LOOPBACK: Final = "127.0.0.1"
MAX_IPC_BYTES: Final = 107
"""What the kernel takes as the path of a socket."""


def in_full(text: str, host: str = LOOPBACK) -> str:
    """The address that is meant: a port alone is one of this host."""
    if not text.isdecimal():
        return text
    return f"tcp://{f'[{host}]' if ':' in host else host}:{text}"


def problem_of(address: str) -> str | None:
    """Why this cannot be bound; None when it may be possible."""
    scheme, _, rest = address.partition("://")
    match scheme:
        case "ipc" if rest:
            is_long = len(os.fsencode(rest)) > MAX_IPC_BYTES
            return f"{address}: the path has more than {MAX_IPC_BYTES} bytes" if is_long else None
        case "tcp":
            host, _, port = rest.rpartition(":")
            if host and port.isdecimal() and int(port) <= 65_535:
                return None
            return f"{address!r} is no address; write tcp://HOST:PORT, 0 for any port"
    return f"{address!r} is no address; write tcp://HOST:PORT, PORT, ipc://PATH or none"


def reaches_others(address: str) -> bool:
    """Whether other machines may reach an address in which nothing else is wrong."""
    host = address.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    return address.startswith("tcp://") and not is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address; of names only ``localhost`` counts."""
    if host == "localhost":
        return True
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            packed = socket.inet_pton(family, host)
        except OSError:
            continue
        return packed[0] == 127 if family == socket.AF_INET else packed == b"\0" * 15 + b"\1"
    return False


def private_session(environment: Mapping[str, str]) -> str:
    """Where a session is that nobody gave an address: in a folder of this user alone."""
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        return f"ipc://{Path(runtime).absolute()}/kernel-runner/session"
    temporary = Path(environment.get("TMPDIR") or "/tmp").absolute()
    return f"ipc://{temporary}/kernel-runner-{os.getuid()}/session"


def make_private(folder: Path) -> None:
    """Make a folder that nobody else can enter, if it is not there.

    Raises:
        ConfigError: it cannot be made, or others can enter what is there.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise ConfigError([f"session: {folder}: {error.strerror}; give an address"]) from error
    is_folder = stat.S_ISDIR(status.st_mode)  # a link is none
    if not is_folder or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ConfigError(
            [f"session: {folder} is open to others; remove it, or give another address"]
        )
