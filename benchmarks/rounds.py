"""Contenders come in; they take turns for some rounds, and a summary of each goes out."""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

Measure: TypeAlias = Callable[[], Awaitable[Sequence[float]]]
"""One round of one contender: its samples."""

P99_SAMPLES: Final = 100
"""With fewer samples in a round its p99 would be its maximum."""

OURS: Final = "ours"
PEER: Final = "ipykernel"


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: `of(n)` are the samples in a round, fewer when it has to be quick."""

    rounds: int
    divisor: int = 1

    def of(self, samples: int) -> int:
        return max(1, samples // self.divisor)


@dataclass(frozen=True, slots=True)
class Summary:
    """Medians over the rounds of each round's median and 99th percentile."""

    p50: float
    p99: float | None = None


async def interleave(contenders: Mapping[str, Measure | None], rounds: int) -> dict[str, Summary]:
    """Measure each contender once in every round; one that is None is left out."""
    present = {name: measure for name, measure in contenders.items() if measure is not None}
    samples: dict[str, list[Sequence[float]]] = {name: [] for name in present}
    for _ in range(rounds):
        for name, measure in present.items():
            samples[name].append(await measure())
    return {name: summarize(per_round) for name, per_round in samples.items()}


def summarize(per_round: Sequence[Sequence[float]]) -> Summary:
    p50 = statistics.median(statistics.median(samples) for samples in per_round)
    if min(map(len, per_round)) < P99_SAMPLES:
        return Summary(p50)
    p99 = statistics.median(statistics.quantiles(samples, n=100)[98] for samples in per_round)
    return Summary(p50, p99)
