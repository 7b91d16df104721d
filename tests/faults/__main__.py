"""``make faults``: every fault is tried often; a table is printed, and written into the page.

Words go to pytest, as in ``-k network``; then, and after a failure, it is only printed.
"""

import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from tests.faults.tally import MANY, ROWS, SEED

FOLDER: Final = Path(__file__).parent
PAGE: Final = FOLDER.parent.parent / "docs" / "guarantees.md"
BEGIN: Final = "<!-- faults: written by make faults -->\n"
END: Final = "<!-- end of faults -->\n"
COLUMNS: Final = {
    "fault": "fault",
    "tried": "times tried",
    "lost": "lost",
    "doubled": "doubled",
    "left_behind": "left behind",
    "measured": "measured",
}


def main(words: Sequence[str]) -> int:
    seed = os.environ.get(SEED) or str(random.randrange(1_000_000))
    print(f"{SEED}={seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows"
        rows.touch()
        chosen = {**os.environ, MANY: "1", SEED: seed, ROWS: str(rows)}
        tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER)]
        exit_code = subprocess.run([*tests, *words], env=chosen, check=False).returncode
        table = as_markdown([json.loads(line) for line in rows.read_text().splitlines()])
    print(f"\n{table}")
    if not words and exit_code == 0:
        write(
            f"{date.today()}, {platform.machine()}, Python {platform.python_version()}, "
            f"{os.cpu_count()} cores, seed {seed}:\n\n{table}"
        )
    return exit_code


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """One row for each fault."""
    lines = [list(COLUMNS.values()), ["---"] * len(COLUMNS)]
    lines += [[cell(row[name]) for name in COLUMNS] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def write(text: str) -> None:
    """Put the table between its marks."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}{text}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
