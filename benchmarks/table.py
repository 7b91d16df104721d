"""Rows of figures come in; a table goes out, as plain text or as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.rounds import OURS, PEER, Summary

HEADINGS: Final = ("what", "unit", "ours", PEER, "ours/peer", "floors", "target", "reached")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of ours beside the peer's and the floors; `target` is shown, `reached` judges."""

    what: str
    unit: str
    figures: Mapping[str, Summary]
    target: str = ""
    reached: bool | None = None
    notes: Sequence[str] = field(default=())

    def cells(self) -> tuple[str, ...]:
        ours = self.figures[OURS]
        peer = self.figures.get(PEER)
        return (
            self.what,
            self.unit,
            _summary(ours),
            _summary(peer) if peer else "",
            f"{ours.p50 / peer.p50:.3g}" if peer and peer.p50 else "",
            "; ".join(_floor(ours, *floor) for floor in self._floors()),
            self.target,
            "" if self.reached is None else "yes" if self.reached else "MISSED",
        )

    def _floors(self) -> Sequence[tuple[str, Summary]]:
        return [item for item in self.figures.items() if item[0] not in (OURS, PEER)]


def as_text(rows: Sequence[Row]) -> str:
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, tuple("-" * width for width in widths))
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([*table, "", *_notes(rows)]).rstrip()


def as_markdown(rows: Sequence[Row]) -> str:
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in rows)]
    table = [f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines]
    return "\n".join([*table, "", *(f"- {note}" for note in _notes(rows))]).rstrip() + "\n"


def _notes(rows: Sequence[Row]) -> list[str]:
    return [f"{row.what}: {note}" for row in rows for note in row.notes]


def _summary(summary: Summary) -> str:
    return _number(summary.p50) + (f" (p99 {_number(summary.p99)})" if summary.p99 else "")


def _floor(ours: Summary, name: str, floor: Summary) -> str:
    return f"{name} {_number(floor.p50)} (x{ours.p50 / floor.p50:.3g})"


def _number(value: float) -> str:
    """Three digits, or all of them before the point."""
    return f"{value:.3g}" if abs(value) < 1_000 else f"{value:,.0f}"
