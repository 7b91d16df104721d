"""What was tried comes in; a row of the table of faults goes out, and has to have no losses."""

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

MANY: Final = "FAULTS_MANY"
"""Set to 1 each fault is tried as often as the table says; otherwise as often as there is time."""
SEED: Final = "FAULTS_SEED"
"""Where the random moments come from; by itself another one each time."""
ROWS: Final = "FAULTS_ROWS"
"""A file that each fault adds its row to."""
Piece = TypeVar("Piece", bytes, str, int)


@dataclass(slots=True)
class Tally:
    """One row.  What was lost and doubled is counted in lines, events or requests."""

    fault: str
    tried: int = 0
    lost: int = 0
    doubled: int = 0
    left_behind: int = 0
    measured: str = ""
    may_lose: bool = False
    """Nothing is promised here; the loss is counted all the same."""

    def compare(self, expected: Sequence[Piece], got: Sequence[Piece]) -> None:
        """Count what is missing and what is there too often; a wrong order counts as a loss."""
        if list(expected) == list(got):
            return
        wanted, found = Counter(expected), Counter(got)
        self.lost += max((wanted - found).total(), 1)
        self.doubled += (found - wanted).total()

    def compare_bytes(self, expected: bytes, got: bytes) -> None:
        if expected != got:
            self.compare(expected.splitlines(), got.splitlines())


@contextmanager
def counting(fault: str) -> Iterator[Tally]:
    """The row of one fault: it is told however the block ends."""
    tally = Tally(fault)
    try:
        yield tally
    except BaseException:
        tally.measured = "FAILED"
        raise
    finally:
        if (rows := os.environ.get(ROWS)) is not None:
            with Path(rows).open("ab") as file:
                file.write(msgspec.json.encode(asdict(tally)) + b"\n")
    lost = 0 if tally.may_lose else tally.lost
    assert (lost, tally.doubled, tally.left_behind) == (0, 0, 0), tally


def times(few: int, many: int) -> int:
    """How often to try: `many` in `make faults`, `few` in the suite."""
    return many if os.environ.get(MANY) == "1" else few


def dice(name: str) -> random.Random:
    """The random moments of one test; the same seed throws them again."""
    seed = os.environ.get(SEED) or str(random.SystemRandom().randrange(1_000_000))
    print(f"{SEED}={seed}")
    return random.Random(f"{seed} {name}")
