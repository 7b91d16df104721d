"""Limits as people write them in, `Limits` out; and the sentences that say which one was passed."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from kernel_runner.errors import Reason
from kernel_runner.messages.options import NUMBERS, Limits

Written: TypeAlias = str | Mapping[str, str | int | float]
"""``wall=10,memory=256M``, or a table of the same words."""

UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
FIELDS: Final[Mapping[str, str]] = {
    "wall": "wall_s",
    "cpu": "cpu_s",
    "memory": "memory_bytes",
    "output": "output_bytes",
    "processes": "processes",
    "file-size": "file_bytes",
    "open-files": "open_files",
    "on-output-limit": "on_output_limit",
}
"""The word for each limit, and its field."""
REASONS: Final[Mapping[str, Reason]] = {
    "wall_s": "timeout",
    "cpu_s": "cpu-limit",
    "memory_bytes": "memory-limit",
    "output_bytes": "output-limit",
    "processes": "process-limit",
}
"""The reason of a task that a limit has ended."""
KILLED_FOR: Final = ("memory_bytes", "processes")
"""Beyond these a program is given no time to say farewell: it could take more."""
SENTENCES: Final[Mapping[str, str]] = {
    "wall_s": "it ran longer than {}",
    "cpu_s": "it used more than {} of processor time",
    "memory_bytes": "it used more than {} of memory",
    "output_bytes": "it wrote more than {} of output",
    "processes": "it had more than {} processes and threads",
    "file_bytes": "it made a file larger than {}",
}


def amount(name: str, value: float) -> str:
    """A value with its unit: ``256 MiB``, ``1.5 s``, ``20``."""
    if name.endswith("_s"):
        return f"{value:g} s"
    if name.endswith("_bytes"):
        return size(int(value))
    return f"{value}"


def size(count_bytes: int) -> str:
    """``256 MiB``: with the largest unit that it has at least one of."""
    for unit, factor in reversed(UNITS.items()):
        if unit and count_bytes >= factor:
            number = count_bytes / factor
            return f"{f'{number:.1f}'.removesuffix('.0')} {unit}iB"
    return f"{count_bytes} bytes"


def sentence(name: str, value: float) -> str:
    """That this limit was passed, and how much it was."""
    return SENTENCES[name].format(amount(name, value))


def parse_size(text: str) -> int:
    """``65536``, ``64K``, ``1.5G``: a number of bytes above 0.

    Raises:
        ValueError: it is none of those.
    """
    number = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in UNITS else ""
    try:
        count = float(number.removesuffix(unit)) * UNITS[unit]
        if 1 <= count < float("inf"):
            return int(count)
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no size above 0, such as 65536, 64K, 256M or 2G")


def parse_seconds(text: str) -> float:
    """A number of seconds above 0; raises `ValueError`."""
    try:
        if 0 < (seconds := float(text)) < float("inf"):
            return seconds
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no number of seconds above 0")


def parse_count(text: str) -> int:
    """A whole number above 0; raises `ValueError`."""
    if text.isdecimal() and (count := int(text)) > 0:
        return count
    raise ValueError(f"{text!r} is no whole number above 0")


def parse_action(text: str) -> str:
    """What happens at the output limit; raises `ValueError`."""
    if text in ("end", "drop"):
        return text
    raise ValueError(f"{text!r} is neither end nor drop")


def parser_of(field: str) -> Callable[[str], float | str]:
    """What reads the value of a limit."""
    if field == "on_output_limit":
        return parse_action
    if field.endswith("_bytes"):
        return parse_size
    return parse_seconds if field.endswith("_s") else parse_count


def parse(written: Written) -> Limits:
    """All limits of an option.

    Raises:
        ValueError: a word is unknown, or has a value that it cannot have.
    """
    if isinstance(written, str):
        pairs = [word.partition("=") for word in written.split(",") if word.strip()]
        table: Mapping[str, object] = {name.strip(): value.strip() for name, _, value in pairs}
    else:
        table = written
    fields: dict[str, float | str] = {}
    for name, value in table.items():
        if (field := FIELDS.get(name)) is None:
            raise ValueError(f"{name!r} is no limit; there are {', '.join(FIELDS)}")
        try:
            fields[field] = parser_of(field)(str(value))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return msgspec.convert(fields, Limits)


def above(limits: Limits, ceiling: Limits) -> str | None:
    """The first of the limits that is above its ceiling; None when none is."""
    for name in NUMBERS:
        value, most = getattr(limits, name), getattr(ceiling, name)
        if value is not None and most is not None and value > most:
            return name
    return None
