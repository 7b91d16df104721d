"""What a program shows in, by a socket of its own; `media` events of its task out.

A connection brings one object and is answered by one line; docs/protocol.md says how.  Everything
here is non-blocking and runs on the loop's thread.
"""

import asyncio
import itertools
import json
import logging
import socket
from binascii import a2b_base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from kernel_runner.config import MEDIA_VARIABLE
from kernel_runner.errors import MalformedBody
from kernel_runner.messages import events
from kernel_runner.task import Task

MAX_BODY_BYTES: Final = 64 << 20
MAX_CONNECTIONS: Final = 8
"""Served at the same time; others wait in the kernel's queue."""
QUEUE_LENGTH: Final = 64
SILENT_SECONDS: Final = 30.0
"""A connection that brings nothing for so long gives its place away."""
READ_BYTES: Final = 262_144
TEXT_TYPES: Final = ("text/", "image/svg+xml", "application/json", "application/javascript")
UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

log = logging.getLogger(__name__)

_numbers = itertools.count(1)


@contextmanager
def listening(folder: Path, task: Task, drain: Callable[[], None]) -> Iterator[Mapping[str, str]]:
    """A socket while the block is open: what the environment says of it; nothing if there is none.

    Args:
        task: whose program it is for.
        folder: a private one, where the socket is made.
        drain: passes on what the program has printed.
    """
    # a new name each time: what is left of one program shows nothing in the task of the next
    path = folder / f"media-{next(_numbers)}"
    try:
        listener = _Listener(path, task, drain)
    except OSError as error:
        log.warning("programs cannot show pictures: no socket in %s: %s", folder, error.strerror)
        yield {}
        return
    try:
        yield {MEDIA_VARIABLE: listener.address}
    finally:
        listener.close()


class _Listener:
    def __init__(self, path: Path, task: Task, drain: Callable[[], None]) -> None:
        self.task = task
        self.drain = drain
        self.loop = asyncio.get_running_loop()
        self._path = path
        self._connections: set[_Connection] = set()
        self._accepting = False
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind(self.address)
            self._socket.listen(QUEUE_LENGTH)
        except OSError:
            self.close()
            raise
        self._accept_more()

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._pause()
        self._socket.close()
        self._path.unlink(missing_ok=True)
        for connection in list(self._connections):
            connection.close()

    def forget(self, connection: "_Connection") -> None:
        """A place is free."""
        self._connections.discard(connection)
        self._accept_more()

    def _accept_more(self) -> None:
        if not self._accepting and self._socket.fileno() >= 0:
            self._accepting = True
            self.loop.add_reader(self._socket.fileno(), self._accept)

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            self.loop.remove_reader(self._socket.fileno())

    def _accept(self) -> None:
        try:
            accepted, _ = self._socket.accept()
        except BlockingIOError:
            return
        except OSError as error:
            log.warning("a program cannot show pictures any more: %s", error.strerror)
            self.close()  # else it would wait for an answer
            return
        self._connections.add(_Connection(accepted, self))
        if len(self._connections) >= MAX_CONNECTIONS:
            self._pause()


class _Connection:
    """Reads one object to its end, posts it, and answers when the client has room for more."""

    def __init__(self, accepted: socket.socket, listener: _Listener) -> None:
        self._socket = accepted
        self._listener = listener
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._resume_clock: Callable[[], None] | None = None
        accepted.setblocking(False)
        listener.loop.add_reader(accepted.fileno(), self._read)
        self._timer = self._wait_for_more()

    def close(self) -> None:
        if self._socket.fileno() < 0:
            return
        self._stop_reading()
        self._socket.close()
        if self._resume_clock is not None:
            self._resume_clock()
        self._listener.forget(self)

    def _wait_for_more(self) -> asyncio.TimerHandle:
        why = f"nothing came for {SILENT_SECONDS:g} s"
        return self._listener.loop.call_later(SILENT_SECONDS, self._refuse, why)

    def _stop_reading(self) -> None:
        self._timer.cancel()
        self._listener.loop.remove_reader(self._socket.fileno())

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._refuse(f"the connection broke: {error.strerror}")
            return
        self._bytes += len(data)
        if not data:
            self._stop_reading()
            self._post()
        elif self._bytes > MAX_BODY_BYTES:
            self._refuse(f"it has more than {MAX_BODY_BYTES >> 20} MiB")
        else:
            self._pieces.append(data)
            self._timer.cancel()
            self._timer = self._wait_for_more()

    def _post(self) -> None:
        try:
            shown = read_media(b"".join(self._pieces))
        except MalformedBody as error:
            self._refuse(str(error))
            return
        task = self._listener.task
        self._listener.drain()
        task.post(shown)
        self._pieces.clear()
        if task.session.full:
            self._resume_clock = task.clock.pause()
            task.session.when_room(lambda: self._answer("ok"))
        else:
            self._answer("ok")

    def _refuse(self, why: str) -> None:
        log.warning("an object could not be shown: %s", why)
        self._answer(f"refused: {why}")

    def _answer(self, text: str) -> None:
        line = " ".join(text.split()) + "\n"
        with suppress(OSError):  # closed by us, or by a program that does not want to know
            self._socket.send(line.encode(errors="backslashreplace"))
        self.close()


def read_media(body: bytes, binary: bytes = b"") -> events.Media:
    """One displayed object, as JSON; ``binary`` in that says what of it stands behind.

    Raises:
        MalformedBody: user code has a hand in it.
    """
    try:
        shown = json.loads(body)
        data = {mime: _content(mime, content) for mime, content in shown["data"].items()}
        at = 0
        for mime, length in shown.get("binary", {}).items():
            data[mime] = binary[at : at + length]
            at += length
        metadata = shown.get("metadata", {})
        if not isinstance(metadata, dict):
            raise TypeError("metadata has to be a map")
        display_id = shown.get("display_id")
        if display_id is not None and not isinstance(display_id, str):
            raise TypeError("display_id has to be text")
        return events.Media(
            data,
            metadata,
            display_id,
            update=shown.get("update") is True,
            is_result=shown.get("is_result") is True,
        )
    except UNREADABLE as error:
        raise MalformedBody("media", f"{type(error).__name__}: {error}") from error


def _content(mime: str, content: object) -> str | bytes:
    if not isinstance(content, str):
        return json.dumps(content)
    is_text = mime.startswith(TEXT_TYPES) or mime.endswith("+json")
    return content if is_text else a2b_base64(content)
