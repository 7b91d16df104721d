"""Key files in, keys out; and new ones made.

The keys are those of CURVE, in the text form of ZeroMQ (Z85, 40 characters).  A file has lines
``NAME KEY``: ``secret`` is whose file it is, ``server`` the runner that a client means, ``public``
who is meant by a file that may be shown to others.  Empty lines and those that begin with ``#`` are
for people.
"""

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from kernel_runner.errors import BadKey

KEY_CHARACTERS: Final = 40
MAX_FILE_BYTES: Final = 1 << 20
OTHERS: Final = 0o077
OTHERS_WRITE: Final = 0o022
PUBLIC_FILES: Final = "*.pub"


class ServerKeys(msgspec.Struct, frozen=True):
    """What a runner proves itself with, and the clients that it lets in, all as 32 bytes."""

    secret: bytes
    clients: frozenset[bytes]

    def __repr__(self) -> str:
        return f"<keys of a runner for {len(self.clients)} clients>"


class ClientKeys(msgspec.Struct, frozen=True):
    """What a client proves itself with, and the runner that it means; `file` has them."""

    secret: bytes
    public: bytes
    server: bytes
    file: Path

    def __repr__(self) -> str:
        return f"<keys of a client from {self.file}>"


def read_server(server_key: Path, client_keys: Path) -> ServerKeys:
    """The keys of a runner.

    Args:
        client_keys: a file with the public keys of clients, or a folder with such files (*.pub).

    Raises:
        BadKey: a file cannot be used.
    """
    secret = _read_named(server_key, ("secret",))["secret"]
    files = sorted(client_keys.glob(PUBLIC_FILES)) if client_keys.is_dir() else [client_keys]
    clients = frozenset(key for file in files for _, key in _read(file, ("public",)))
    if not clients:
        where = f"{client_keys}: no file {PUBLIC_FILES}" if not files else f"{client_keys}: empty"
        raise BadKey(f"{where}, so nobody could connect; `kernel-runner keygen` makes one")
    return ServerKeys(secret, clients)


def read_client(file: Path) -> ClientKeys:
    """The keys of a client.

    Raises:
        BadKey: the file cannot be used.
    """
    keys = _read_named(file, ("secret", "server"))
    return ClientKeys(keys["secret"], _public_of(keys["secret"]), keys["server"], file)


def read_public(file: Path) -> bytes:
    """The one public key of a file, as text.

    Raises:
        BadKey: the file cannot be used.
    """
    from zmq.utils import z85

    return z85.encode(_read_named(file, ("public",))["public"])


def new_pair() -> tuple[bytes, bytes]:
    """A public key and its secret one, as text."""
    import zmq

    return zmq.curve_keypair()


def write_new(file: Path, purpose: Sequence[str], keys: Mapping[str, bytes]) -> None:
    """Write a key file that only its owner can read.

    Raises:
        OSError: there is a file of this name already, or none can be made.
    """
    lines = [*(f"# {line}" for line in purpose), *(f"{k} {v.decode()}" for k, v in keys.items())]
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="ascii", errors="replace") as text:
        text.writelines(f"{line}\n" for line in lines)


def _public_of(secret: bytes) -> bytes:
    import zmq
    from zmq.utils import z85

    return z85.decode(zmq.curve_public(z85.encode(secret)))


def _read_named(file: Path, names: Sequence[str]) -> Mapping[str, bytes]:
    """One key of each name."""
    keys: dict[str, bytes] = {}
    for name, key in _read(file, names):
        if name in keys:
            _refuse(file, f"it has two lines `{name} KEY`")
        keys[name] = key
    for name in names:
        if name not in keys:
            _refuse(file, f"it has no line `{name} KEY`; is it the file that is meant?")
    return keys


def _read(file: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Name and key of each line; no text of the file is ever part of an error."""
    for number, line in enumerate(_lines(file, is_secret="secret" in names), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or words[0] not in names:
            allowed = " or ".join(f"`{name} KEY`" for name in names)
            _refuse(file, f"it has to be {allowed}", number)
        yield words[0], _key(file, number, words[1])


def _lines(file: Path, *, is_secret: bool) -> Iterable[str]:
    try:
        with file.open("rb") as content:
            mode = os.fstat(content.fileno()).st_mode
            if mode & (OTHERS if is_secret else OTHERS_WRITE):
                done = "read this secret key" if is_secret else "write into it"
                _refuse(file, f"others than its owner may {done}; chmod 600 {file}")
            return content.read(MAX_FILE_BYTES).decode("ascii", "replace").splitlines()
    except OSError as error:
        raise BadKey(
            f"{file}: {error.strerror}; `kernel-runner keygen FOLDER` makes key files"
        ) from error


def _key(file: Path, number: int, text: str) -> bytes:
    from zmq.utils import z85

    if len(text) != KEY_CHARACTERS:
        _refuse(file, f"a key of {len(text)} characters; it has {KEY_CHARACTERS}", number)
    try:
        return z85.decode(text.encode("ascii"))
    except (LookupError, ValueError, struct.error):
        _refuse(file, "these characters are no key", number)


def _refuse(file: Path, reason: str, number: int | None = None) -> NoReturn:
    where = f"{file}" if number is None else f"{file}, line {number}"
    raise BadKey(f"{where}: {reason}")
