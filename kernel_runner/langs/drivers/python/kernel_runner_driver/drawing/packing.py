"""Lists, texts and numbers in; the same as msgpack out."""

from __future__ import annotations

from struct import pack


def packed(value: object) -> bytes:
    """Raises `TypeError` for anything else."""
    if isinstance(value, str):
        data = value.encode("utf-8", "backslashreplace")
        return _sized(len(data), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + data
    if isinstance(value, (list, tuple)):
        return _sized(len(value), 0x90, 16, (None, 0xDC, 0xDD)) + b"".join(map(packed, value))
    if isinstance(value, int):
        if 0 <= value < 128:
            return bytes([value])
        return pack(">Bq", 0xD3, value)
    if isinstance(value, float):
        return pack(">Bd", 0xCB, value)
    raise TypeError(f"{type(value).__name__} is no part of a drawing")


def _sized(size: int, short: int, below: int, codes: tuple[int | None, int, int]) -> bytes:
    """The beginning of a text or list: its kind and its size."""
    if size < below:
        return bytes([short | size])
    if codes[0] is not None and size < 1 << 8:
        return pack(">BB", codes[0], size)
    return pack(">BH", codes[1], size) if size < 1 << 16 else pack(">BI", codes[2], size)
