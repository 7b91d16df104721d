"""Names with text, bytes or local paths in; the single files to send out, and files received."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import msgspec

from kernel_runner.client.errors import FileTooLarge, LocalFileError

Content: TypeAlias = str | bytes | Path
"""Text, bytes, or a file or folder on this side."""
Files: TypeAlias = Mapping[str, Content]
"""What to send: by its name in the work directory."""


class Progress(msgspec.Struct, frozen=True):
    """How far a transfer is; `path` is the file that has just arrived."""

    path: str
    done_bytes: int
    total_bytes: int


OnProgress: TypeAlias = Callable[[Progress], None]


class Outgoing(msgspec.Struct, frozen=True):
    """One file to send."""

    path: str
    content: Content
    size_bytes: int
    executable: bool

    def read(self) -> bytes:
        """All of it; raises `LocalFileError`."""
        if isinstance(self.content, Path):
            try:
                return self.content.read_bytes()
            except OSError as error:
                raise LocalFileError(self.content, error.strerror or str(error)) from error
        return self.content.encode() if isinstance(self.content, str) else self.content


def outgoing(files: Files, max_bytes: int) -> list[Outgoing]:
    """Each single file, folders unfolded; links to files are followed, links to folders are not.

    Raises:
        LocalFileError: one cannot be read.
        FileTooLarge: one does not fit into a message.
        TypeError: the content of one is nothing that can be sent.
    """
    found = [file for path, content in files.items() for file in _unfold(path, content)]
    for file in found:
        if file.size_bytes > max_bytes:
            raise FileTooLarge(file.path, file.size_bytes, max_bytes)
    return found


def _unfold(path: str, content: Content) -> Iterator[Outgoing]:
    match content:
        case str():
            yield Outgoing(path, content, len(content.encode()), executable=False)
        case bytes():
            yield Outgoing(path, content, len(content), executable=False)
        case Path() if content.is_dir():
            for folder, names, leaves in os.walk(content):
                names.sort()
                for leaf in sorted(leaves):
                    local = Path(folder, leaf)
                    name = PurePosixPath(path, *local.relative_to(content).parts)
                    yield _local(str(name), local)
        case Path():
            yield _local(path, content)
        case _:
            raise TypeError(f"{path}: text, bytes or a Path is needed, not {content!r:.80}")


def _local(path: str, local: Path) -> Outgoing:
    try:
        status = local.stat()
    except OSError as error:
        raise LocalFileError(local, error.strerror or str(error)) from error
    if not local.is_file():
        raise LocalFileError(local, "neither a file nor a folder")
    return Outgoing(path, local, status.st_size, executable=bool(status.st_mode & 0o111))


def save(local: Path, data: bytes) -> None:
    """Write a file that was received, and the folders that lead to it; raises `LocalFileError`."""
    try:
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_bytes(data)
    except OSError as error:
        raise LocalFileError(local, error.strerror or str(error)) from error


def is_plain(name: str) -> bool:
    """Whether a name that a runner sent stays in the folder it is put into."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name
