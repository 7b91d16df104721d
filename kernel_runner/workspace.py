"""File names from clients and languages in, files of the work directory out; nothing beyond it.

Every folder on the way is opened without following links, so no link leads out, not even one that
is put there at the same moment.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final

from kernel_runner.errors import WorkspaceError
from kernel_runner.messages.events import FileEntry

OWN_FOLDER: Final = ".kernel-runner"
"""What the runner keeps in the work directory: built programs."""

MAX_READ_BYTES: Final = 256 << 20
"""A file is sent in one message, so a larger one is refused."""

_FOLDER_FLAGS: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Workspace:
    """The work directory, and where built programs go: into a hidden folder of it, or elsewhere."""

    def __init__(self, root: Path, build_folder: Path | None = None) -> None:
        self.root = root
        self.build_folder = build_folder or root / OWN_FOLDER / "build"

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
            temporary = f".{os.urandom(8).hex()}.part"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(temporary, flags, 0o777 if executable else 0o666, dir_fd=folder)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                os.replace(temporary, leaf, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                os.unlink(temporary, dir_fd=folder)
                raise

    def read(self, name: str) -> bytes:
        """The content of a file; raises `WorkspaceError`."""
        with self._parent(name, create=False) as (folder, leaf), _reported(name):
            # a fifo must not make us wait for its writer
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(leaf, flags, dir_fd=folder)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise WorkspaceError("not-a-file", name, "not a regular file")
            with os.fdopen(fd, "rb") as file:
                data = file.read(MAX_READ_BYTES + 1)
                if len(data) > MAX_READ_BYTES:
                    raise WorkspaceError("too-large", name, f"more than {MAX_READ_BYTES} bytes")
                return data

    def entries(self, name: str) -> list[FileEntry]:
        """What is in a folder, by name; raises `WorkspaceError`."""
        with self._folder(_parts(name), create=False, name=name) as folder, _reported(name):
            found = []
            with os.scandir(folder) as scan:
                for entry in scan:
                    with suppress(FileNotFoundError):  # removed while we look
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


def _parts(name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise WorkspaceError("bad-path", repr(name), "leads out of the work directory")
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
