"""Options come in; a table of figures is printed, and written as Markdown where that is asked.

No figure is asserted: one that misses its target is shown as missed, and the exit code is 0.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import machine, peers, table
from benchmarks.rounds import Effort
from benchmarks.subjects import SUBJECTS
from benchmarks.table import Row

ROUNDS: Final = 5
QUICK_ROUNDS: Final = 2
QUICK_DIVISOR: Final = 10

PYTHON_SETTINGS: Final = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
"""Not for what is measured: packages are installed compiled, and a pipe is buffered."""


def main() -> None:
    options = _parser().parse_args()
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    effort = Effort(rounds, QUICK_DIVISOR if options.quick else 1)
    notes = [machine.describe(), f"{rounds} rounds of each, contenders in turns; medians of rounds"]
    if not peers.installed():
        notes.append("ipykernel is left out: pip install 'kernel-runner[bench]' installs it")
    for name in PYTHON_SETTINGS:
        os.environ.pop(name, None)
    rows = asyncio.run(_measure(options.subjects or list(SUBJECTS), effort))
    print("\n".join([*notes, "", table.as_text(rows)]))
    if options.markdown is not None:
        text = "\n".join([*(f"- {note}" for note in notes), "", table.as_markdown(rows)])
        options.markdown.write_text(text, encoding="utf-8")


async def _measure(names: Sequence[str], effort: Effort) -> Sequence[Row]:
    rows: list[Row] = []
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows.extend(await SUBJECTS[name](effort))
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the runner beside ipykernel and floors."
    )
    parser.add_argument(
        "subjects",
        nargs="*",
        type=_subject,
        metavar="SUBJECT",
        help=f"all of these unless some are named: {', '.join(SUBJECTS)}",
    )
    parser.add_argument("--quick", action="store_true", help="less of everything, under a minute")
    parser.add_argument("--rounds", type=_positive, metavar="N", help=f"{ROUNDS} without this")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there too")
    return parser


def _subject(name: str) -> str:
    if name not in SUBJECTS:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(SUBJECTS)}")
    return name


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("has to be above 0")
    return number


if __name__ == "__main__":
    main()
