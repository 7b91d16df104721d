"""``make soak``: minutes come in; mixed work is done as long, and memory and descriptors are told.

They have to be flat: the last third may have little more than the second one.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.memory import MIB
from kernel_runner.client import Kernel, connect
from kernel_runner.lane import MAX_SEEN_IDS
from tests.faults.tally import dice
from tests.faults.weight import descriptors, memory
from tests.running import RunnerProcess, runner

DEFAULT_MINUTES: Final = 10.0
CLIENTS: Final = 3
FILLING: Final = 1_000
SAMPLE_SECONDS: Final = 1.0
MAX_MORE_MIB: Final = 2.0
MAX_MORE_SHARE: Final = 0.03
MAX_MORE_DESCRIPTORS: Final = 5
ANSWER_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What the processes of the runner have, while its programs run."""

    second: float
    memory_mib: float
    descriptors: int
    done: int


async def main(minutes: float) -> int:
    moments, done = dice("soak"), Counter[str]()
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as folder:
        async with runner(Path(folder), "python") as started:
            address = started.addresses["session"]
            print(f"filling {CLIENTS} sessions with ids ...", flush=True)
            sessions = [await open_full(address) for _ in range(CLIENTS)]
            end = time.monotonic() + minutes * 60
            async with asyncio.TaskGroup() as tasks:
                for session in sessions:
                    own = random.Random(moments.random())
                    tasks.create_task(work(address, session, own, end, done))
                tasks.create_task(sample(started, samples, end, done))
    return told(samples)


async def open_full(address: str) -> str:
    """A session that remembers as many ids as it may: from then on it has nothing to grow by."""
    async with connect(address) as kernel:
        for _ in range(MAX_SEEN_IDS // FILLING + 1):
            replies = [kernel.execute("") for _ in range(FILLING)]
            for reply in replies:
                await reply.result()
        assert kernel.welcome is not None
        return kernel.welcome.session


async def work(
    address: str, session: str, moments: random.Random, end: float, done: Counter[str]
) -> None:
    """Work of all kinds, over many connections after one another."""
    while time.monotonic() < end:
        async with connect(address, session=session) as kernel:
            for _ in range(moments.randrange(1, 30)):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await do_one(kernel, session, moments)
                done[session] += 1


async def do_one(kernel: Kernel, name: str, moments: random.Random) -> None:
    match moments.randrange(8):
        case 0:
            result = await kernel.query(f"print({name!r})").result()
            assert result.stdout == f"{name}\n", result
        case 1:
            result = await kernel.execute("head -c 1000000 /dev/zero").result()
            assert len(result.stdout) == 1_000_000, result
        case 2:
            result = await kernel.execute("sleep 60 & sleep 60 | cat & echo here").result()
            assert result.stdout == "here\n", result
        case 3:
            reply = kernel.execute("sleep 60")
            await reply.cancel()
            assert (await reply.result()).reason == "cancelled"
        case 4:
            result = await kernel.query("1 / 0").result()
            assert result.reason == "error", result
        case 5:
            content = bytes(moments.randrange(100_000))
            await kernel.upload(name, content)
            assert await kernel.download(name) == content
        case 6:
            reply = kernel.query("input('? ')", stdin="prompt")
            result = await reply.result(on_input=lambda prompt, is_password: name)
            assert name in result.stdout, result
        case _:
            replies = [kernel.execute("") for _ in range(20)]
            assert [(await reply.result()).reason for reply in replies] == ["completed"] * 20


async def sample(
    started: RunnerProcess, samples: list[Sample], end: float, done: Counter[str]
) -> None:
    began = time.monotonic()
    while time.monotonic() < end:
        await asyncio.sleep(SAMPLE_SECONDS)
        second = time.monotonic() - began
        samples.append(Sample(second, memory(started) / MIB, descriptors(started), done.total()))


def told(samples: Sequence[Sample]) -> int:
    """Print the figures; 1 when they are not flat."""
    third = len(samples) // 3
    parts = [samples[:third], samples[third : 2 * third], samples[2 * third :]]
    print("| seconds | requests | memory, MiB (PSS) | descriptors |\n| --- | --- | --- | --- |")
    for part in parts:
        print(
            f"| {part[0].second:.0f} to {part[-1].second:.0f} | {part[-1].done - part[0].done:,} "
            f"| {middle(part, 'memory_mib'):.1f} (most {most(part, 'memory_mib'):.1f}) "
            f"| {middle(part, 'descriptors'):.0f} (most {most(part, 'descriptors'):.0f}) |"
        )
    more_mib = middle(parts[2], "memory_mib") - middle(parts[1], "memory_mib")
    more_descriptors = middle(parts[2], "descriptors") - middle(parts[1], "descriptors")
    allowed_mib = max(MAX_MORE_MIB, MAX_MORE_SHARE * middle(parts[1], "memory_mib"))
    is_flat = more_mib <= allowed_mib and more_descriptors <= MAX_MORE_DESCRIPTORS
    print(f"{'flat' if is_flat else 'NOT FLAT'}: {more_mib:+.2f} MiB, {more_descriptors:+.0f}")
    return 0 if is_flat else 1


def middle(part: Sequence[Sample], name: str) -> float:
    return float(median(getattr(each, name) for each in part))


def most(part: Sequence[Sample], name: str) -> float:
    return float(max(getattr(each, name) for each in part))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(float(os.environ.get("MINUTES") or DEFAULT_MINUTES))))
