"""What a command has to show comes in; JSON, tables with colours or aligned plain text go out.

A person at a terminal gets tables; a pipe or file gets the same cells as plain aligned lines, and
`--json` what a program reads.  `NO_COLOR` and `TERM=dumb` are kept by rich.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Final

STYLES: Final[Mapping[str, str]] = {"ok": "green", "warn": "yellow", "missing": "red"}
"""The colours of cells that are one of these words."""


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option of every command that a program may read."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def show_json(data: object) -> None:
    """Print data as JSON that people can read too."""
    import msgspec  # late: what prints no JSON starts faster

    text = msgspec.json.format(msgspec.json.encode(data), indent=2)
    print(text.decode(errors="backslashreplace"))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One line for each row, under the names of the columns."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if not _on_rich_terminal():
        _show_aligned([[column.upper() for column in columns], *cells])
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in row))
    Console(highlight=False).print(table)


def show_facts(facts: Mapping[str, str]) -> None:
    """One line for each fact: its name and what it is."""
    rows = [[name, printable(value)] for name, value in facts.items() if value]
    if not _on_rich_terminal():
        _show_aligned(rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(name, "bold"), Text(value))
    Console(highlight=False).print(table)


def note(text: str) -> None:
    """Tell something beside the result: on standard error."""
    print(f"kernel-runner: {printable(text)}", file=sys.stderr)


def printable(text: str) -> str:
    """The text with what would steer a terminal, or cannot be printed at all, made visible."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _on_rich_terminal() -> bool:
    """Whether a person looks, and what draws tables is installed."""
    if sys.stdout is None or not sys.stdout.isatty():
        return False
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True


def _show_aligned(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
