"""File names from clients and languages in, files of the work directory out; nothing beyond it.

Every folder on the way is opened without following links, so no link leads out, not even one that
is put there at the same moment.
"""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from kernel_runner.errors import WorkspaceError
from kernel_runner.messages.events import FileEntry

OWN_FOLDER: Final = ".kernel-runner"
"""What the runner keeps in the work directory: built programs."""
PART_PREFIX: Final = OWN_FOLDER + "-"
PART_SUFFIX: Final = ".part"
"""Files that are not there as a whole yet have hidden names beside the one they will get."""
MAX_PARTS: Final = 256
"""Unfinished uploads into one folder."""
STALE_SECONDS: Final = 86_400.0
"""An unfinished upload that nobody has gone on with for so long is given up."""
MAX_READ_BYTES: Final = 256 << 20
"""What is read at once."""

_FOLDER_FLAGS: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# a fifo must not make us wait for its other end
_FILE_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def build_folder_in(folder: Path) -> Path:
    """Where built programs are; whatever is there is ours to remove."""
    return folder / OWN_FOLDER / "build"


class Workspace:
    """The work directory, and where built programs go: into a hidden folder of it, or elsewhere."""

    def __init__(self, root: Path, build_folder: Path | None = None) -> None:
        self.root = root
        self.build_folder = build_folder or build_folder_in(root)

    def sources(self, *endings: str) -> Sequence[Path]:
        """All files with one of these endings, sorted; hidden folders are left out."""
        found = []
        for folder, names, files in os.walk(self.root):
            names[:] = sorted(name for name in names if not name.startswith("."))
            found += [Path(folder, file) for file in sorted(files) if file.endswith(tuple(endings))]
        return sorted(path for path in found if path.is_file())

    def write(self, name: str, data: bytes, *, executable: bool) -> None:
        """Write a file, its folders included; one that is there is replaced as a whole.

        Raises:
            WorkspaceError: the name leads out, or the file cannot be written.
        """
        with self._parent(name, create=True) as (folder, leaf), _reported(name):
            temporary = f"{PART_PREFIX}{os.urandom(8).hex()}{PART_SUFFIX}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(temporary, flags, _mode(executable=executable), dir_fd=folder)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                _check_place(folder, leaf, name)
                os.replace(temporary, leaf, src_dir_fd=folder, dst_dir_fd=folder)
            except (OSError, WorkspaceError):
                os.unlink(temporary, dir_fd=folder)
                raise

    def write_part(self, name: str, data: bytes, *, offset: int, executable: bool) -> int:
        """Write a piece of an unfinished upload; how many bytes of it are there.

        Args:
            name: as `part_of` gives it.

        Raises:
            WorkspaceError: as `write`; code ``bad-offset`` when there would be a gap.
        """
        with self._parent(name, create=True) as (folder, leaf), _reported(name):
            flags = os.O_WRONLY | _FILE_FLAGS
            try:
                fd = os.open(leaf, flags, dir_fd=folder)
            except FileNotFoundError:
                _check_offset(name, 0, offset)
                _check_parts(folder, name)
                mode = _mode(executable=executable)
                fd = os.open(leaf, flags | os.O_CREAT, mode, dir_fd=folder)
            with os.fdopen(fd, "wb") as file:
                size = _size_of(fd, name)
                _check_offset(name, size, offset)
                file.seek(offset)
                file.write(data)
            return max(size, offset + len(data))

    def rename(self, name: str, leaf: str) -> None:
        """Give a file another name in its folder, also if that was taken; raises as `write`."""
        with self._parent(name, create=False) as (folder, former), _reported(name):
            _check_place(folder, leaf, leaf)
            os.replace(former, leaf, src_dir_fd=folder, dst_dir_fd=folder)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there; raises as `write`."""
        with (
            self._parent(name, create=False) as (folder, leaf),
            _reported(name),
            suppress(FileNotFoundError),
        ):
            os.unlink(leaf, dir_fd=folder)

    def open(self, name: str) -> tuple[BinaryIO, int]:
        """A file to read, and its size; raises `WorkspaceError`."""
        with self._parent(name, create=False) as (folder, leaf), _reported(name):
            fd = os.open(leaf, os.O_RDONLY | _FILE_FLAGS, dir_fd=folder)
            try:
                size = _size_of(fd, name)
            except WorkspaceError:
                os.close(fd)
                raise
            return os.fdopen(fd, "rb"), size

    def read(self, name: str, offset: int = 0, length: int | None = None) -> tuple[bytes, int]:
        """The content of a file or a piece of it, and the size of the whole.

        A piece may be shorter than asked for; it is empty at the end.

        Raises:
            WorkspaceError: also when the whole is asked for and has more than is read at once.
        """
        file, size = self.open(name)
        with file, _reported(name):
            if length is None and size - offset > MAX_READ_BYTES:
                hint = "ask for it in pieces, with `offset` and `length`"
                raise WorkspaceError("too-large", name, f"more than {MAX_READ_BYTES} bytes", hint)
            wanted = MAX_READ_BYTES if length is None else min(length, MAX_READ_BYTES)
            left = max(size - offset, 0)  # a buffer is made for what is asked for
            return os.pread(file.fileno(), min(wanted, left), min(offset, size)), size

    def entries(self, name: str) -> list[FileEntry]:
        """What is in a folder, by name; raises `WorkspaceError`."""
        with self._folder(_parts(name), create=False, name=name) as folder, _reported(name):
            found = []
            with os.scandir(folder) as scan:
                for entry in scan:
                    with suppress(FileNotFoundError):  # removed while we look
                        if not is_part(entry.name):
                            found.append(_entry(entry))
            return sorted(found, key=lambda entry: entry.name)

    @contextmanager
    def _parent(self, name: str, *, create: bool) -> Iterator[tuple[int, str]]:
        *folders, leaf = _parts(name) or ("",)
        if not leaf:
            raise WorkspaceError("bad-path", name, "names no file")
        with self._folder(folders, create=create, name=name) as folder:
            yield folder, leaf

    @contextmanager
    def _folder(self, parts: Sequence[str], *, create: bool, name: str) -> Iterator[int]:
        with _reported(name):
            fd = os.open(self.root, os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                with _reported(name):
                    if create:
                        with suppress(FileExistsError):
                            os.mkdir(part, dir_fd=fd)
                    inner = os.open(part, _FOLDER_FLAGS, dir_fd=fd)
                os.close(fd)
                fd = inner
            yield fd
        finally:
            os.close(fd)


def part_of(name: str, digest: str) -> tuple[str, str]:
    """The hidden name of an unfinished upload, and the last part of the name that it will get.

    Two uploads of the same content are one; of different content they do not meet.

    Raises:
        WorkspaceError: the name leads out, or names no file.
    """
    *folders, leaf = _parts(name) or ("",)
    if not leaf:
        raise WorkspaceError("bad-path", name, "names no file")
    import hashlib  # late: most starts need none

    hidden = hashlib.sha256(f"{leaf}\0{digest}".encode(errors="surrogatepass")).hexdigest()[:16]
    return str(PurePosixPath(*folders, f"{PART_PREFIX}{hidden}{PART_SUFFIX}")), leaf


def is_part(name: str) -> bool:
    """Whether a file of this name is not there as a whole yet."""
    return name.startswith(PART_PREFIX) and name.endswith(PART_SUFFIX)


def _check_place(folder: int, leaf: str, name: str) -> None:
    """What is there and is neither a file nor a link is somebody's, who uses it."""
    with suppress(FileNotFoundError):
        mode = os.stat(leaf, dir_fd=folder, follow_symlinks=False).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
            raise WorkspaceError("not-a-file", name, "not a regular file")


def _check_offset(name: str, size: int, offset: int) -> None:
    if offset > size:
        text = f"{size} bytes of this upload are here, so it cannot go on at {offset}"
        raise WorkspaceError("bad-offset", name, text, f"go on at {size}")


def _check_parts(folder: int, name: str) -> None:
    """Remove what was given up; raises `WorkspaceError` when too much is unfinished."""
    count, oldest = 0, time.time() - STALE_SECONDS
    with os.scandir(folder) as scan:
        for entry in scan:
            if not is_part(entry.name):
                continue
            with suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime < oldest:
                    os.unlink(entry.name, dir_fd=folder)
                else:
                    count += 1
    if count >= MAX_PARTS:
        text = f"{count} uploads into its folder are unfinished already"
        raise WorkspaceError("too-many", name, text, "finish some of them first")


def _mode(*, executable: bool) -> int:
    return 0o777 if executable else 0o666


def _size_of(fd: int, name: str) -> int:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise WorkspaceError("not-a-file", name, "not a regular file")
    return status.st_size


def _parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    if path.is_absolute() or path.parts[:1] == ("..",):
        raise WorkspaceError("bad-path", repr(name), "leads out of the work directory")
    if ".." in path.parts:
        raise WorkspaceError("bad-path", repr(name), "may not contain '..'")
    if "\0" in name:
        raise WorkspaceError("bad-path", repr(name), "may not contain a null character")
    return path.parts


@contextmanager
def _reported(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise WorkspaceError("not-found", name, "no such file or folder") from error
    except UnicodeEncodeError as error:
        raise WorkspaceError("bad-path", repr(name), "is not UTF-8") from error
    except OSError as error:
        # ELOOP and ENOTDIR: a link, or a file where a folder should be
        raise WorkspaceError("file-error", name, error.strerror or str(error)) from error


def _entry(entry: os.DirEntry[str]) -> FileEntry:
    status = entry.stat(follow_symlinks=False)
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    return FileEntry(
        name=entry.name,
        kind=kinds.get(stat.S_IFMT(status.st_mode), "other"),
        size=status.st_size,
        mode=stat.S_IMODE(status.st_mode),
        mtime=status.st_mtime,
    )
