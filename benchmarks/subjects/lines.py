"""A million lines of 100 bytes printed by a query: how fast they arrive, and whether all do."""

from collections.abc import Sequence
from time import perf_counter
from typing import Final

from benchmarks import floors, ours
from benchmarks.peers import peer
from benchmarks.rounds import OURS, PEER, Effort, interleave
from benchmarks.table import Row

LINES: Final = 1_000_000
LINE_BYTES: Final = 100
MAX_ROUNDS: Final = 3
TARGET_TIMES: Final = 6


async def measure(effort: Effort) -> Sequence[Row]:
    lines = effort.of(LINES)
    code = f"for number in range({lines}): print(f'{{number:0{LINE_BYTES - 1}}}')"
    expected = b"".join(b"%099d\n" % number for number in range(lines))
    megabytes = lines * LINE_BYTES / 1e6
    lost: dict[str, int] = {OURS: 0, PEER: 0}
    out_of_order: set[str] = set()

    def check(name: str, output: bytes) -> None:
        lost[name] += lines - output.count(b"\n")
        if output != expected:
            out_of_order.add(name)

    async with ours.runner("python") as runner, peer() as kernel:

        async def ours_rate() -> list[float]:
            start = perf_counter()
            output = await ours.output_of(runner.kernel.query(code))
            seconds = perf_counter() - start
            check(OURS, output)
            return [megabytes / seconds]

        async def peer_rate() -> list[float]:
            assert kernel is not None, "left out below"
            start = perf_counter()
            output = await kernel.output_of(code)
            seconds = perf_counter() - start
            check(PEER, output.encode())
            return [megabytes / seconds]

        async def floor_rate() -> list[float]:
            return [megabytes / floors.read_pipe_seconds(code)]

        figures = await interleave(
            {
                OURS: ours_rate,
                PEER: peer_rate if kernel else None,
                "plain pipe": floor_rate,
            },
            min(effort.rounds, MAX_ROUNDS),
        )
    fast = figures[OURS].p50 >= TARGET_TIMES * figures[PEER].p50 if PEER in figures else None
    return [
        Row(
            f"{lines:,} lines of {LINE_BYTES} bytes",
            "MB/s",
            figures,
            f"{TARGET_TIMES} times {PEER}'s, none lost",
            False if OURS in out_of_order else fast,
            [
                f"{name} lost {lost[name]:,} lines; "
                + ("not the bytes that were printed" if name in out_of_order else "byte for byte")
                for name in (OURS, PEER)
                if name in figures
            ],
        )
    ]
