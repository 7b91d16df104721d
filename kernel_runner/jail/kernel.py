"""Numbers and buffers come in; they go to the kernel as calls that Python's `os` does not have."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

CAPSET: Final = {"x86_64": 126, "aarch64": 91}
SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
LANDLOCK_CREATE: Final = 444  # these have one number on all machines
LANDLOCK_ADD_RULE: Final = 445
LANDLOCK_RESTRICT_SELF: Final = 446
OPENAT2: Final = 437

SET_MODE_FILTER: Final = 1
GET_ACTION_AVAIL: Final = 2
NEW_LISTENER: Final = 8
WAIT_KILLABLE_RECV: Final = 32

_libc: Final = ctypes.CDLL(None, use_errno=True)
_syscall: Final = _libc.syscall
_syscall.restype = ctypes.c_long


def call(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """The system call `number`.

    Raises:
        OSError: as the kernel says.
    """
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = int(_syscall(ctypes.c_long(number), *words))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def prctl(option: int, value: int, third: int = 0) -> int:
    result = int(_libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(third), 0, 0))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def address_of(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def buffer(content: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(content, len(content))
