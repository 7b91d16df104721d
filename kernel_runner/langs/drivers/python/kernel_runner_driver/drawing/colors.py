"""Red, green, blue and how much can be seen through in; colours as text and bytes out."""

from __future__ import annotations

from collections import namedtuple


class Color(namedtuple("Color", "red green blue alpha", defaults=(255,))):
    """Four numbers from 0 to 255; an `alpha` of 0 cannot be seen."""

    __slots__ = ()

    @classmethod
    def from_hex(cls, text: str) -> Color:
        """Of ``#rrggbb`` or ``#rrggbbaa``; raises `ValueError`."""
        return cls.from_bytes(bytes.fromhex(text.lstrip("#")))

    @classmethod
    def from_bytes(cls, data: bytes) -> Color:
        """Of three or four bytes; raises `ValueError`."""
        if len(data) not in (3, 4):
            raise ValueError(f"a colour has 3 or 4 bytes, not {len(data)}")
        return cls(*data)

    def to_bytes(self) -> bytes:
        return bytes(self)

    def to_hex(self) -> str:
        return "#" + bytes(self).hex()


class Colors:
    """Colours with names."""

    Transparent = Color(0, 0, 0, 0)
    White = Color(255, 255, 255)
    Black = Color(0, 0, 0)
    Red = Color(255, 0, 0)
    Green = Color(0, 255, 0)
    Blue = Color(0, 0, 255)
    Yellow = Color(255, 255, 0)
    Cyan = Color(0, 255, 255)
    Magenta = Color(255, 0, 255)
    Gray = Color(128, 128, 128)
