"""What a kernel weighs when it has answered one query, and what its client weighs."""

import asyncio
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.peers import installed
from benchmarks.rounds import OURS, PEER, Effort, Summary
from benchmarks.table import Row

SECONDS: Final = 60.0


async def measure(effort: Effort) -> Sequence[Row]:  # memory does not change from round to round
    names = [OURS, PEER] if installed() else [OURS]
    weights = {name: await _weigh(name) for name in names}
    return [
        Row(
            "idle kernel, all its processes",
            "MiB, PSS",
            {
                name: Summary(sum(mib for what, mib in parts.items() if what != "client"))
                for name, parts in weights.items()
            },
            notes=[f"{name} is {_parts(parts)}" for name, parts in weights.items()],
        ),
        Row(
            "its client",
            "MiB, PSS",
            {name: Summary(parts["client"]) for name, parts in weights.items()},
        ),
    ]


async def _weigh(name: str) -> Mapping[str, float]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.idle_client", name), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)  # its blocks end the kernel that it has started
            await process.wait()
    weights: dict[str, float] = json.loads(output)
    return weights


def _parts(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{what} {mib:.1f}" for what, mib in parts.items() if what != "client")
