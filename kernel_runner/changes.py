"""A folder in; which of its files were made or changed between two looks out.

A look is a list of all files with their size, times and inode.  It is made anew only if something
has happened since the one before: the kernel tells that by inotify, for the price of one read.
"""

import asyncio
import errno
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from kernel_runner.workspace import OWN_FOLDER

MAX_ENTRIES: Final = 10_000
"""Files and folders of which a list is made."""
MAX_NAMED: Final = 1_000
"""Files that one answer names."""
EVENT_BYTES: Final = 65_536

# <sys/inotify.h>: modify, attrib, moved from and to, create, delete; onlydir, dont_follow, oneshot.
# Once a folder has told that something happens in it, it is left alone until the next look.
_MASK: Final = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x01000000 | 0x02000000 | 0x80000000
_IGNORED: Final = 0x8000

State: TypeAlias = tuple[int, int, int, int]
"""Inode, size in bytes, when its content and when anything of it changed, in nanoseconds.

The first of the times can be set by anybody, the second only by the kernel.
"""


class Look(msgspec.Struct, frozen=True):
    """The files below a folder by their names there; None: there are too many."""

    files: Mapping[str, State] | None


class Changed(msgspec.Struct, frozen=True):
    """The names, sorted; None: not known.  `note` says why this is not all."""

    files: tuple[str, ...] | None
    note: str | None = None


class Folder:
    """A folder that is looked at again and again.  Nothing is opened before the first look."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._watch: Watch | None = None
        self._latest: Look | None = None

    async def look(self) -> Look:
        """Its files as they are now."""
        if self._watch is None:
            self._watch = await asyncio.to_thread(Watch)
        if self._watch.fired() or self._latest is None:
            self._latest = None  # it is not known any more if this is cancelled
            self._latest = await asyncio.to_thread(_look, self._root, self._watch)
        return self._latest

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()


def changed(before: Look, after: Look) -> Changed:
    """What was made or changed between two looks; what was removed is not told."""
    if before.files is None or after.files is None:
        return Changed(None, f"the work directory has more than {MAX_ENTRIES:,} files and folders")
    if before is after:
        return Changed(())
    known = before.files
    names = sorted(name for name, state in after.files.items() if known.get(name) != state)
    if len(names) <= MAX_NAMED:
        return Changed(tuple(names))
    return Changed(tuple(names[:MAX_NAMED]), f"{len(names) - MAX_NAMED:,} more were changed")


class Watch:
    """Tells whether anything has happened in some folders; always, where the kernel does not."""

    def __init__(self) -> None:
        import ctypes  # late: a start does not need it

        self._get_errno = ctypes.get_errno
        self._c = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._c.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_whole = False

    def fired(self) -> bool:
        """Whether anything has happened since it was last asked."""
        if self._fd < 0 or not self._is_whole:
            return True
        has_fired = False
        with suppress(BlockingIOError):
            while data := os.read(self._fd, EVENT_BYTES):
                has_fired = has_fired or _tells_something(data)
        return has_fired

    def begin(self) -> None:
        """All folders are added now."""
        self._is_whole = True

    def add(self, folder: str) -> None:
        """Tell of what happens in this folder from now on, once."""
        if self._fd < 0 or not self._is_whole:
            return
        added = self._c.inotify_add_watch(self._fd, os.fsencode(folder), _MASK)
        if added < 0 and self._get_errno() != errno.EACCES:  # that one cannot be listed either
            self._is_whole = False

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _tells_something(data: bytes) -> bool:
    """Whether one of the events is more than that a folder is not watched any more."""
    offset = 0
    while offset < len(data):
        _, mask, _, length = struct.unpack_from("iIII", data, offset)
        if not mask & _IGNORED:
            return True
        offset += 16 + length
    return False


def _look(root: Path, watch: Watch) -> Look:
    watch.begin()
    found: dict[str, State] = {}
    folders = [(str(root), "")]
    count = 0
    while folders:
        path, prefix = folders.pop()
        watch.add(path)  # before it is read: what happens meanwhile is told
        for entry in _entries(path):
            count += 1
            if count > MAX_ENTRIES:
                return Look(None)
            if entry.is_dir(follow_symlinks=False):
                folders.append((entry.path, f"{prefix}{entry.name}/"))
            elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                with suppress(OSError):  # removed meanwhile
                    status = entry.stat(follow_symlinks=False)
                    state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
                    found[prefix + entry.name] = state
    return Look(found)


def _entries(path: str) -> Iterator[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(path) as scan:  # removed, or not ours to read
        for entry in scan:
            if not entry.name.startswith(OWN_FOLDER):
                yield entry
