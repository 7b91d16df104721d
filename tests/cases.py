"""Text files with cells and what comes from them in; cases out.  tests/langs/cases/README.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "langs" / "cases"
KINDS: Final = {
    "cell": (),
    "stdout": ("no-newline", "contains", "matches"),
    "stderr": ("no-newline", "contains", "matches"),
    "media": None,
    "clear-output": ("wait",),
    "waiting-input": ("password",),
    "input": (),
    "interrupt": (),
    "error": (),
    "end": None,
}
"""What stands behind ``---``, and the words that may follow it; None: any."""
SETTINGS: Final = ("needs", "shell", "limits")


class BadCase(Exception):
    """A file that cannot be understood: where, and why."""


@dataclass
class Block:
    """What is below one ``---`` line."""

    kind: str
    words: list[str]
    place: str
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The lines; an empty one at the end separates cases, and is no part of it."""
        lines = list(self.lines)
        while lines and not lines[-1]:
            lines.pop()
        return "\n".join(lines)


@dataclass
class Case:
    name: str
    place: str
    settings: dict[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    @property
    def cells(self) -> Iterator[tuple[Block, list[Block]]]:
        """Each cell with what follows it."""
        starts = [at for at, block in enumerate(self.blocks) if block.kind == "cell"]
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            yield self.blocks[start], self.blocks[start + 1 : end]

    def is_for(self, shell: str) -> bool:
        return self.settings.get("shell", shell) == shell


def read(file: Path) -> list[Case]:
    """All cases of a file; raises `BadCase`."""
    cases: list[Case] = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        place = f"{file.name}:{number}"
        if line.startswith("=== "):
            cases.append(Case(line[4:].strip(), place))
        elif not cases:
            if line and not line.startswith("#"):
                raise BadCase(f"{place}: a file begins with a line such as '=== a name'")
        elif line.startswith("--- "):
            cases[-1].blocks.append(_block(line, place))
        elif cases[-1].blocks:
            cases[-1].blocks[-1].lines.append(line)
        elif line:
            _set(cases[-1], line, place)
    for case in cases:
        if not case.blocks or case.blocks[0].kind != "cell":
            raise BadCase(f"{case.place}: a case begins with '--- cell'")
    return cases


def _block(line: str, place: str) -> Block:
    kind, *words = line[4:].split()
    if kind not in KINDS:
        raise BadCase(f"{place}: {kind!r} is none of {', '.join(KINDS)}")
    known = KINDS[kind]
    if known is not None and (wrong := set(words) - set(known)):
        raise BadCase(f"{place}: behind {kind} may stand {known}, not {sorted(wrong)}")
    return Block(kind, words, place)


def _set(case: Case, line: str, place: str) -> None:
    name, colon, value = line.partition(":")
    if not colon or name not in SETTINGS:
        raise BadCase(f"{place}: here may stand {', '.join(SETTINGS)}, each with ':'")
    case.settings[name] = value.strip()
