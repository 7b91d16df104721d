"""A call that changes a file's metadata comes in; it is made for the program, or refused.

The file is opened first, without any right, and everything afterwards is about that very file:
where it is, whether that may be written to, and the call.  What the program does to its memory or
to folders meanwhile changes nothing.
"""

from __future__ import annotations

import errno
import os
import struct

from kernel_runner.jail import kernel, places, target

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

NO_MAGICLINKS: Final = 0x02
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_EMPTY_PATH: Final = 0x1000
UTIME_NOW: Final = (1 << 30) - 1
UTIME_OMIT: Final = (1 << 30) - 2

CALLS: Final = {
    # the call: the places of folder, path, what follows, and flags
    "chmod": (None, 0, 1, None), "fchmod": (0, None, 1, None), "fchmodat": (0, 1, 2, None),
    "fchmodat2": (0, 1, 2, 3), "chown": (None, 0, 1, None), "lchown": (None, 0, 1, None),
    "fchown": (0, None, 1, None), "fchownat": (0, 1, 2, 4), "utime": (None, 0, 1, None),
    "utimes": (None, 0, 1, None), "futimesat": (0, 1, 2, None), "utimensat": (0, 1, 2, 3),
}  # fmt: skip


class Broker:
    """Makes calls for programs that may write below `roots`, which are real paths."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = roots

    def carry_out(
        self, pid: int, call: str, args: Sequence[int], is_waiting: Callable[[], bool]
    ) -> tuple[int, str]:
        """The errno of the call, 0 when it was made, and the path it was about.

        `is_waiting` tells whether the process is still in this call: only then what was read is
        its own.
        """
        folder_at, path_at, rest_at, flags_at = CALLS[call]
        shown = ""
        try:
            descriptor = None if folder_at is None else target.signed(args[folder_at])
            flags = 0 if flags_at is None else args[flags_at] & 0xFFFFFFFF
            path = None
            if path_at is not None and args[path_at]:
                path = target.read_string(pid, args[path_at])
                if not path and not flags & AT_EMPTY_PATH:
                    return errno.ENOENT, shown
            change = _change(pid, call, args[rest_at:])
            follow = call != "lchown" and not flags & AT_SYMLINK_NOFOLLOW
            file_fd = self._open(pid, path or b"", descriptor, follow=follow)
        except OSError as error:
            return error.errno or errno.EPERM, shown
        try:
            link = f"/proc/self/fd/{file_fd}"
            shown = os.readlink(link)
            if not places.is_below(shown, self._roots):
                return errno.EPERM, shown
            if not is_waiting():
                return errno.EPERM, shown
            change(link)
        except OSError as error:
            return error.errno or errno.EPERM, ""
        finally:
            os.close(file_fd)
        return 0, shown

    def _open(self, pid: int, path: bytes, descriptor: int | None, *, follow: bool) -> int:
        """The file, open for nothing."""
        own = b"/proc/self/fd/"
        if path.startswith(own) and path[len(own) :].isdigit():
            # how the C library changes a file that it has open
            descriptor, path = int(path[len(own) :]), b""
        flags = os.O_PATH | os.O_CLOEXEC
        if not path and descriptor is not None:
            return os.open(target.folder_of(pid, descriptor), flags)
        start = "/" if path.startswith(b"/") else target.folder_of(pid, descriptor)
        start_fd = os.open(start, os.O_PATH | os.O_CLOEXEC)
        try:
            how = struct.pack("=QQQ", flags | (0 if follow else os.O_NOFOLLOW), 0, NO_MAGICLINKS)
            return kernel.call(kernel.OPENAT2, start_fd, path + b"\0", how, len(how))
        finally:
            os.close(start_fd)


def _change(pid: int, call: str, args: Sequence[int]) -> Callable[[str], None]:
    """What to do to a file; everything of the program's is read now."""
    if "chmod" in call:
        mode = args[0] & 0o7777
        return lambda link: os.chmod(link, mode)
    if "chown" in call:
        user, group = target.signed(args[0]), target.signed(args[1])
        return lambda link: os.chown(link, user, group)
    times = _times(pid, call, args[0])

    def touch(link: str) -> None:
        now = os.stat(link)
        if times is None:
            os.utime(link)
            return
        known = (now.st_atime_ns, now.st_mtime_ns)
        filled = [old if new is None else new for old, new in zip(known, times, strict=True)]
        os.utime(link, ns=(filled[0], filled[1]))

    return touch


def _times(pid: int, call: str, address: int) -> list[int | None] | None:
    """Nanoseconds of access and change; None in the list: as it is; None at all: now."""
    import time  # late: few programs get here

    if not address:
        return None
    if call == "utime":
        seconds = struct.unpack("=qq", target.read_memory(pid, address, 16))
        return [one * 10**9 for one in seconds]
    pairs = struct.unpack("=qqqq", target.read_memory(pid, address, 32))
    if call != "utimensat":
        return [pairs[0] * 10**9 + pairs[1] * 1000, pairs[2] * 10**9 + pairs[3] * 1000]
    found: list[int | None] = []
    for second, nano in (pairs[:2], pairs[2:]):
        special = {UTIME_NOW: time.time_ns(), UTIME_OMIT: None}
        found.append(special[nano] if nano in special else second * 10**9 + nano)
    return found
