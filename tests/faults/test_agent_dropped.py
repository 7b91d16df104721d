"""A reader of the agent dialect goes at random moments; what it had not read is counted."""

import random
import statistics
from pathlib import Path
from typing import Final

import pytest
import zmq

from tests.faults.tally import counting, dice, times
from tests.faults.weight import until_still
from tests.running import RunnerProcess, runner
from tests.wire import AgentClient

LINE_BYTES: Final = 10
NUMBERED: Final = "seq -w 999999999"
"""Lines of the same length, faster than anybody reads."""
READERS: Final = {"small buffers": 1, "libzmq's own buffers": 1_000}
"""The events that the reader's libzmq takes before the reader does."""
SMALL_BYTES: Final = 4_096


@pytest.mark.timeout(300)
@pytest.mark.parametrize("buffers", READERS)
@pytest.mark.parametrize("transport", ["ipc", "tcp"])
async def test_what_a_reader_of_the_agent_dialect_loses_when_it_goes_is_bounded(
    tmp_path: Path, transport: str, buffers: str
) -> None:
    moments = dice(transport + buffers)
    options = ["--out=tcp://127.0.0.1:0"] if transport == "tcp" else []
    fault = f"agent dialect over {transport}: reader with {buffers} goes, another one comes"
    with counting(fault) as tally:
        tally.may_lose = True
        async with runner(tmp_path, "shell", *options) as started:
            agent = started.deaf_agent()
            await agent.say("exec", NUMBERED)
            losses: list[int] = []
            open_reader(agent, READERS[buffers])
            last = await read_some(started, agent, moments)
            for _ in range(times(2, 12)):
                agent.events.close(linger=0)
                open_reader(agent, READERS[buffers])
                first = await first_number(agent)
                assert first > last, "nothing comes twice"
                losses.append(max(0, first - last - 2))  # one may have come in two parts
                last = await read_some(started, agent, moments)
            agent.close()
        tally.tried, tally.lost = len(losses), sum(losses)
        low, high = min(losses) * LINE_BYTES / 1e6, max(losses) * LINE_BYTES / 1e6
        middle = statistics.median(losses) * LINE_BYTES / 1e6
        tally.measured = f"{low:.2f} to {high:.2f} MB at a time, median {middle:.2f}"


def open_reader(agent: AgentClient, high_water_mark: int) -> None:
    if high_water_mark == 1:
        agent.context.setsockopt(zmq.RCVBUF, SMALL_BYTES)  # of the sockets to come
    agent.open_events(high_water_mark)


async def first_number(agent: AgentClient) -> int:
    """The number of the first whole line that the reader hears of."""
    event = await agent.hear_until("stdout")
    return int(event.body.partition(b"\n")[2][: LINE_BYTES - 1])


async def read_some(started: RunnerProcess, agent: AgentClient, moments: random.Random) -> int:
    """Read, then stall until all buffers are full; the number of the last whole line."""
    for _ in range(moments.randrange(1, 40)):
        event = await agent.hear_until("stdout")
    await until_still(started, "seq")
    return int(event.body.rpartition(b"\n")[0][-LINE_BYTES + 1 :])
