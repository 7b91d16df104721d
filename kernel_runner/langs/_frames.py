"""Frames of the driver protocol: bytes of a driver in, frames out; see docs/drivers.md."""

from collections.abc import Iterator
from typing import Final

import msgspec

MAX_HEADER_BYTES: Final = 4_096
MAX_BODY_BYTES: Final = 512 << 20


class MalformedFrame(Exception):
    """What a driver sent is no frame; it can not be used any more."""


class Frame(msgspec.Struct, frozen=True):
    """One message; `keys` are the ``key=value`` words of its header."""

    type: str
    body: bytes
    keys: dict[str, str] = {}


def encode(frame: Frame) -> bytes:
    keys = "".join(f" {key}={value}" for key, value in frame.keys.items())
    return f"{frame.type} {len(frame.body)}{keys}\n".encode() + frame.body


class FrameReader:
    """Puts frames together from pieces of any size."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """All frames that are complete now; raises `MalformedFrame`."""
        self._buffer += data
        while (frame := self._take()) is not None:
            yield frame

    def _take(self) -> Frame | None:
        end = self._buffer.find(b"\n", 0, MAX_HEADER_BYTES)
        if end < 0:
            if len(self._buffer) >= MAX_HEADER_BYTES:
                raise MalformedFrame(f"no header: {bytes(self._buffer[:60])!r}")
            return None
        try:
            kind, length, *keys = self._buffer[:end].decode().split()
            if not 0 <= (size := int(length)) <= MAX_BODY_BYTES:
                raise ValueError("a length that cannot be")
            pairs = dict(key.split("=", 1) for key in keys)
        except ValueError as error:
            raise MalformedFrame(f"no header: {bytes(self._buffer[: min(end, 60)])!r}") from error
        if len(self._buffer) < end + 1 + size:
            return None
        body = bytes(memoryview(self._buffer)[end + 1 : end + 1 + size])
        del self._buffer[: end + 1 + size]
        return Frame(kind, body, pairs)
