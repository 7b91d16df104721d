"""A process that waits in a call comes in; what its arguments point to goes out.

What is read here may have changed by the time it is used: it is only told, or used for a call
that the supervisor makes itself.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

PAGE: Final = 4096
MAX_PATH: Final = 4096
AT_FDCWD: Final = -100
MAX_ADDRESS: Final = 110
AF_UNIX: Final = 1
AF_INET: Final = 2
AF_INET6: Final = 10
O_PATH: Final = os.O_PATH
READ, WRITE, EXECUTE = "read", "write", "execute"

PATHS: Final = {
    # the call: its paths, each with the place of its folder's descriptor, and what they are for
    "open": ((0, None, ""),), "openat": ((1, 0, ""),), "openat2": ((1, 0, ""),),
    "creat": ((0, None, WRITE),), "execve": ((0, None, EXECUTE),),
    "truncate": ((0, None, WRITE),), "unlink": ((0, None, WRITE),),
    "unlinkat": ((1, 0, WRITE),), "mkdir": ((0, None, WRITE),), "mkdirat": ((1, 0, WRITE),),
    "rmdir": ((0, None, WRITE),), "rename": ((0, None, WRITE), (1, None, WRITE)),
    "renameat": ((1, 0, WRITE), (3, 2, WRITE)), "renameat2": ((1, 0, WRITE), (3, 2, WRITE)),
    "symlink": ((1, None, WRITE),), "symlinkat": ((2, 1, WRITE),),
    "link": ((0, None, WRITE), (1, None, WRITE)), "linkat": ((1, 0, WRITE), (3, 2, WRITE)),
    "mknod": ((0, None, WRITE),), "mknodat": ((1, 0, WRITE),),
}  # fmt: skip


read_for_us: Callable[[int, int, int], bytes] | None = None
"""Who reads memory where Yama lets only ancestors do it, and we are none."""


def read_memory(pid: int, address: int, size: int) -> bytes:
    """Raises OSError when the process has ended, or nothing is there."""
    try:
        return read_own(pid, address, size)
    except PermissionError:
        if read_for_us is None:
            raise
        return read_for_us(pid, address, size)


def read_own(pid: int, address: int, size: int) -> bytes:
    """The same of a process that is below this one."""
    memory_fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(memory_fd, size, address)
    except OverflowError as error:
        raise OSError(14, os.strerror(14)) from error
    finally:
        os.close(memory_fd)


def read_string(pid: int, address: int) -> bytes:
    """A string that ends with NUL; raises OSError as `read_memory` and for one too long."""
    found = b""
    while len(found) < MAX_PATH:
        size = PAGE - (address + len(found)) % PAGE
        piece, end, _ = read_memory(pid, address + len(found), size).partition(b"\0")
        found += piece
        if end:
            return found
    raise OSError(36, os.strerror(36))


def signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value


def folder_of(pid: int, descriptor: int | None) -> str:
    """Where a relative path begins, as a link in /proc."""
    if descriptor is None or descriptor == AT_FDCWD:
        return f"/proc/{pid}/cwd"
    return f"/proc/{pid}/fd/{descriptor}"


def full_path(pid: int, path: bytes, descriptor: int | None) -> str:
    """The path from the root, as far as it can be told now."""
    text = os.fsdecode(path)
    if not text.startswith("/"):
        text = f"{os.readlink(folder_of(pid, descriptor))}/{text}"
    own = f"/proc/{pid}"
    if text.startswith(("/proc/self/", "/proc/thread-self/")):
        text = own + text[text.index("self") + 4 :]
    return os.path.normpath(text).replace("//", "/", 1)


def uses(pid: int, call: str, args: Sequence[int]) -> list[tuple[str, str]]:
    """What the call wants with which paths: (read | write | execute, path).

    Raises:
        OSError: it cannot be told.
    """
    found: list[tuple[str, str]] = []
    for path_at, folder_at, right in PATHS[call]:
        descriptor = None if folder_at is None else signed(args[folder_at])
        path = full_path(pid, read_string(pid, args[path_at]), descriptor)
        if right:
            found.append((right, path))
            continue
        found += [(one, path) for one in _rights_of_open(pid, call, args)]
    return found


def _rights_of_open(pid: int, call: str, args: Sequence[int]) -> list[str]:
    if call == "openat2":
        (flags,) = struct.unpack("=Q", read_memory(pid, args[2], 8))
    else:
        flags = args[1 if call == "open" else 2] & 0xFFFFFFFF
    if flags & O_PATH:
        return []
    mode = flags & os.O_ACCMODE
    wanted = [READ] if mode in (os.O_RDONLY, os.O_RDWR) else []
    return [*wanted, WRITE] if mode or flags & (os.O_CREAT | os.O_TRUNC) else wanted


def socket_path_of(pid: int, args: Sequence[int]) -> str | None:
    """The path of an address of this machine; None for another, or one without a path.

    Raises:
        OSError: it cannot be read.
    """
    raw = read_memory(pid, args[1], min(args[2] & 0xFFFFFFFF, MAX_ADDRESS))
    if len(raw) <= 2 or struct.unpack_from("=H", raw) != (AF_UNIX,) or raw[2] == 0:
        return None
    return full_path(pid, raw[2:].partition(b"\0")[0], None)


def port_of(pid: int, args: Sequence[int]) -> int | None:
    """The TCP port of an address of the internet; None for another."""
    raw = read_memory(pid, args[1], 4)
    if len(raw) < 4:
        return None
    (family,) = struct.unpack_from("=H", raw)
    return int.from_bytes(raw[2:4], "big") if family in (AF_INET, AF_INET6) else None
