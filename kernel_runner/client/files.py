"""Names with text, bytes or local paths in; the single files to send out, and files received."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO, Final, TypeAlias

import msgspec

from kernel_runner.client.errors import LocalFileError

Content: TypeAlias = str | bytes | Path
"""Text, bytes, or a file or folder on this side."""
Files: TypeAlias = Mapping[str, Content]
"""What to send: by its name in the work directory."""


class Progress(msgspec.Struct, frozen=True):
    """How far a transfer is; `path` is the file of which something has just arrived."""

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

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Its content to read; raises `LocalFileError`."""
        if isinstance(self.content, Path):
            with _reported(self.content), self.content.open("rb") as file:
                yield file
        else:
            text = self.content.encode() if isinstance(self.content, str) else self.content
            yield io.BytesIO(text)


def outgoing(files: Files | Mapping[str | PurePath, Content]) -> list[Outgoing]:
    """Each single file, folders unfolded; links to files are followed, links to folders are not.

    Raises:
        LocalFileError: one cannot be read.
        TypeError: the content of one is nothing that can be sent, or there are no names.
    """
    if not isinstance(files, Mapping):
        raise TypeError(
            "files: names with what they hold are needed, such as "
            f"{{'main.py': Path('main.py')}}, not {files!r:.80}"
        )
    return [file for path, content in files.items() for file in _unfold(_name(path), content)]


def _name(path: object) -> str:
    if not isinstance(path, str | PurePath):
        raise TypeError(f"the name of a file is text or a Path, not {path!r:.80}")
    return str(path)


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
    with _reported(local):
        status = local.stat()
    if not local.is_file():
        raise LocalFileError(local, "neither a file nor a folder")
    return Outgoing(path, local, status.st_size, executable=bool(status.st_mode & 0o111))


HASH_BYTES: Final = 4 << 20


def digest_of(file: BinaryIO) -> str:
    """The SHA-256 of a file from its beginning; it is read on from there."""
    hashed = hashlib.sha256()
    while data := file.read(HASH_BYTES):
        hashed.update(data)
    file.seek(0)
    return hashed.hexdigest()


class Incoming:
    """A file that comes in pieces: into memory, or to a place on this side.

    What was received of it before is gone on with, if it is the same content: until it is there as
    a whole it has a hidden name beside the one that it will get.

    Args:
        digest: the SHA-256 of the whole.
    """

    def __init__(self, local: Path | None, digest: str) -> None:
        self._local = local
        self._digest = digest
        self._hashed = hashlib.sha256()
        self.size_bytes = 0
        self._file: BinaryIO = io.BytesIO()
        if local is not None:
            name = hashlib.sha256(f"{local.name}\0{digest}".encode(errors="surrogateescape"))
            self._part = local.with_name(f".kernel-runner-{name.hexdigest()[:16]}.part")
            with _reported(local):
                local.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._part.open("a+b")
                self._read_on()

    def _read_on(self) -> None:
        self._file.seek(0)
        while data := self._file.read(HASH_BYTES):
            self._hashed.update(data)
            self.size_bytes += len(data)

    def append(self, data: bytes) -> None:
        """The next piece; raises `LocalFileError`."""
        with _reported(self._local):
            self._file.write(data)
            self._file.flush()
        self._hashed.update(data)
        self.size_bytes += len(data)

    def finish(self) -> bool:
        """Whether it has the digest; only then it gets its name.  Raises `LocalFileError`."""
        is_whole = self._hashed.hexdigest() == self._digest
        if self._local is not None:
            with _reported(self._local):
                if is_whole:
                    self._part.replace(self._local)
                else:
                    self._part.unlink()
        return is_whole

    def content(self) -> bytes:
        """All of it, when it came into memory."""
        self._file.seek(0)
        return self._file.read()

    def close(self) -> None:
        """Stop; what has come stays for the next time."""
        self._file.close()


@contextmanager
def _reported(local: object) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LocalFileError(local, error.strerror or str(error)) from error


def is_plain(name: str) -> bool:
    """Whether a name that a runner sent stays in the folder it is put into."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name
