"""Clauses for each number come in; a seccomp filter in the kernel's classic BPF goes out.

A clause is `(conditions, verdict)`: the first one whose conditions all hold decides.  A condition
is `(argument, mask, values)`: it holds when the low 32 bits of the argument, masked, are one of
the values.  The kernel takes these arguments as `int`, so a higher bit must not hide one.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final, TypeAlias

    from kernel_runner.jail.syscalls import Machine

    Condition: TypeAlias = tuple[int, int, tuple[int, ...]]
    Verdict: TypeAlias = tuple[str, int, str]  # kind, errno, rule; see `rules.py`
    Clause: TypeAlias = tuple[tuple[Condition, ...], Verdict]
    Clauses: TypeAlias = tuple[Clause, ...]
    Line: TypeAlias = tuple[int, str | int, str | int, int]  # code, jump if true, if false, k
    Code: TypeAlias = "Sequence[Line | str]"

KILL_PROCESS: Final = 0x80000000
ERRNO: Final = 0x00050000
NOTIFY: Final = 0x7FC00000
ALLOW: Final = 0x7FFF0000
ENOSYS: Final = 38

LOAD: Final = 0x20  # a word of the call: its number, its architecture, half an argument
JUMP: Final = 0x05
JUMP_EQUAL: Final = 0x15
JUMP_NOT_BELOW: Final = 0x35
AND: Final = 0x54
RETURN: Final = 0x06
NUMBER_AT: Final = 0
ARCH_AT: Final = 4
ARGS_AT: Final = 16
MAX_INSTRUCTIONS: Final = 4096
X32_BIT: Final = 0x40000000
NO_CALL: Final = 0xFFFFFFFF  # -1: what a tracer leaves of a call that is not to be made


def compile_filter(
    clauses: Mapping[int, Clauses], machine: Machine, lower: Callable[[Verdict], int], foreign: int
) -> bytes:
    """The filter as the kernel takes it.

    `lower` says what the filter returns for a verdict, `foreign` is returned for calls of another
    architecture or of x32.  Numbers without clauses do not exist: ENOSYS.
    """
    lines: list[Line | str] = [
        (LOAD, 0, 0, ARCH_AT),
        (JUMP_EQUAL, "native", "foreign", machine.audit_arch),
        "foreign",
        (RETURN, 0, 0, foreign),
        "native",
        (LOAD, 0, 0, NUMBER_AT),
    ]
    segments = _segments(clauses, lower)
    if machine.has_x32:
        segments.append((X32_BIT, foreign))
        segments.append((NO_CALL, ERRNO | ENOSYS))
    blocks: dict[int | Clauses, str] = {}
    _search(segments, lines, blocks)
    for what, label in blocks.items():
        lines.append(label)
        lines += [(RETURN, 0, 0, what)] if isinstance(what, int) else _checks(what, label, lower)
    return _assemble(lines)


def _segments(
    clauses: Mapping[int, Clauses], lower: Callable[[Verdict], int]
) -> list[tuple[int, int | Clauses]]:
    """The first number of each run of numbers that are treated alike."""
    found: list[tuple[int, int | Clauses]] = []
    for number in range(max(clauses) + 2):
        own = clauses.get(number)
        what: int | Clauses = ERRNO | ENOSYS
        if own is not None:
            what = own if own[0][0] else lower(own[0][1])
        if not found or found[-1][1] != what:
            found.append((number, what))
    return found


def _search(
    segments: Sequence[tuple[int, int | Clauses]],
    lines: list[Line | str],
    blocks: dict[int | Clauses, str],
) -> None:
    """A binary search over the segments; it ends in a jump to the block of one."""
    if len(segments) == 1:
        label = blocks.setdefault(segments[0][1], f"block {len(blocks)}")
        lines.append((JUMP, label, 0, 0))
        return
    middle = len(segments) // 2
    upper = f"from {segments[middle][0]}"
    lines.append((JUMP_NOT_BELOW, upper, 0, segments[middle][0]))
    _search(segments[:middle], lines, blocks)
    lines.append(upper)
    _search(segments[middle:], lines, blocks)


def _checks(clauses: Clauses, label: str, lower: Callable[[Verdict], int]) -> Code:
    lines: list[Line | str] = []
    for place, (conditions, verdict) in enumerate(clauses):
        fails = f"{label}, after {place}"
        for argument, mask, values in conditions:
            holds = f"{label}, {len(lines)}"
            lines.append((LOAD, 0, 0, ARGS_AT + 8 * argument))
            if mask != 0xFFFFFFFF:
                lines.append((AND, 0, 0, mask))
            lines += [(JUMP_EQUAL, holds, 0, value) for value in values]
            lines += [(JUMP, fails, 0, 0), holds]
        lines += [(RETURN, 0, 0, lower(verdict)), fails]
    assert not clauses[-1][0], "the last clause takes what is left"
    return lines


def _assemble(lines: Code) -> bytes:
    """Give each label its place; a conditional jump that is too far goes over a plain one."""
    lines = _with_short_jumps(lines)
    places: dict[str, int] = {}
    code: list[Line] = []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(code)
        else:
            code.append(line)
    if len(code) > MAX_INSTRUCTIONS:
        raise ValueError(f"the filter has {len(code)} instructions, {MAX_INSTRUCTIONS} are allowed")
    made = []
    for at, (operation, if_true, if_false, constant) in enumerate(code):
        true = places[if_true] - at - 1 if isinstance(if_true, str) else if_true
        false = places[if_false] - at - 1 if isinstance(if_false, str) else if_false
        if operation == JUMP:
            true, constant = 0, true
        made.append(struct.pack("=HBBI", operation, true, false, constant))
    return b"".join(made)


def _with_short_jumps(lines: Code) -> Code:
    short: list[Line | str] = []
    for line in lines:
        if isinstance(line, str) or line[0] not in (JUMP_EQUAL, JUMP_NOT_BELOW):
            short.append(line)
            continue
        operation, if_true, if_false, constant = line
        short.append((operation, 0, 1, constant))
        short.append((JUMP, if_true, 0, 0))
        if if_false:
            short.append((JUMP, if_false, 0, 0))
    return short


def verdict_of(clauses: Clauses, args: Sequence[int]) -> Verdict:
    """What the clauses say of a call with these arguments, as the filter decides it."""
    for conditions, verdict in clauses:
        if all(args[at] & 0xFFFFFFFF & mask in values for at, mask, values in conditions):
            return verdict
    raise AssertionError("the last clause takes what is left")


def simulate(code: bytes, number: int, arch: int, args: Sequence[int]) -> int:
    """What the kernel would get from this filter for one call.  For tests."""
    call = struct.pack("=iIQ6Q", _signed(number), arch, 0, *args)
    accumulator = at = 0
    while True:
        operation, if_true, if_false, constant = struct.unpack_from("=HBBI", code, 8 * at)
        at += 1
        if operation == RETURN:
            return int(constant)
        if operation == LOAD:
            (accumulator,) = struct.unpack_from("=I", call, constant)
        elif operation == AND:
            accumulator &= constant
        elif operation == JUMP:
            at += constant
        elif operation == JUMP_EQUAL:
            at += if_true if accumulator == constant else if_false
        elif operation == JUMP_NOT_BELOW:
            at += if_true if accumulator >= constant else if_false
        else:
            raise AssertionError(f"no such operation: {operation:#x}")


def _signed(number: int) -> int:
    return number - (1 << 32) if number & 0x80000000 else number
