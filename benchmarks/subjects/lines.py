"""A million lines of 100 bytes printed by a query: how fast they arrive, and whether all do."""

import sys
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Final

from benchmarks.peers import Peer, peer
from benchmarks.rounds import OURS, PEER, Effort, Measure, interleave
from benchmarks.table import Row
from kernel_runner.cli import measures
from kernel_runner.client import Kernel, launch

LINES: Final = 1_000_000
LINE_BYTES: Final = 100
MAX_ROUNDS: Final = 3
TARGET_TIMES: Final = 6


class Flood:
    """The lines that `code` prints, and what each contender lost of them."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.code = f"for number in range({lines}): print(f'{{number:0{LINE_BYTES - 1}}}')"
        self._megabytes = lines * LINE_BYTES / 1e6
        self._expected = b"".join(b"%0*d\n" % (LINE_BYTES - 1, number) for number in range(lines))
        self._lost: dict[str, int] = {OURS: 0, PEER: 0}
        self.out_of_order: set[str] = set()

    def rate(self, seconds: float) -> list[float]:
        return [self._megabytes / seconds]

    def check(self, name: str, output: bytes) -> None:
        self._lost[name] += self.lines - output.count(b"\n")
        if output != self._expected:
            self.out_of_order.add(name)

    def note(self, name: str) -> str:
        exact = "not the bytes that were printed" if name in self.out_of_order else "byte for byte"
        return f"{name} lost {self._lost[name]:,} lines; {exact}"


async def measure(effort: Effort) -> Sequence[Row]:
    flood = Flood(effort.of(LINES))
    async with launch("python", runtime_path=sys.executable) as kernel, peer() as rival:
        contenders = _contenders(flood, kernel, rival)
        figures = await interleave(contenders, min(effort.rounds, MAX_ROUNDS))
    fast = figures[OURS].p50 >= TARGET_TIMES * figures[PEER].p50 if PEER in figures else None
    return [
        Row(
            f"{flood.lines:,} lines of {LINE_BYTES} bytes",
            "MB/s",
            figures,
            f"{TARGET_TIMES} times {PEER}'s, none lost",
            False if OURS in flood.out_of_order else fast,
            [flood.note(name) for name in (OURS, PEER) if name in figures],
        )
    ]


def _contenders(flood: Flood, kernel: Kernel, rival: Peer | None) -> Mapping[str, Measure | None]:
    async def ours_rate() -> list[float]:
        start = perf_counter()
        output = await measures.output_of(kernel.query(flood.code))
        seconds = perf_counter() - start
        flood.check(OURS, output)
        return flood.rate(seconds)

    async def peer_rate() -> list[float]:
        assert rival is not None, "left out below"
        start = perf_counter()
        output = await rival.output_of(flood.code)
        seconds = perf_counter() - start
        flood.check(PEER, output.encode())
        return flood.rate(seconds)

    async def floor_rate() -> list[float]:
        return flood.rate(measures.read_pipe_seconds(flood.code))

    return {OURS: ours_rate, PEER: peer_rate if rival else None, "plain pipe": floor_rate}
