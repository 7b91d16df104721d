"""Bytes of two descriptors in and out, whole frames to the driver and from it."""

from __future__ import annotations

import io
import os
from _collections import deque
from _thread import RLock
from os import fstat  # the user's code may replace that of the module

READ_BYTES = 65_536
BUFFER_BYTES = 262_144
RUNNER_IS_GONE = 70


class Frame:
    """One command of the runner."""

    __slots__ = ("body", "options", "type")

    def __init__(self, header: bytes, body: bytes) -> None:
        name, _, *pairs = header.decode("ascii").split(" ")
        self.type = name
        self.options = dict(pair.split("=", 1) for pair in pairs)
        self.body = body


class Wire:
    """The two protocol descriptors; neither is inherited by a program that the user starts."""

    def __init__(self, commands: int, events: int) -> None:
        self.commands = commands
        self._identities = [_identity(one) for one in (commands, events)]
        os.set_inheritable(commands, False)
        os.set_inheritable(events, False)
        self._incoming = bytearray()
        # Appending happens inside one C call: a signal handler that raises loses no bytes.
        self._append = self._incoming.__iadd__
        self._raw = io.FileIO(events, "w", closefd=False)
        self._writer = io.BufferedWriter(self._raw, BUFFER_BYTES)
        self._outgoing: deque[bytes] = deque()
        self._is_writing = False
        self.lock = RLock()
        self.reading = RLock()

    def read(self) -> Frame | None:
        """The next command; None at the end of the commands.  The caller holds `reading`."""
        incoming = self._incoming
        while True:
            end = incoming.find(b"\n")
            if end >= 0:
                header = bytes(incoming[:end])
                start, length = end + 1, int(header.split(b" ", 2)[1])
                if len(incoming) >= start + length:
                    frame = Frame(header, bytes(incoming[start : start + length]))
                    del incoming[: start + length]
                    return frame
            before = len(incoming)
            any(map(self._append, map(os.read, (self.commands,), (READ_BYTES,))))
            if len(incoming) == before:
                return None

    def check(self) -> None:
        """Leave when the user's code has closed the descriptors, or put others in their place."""
        found = [_identity(one) for one in (self.commands, self._raw.fileno())]
        if found != self._identities:
            if found[1] == self._identities[1]:
                self.flush()
            os._exit(RUNNER_IS_GONE)

    def has_read_ahead(self) -> bool:
        return bool(self._incoming)

    def post(self, frame: bytes) -> None:
        """Line up one whole frame; `flush` sends it."""
        self._outgoing.append(frame)

    def flush(self) -> None:
        """Everything posted has been handed to the runner, in order and never torn."""
        with self.lock:
            if self._is_writing:  # a signal handler printed: the loop it interrupted goes on
                return
            self._is_writing = True
            try:
                self._write_all()
            finally:
                self._is_writing = False

    def _write_all(self) -> None:
        room = BUFFER_BYTES
        while self._outgoing:
            frame = self._outgoing.popleft()
            if len(frame) > room:
                _flush(self._writer)
                room = BUFFER_BYTES
            if len(frame) > room:
                self._write_large(frame)
            else:
                self._writer.write(frame)
                room -= len(frame)
            if not self._outgoing:
                _flush(self._writer)

    def _write_large(self, frame: bytes) -> None:
        writer = io.BufferedWriter(self._raw, len(frame) + 1)
        writer.write(frame)
        _flush(writer)
        writer.detach()

    def after_fork(self) -> None:
        """A child has no runner: its frames go nowhere."""
        self.lock = RLock()
        self.reading = RLock()
        self._outgoing.clear()

    def close(self) -> None:
        for descriptor, identity in zip((self.commands, self._raw.fileno()), self._identities):
            if _identity(descriptor) == identity:
                os.close(descriptor)


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        status = fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _flush(writer: io.BufferedWriter[io.FileIO]) -> None:
    """Hand over what `writer` holds before any exception of a signal handler goes on.

    The writer counts in C what was taken, so an interrupted write is continued exactly.
    """
    failure: BaseException | None = None
    while True:
        try:
            writer.flush()
            break
        except OSError:
            os._exit(RUNNER_IS_GONE)
        except BaseException as error:
            failure = error
    if failure is not None:
        raise failure
