"""Tasks of several sessions come in; they run one at a time, in the order they were put."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_runner.lane import Session
from kernel_runner.messages.commands import Query
from kernel_runner.task import Task
from kernel_runner.task_queue import QueueFull, TaskQueue

FAILURE_SECONDS = 10.0
SESSIONS = [Session(name, 1_000, lambda call: call()) for name in ("a", "b")]


def task(identity: str, session: int = 0) -> Task:
    return Task(Query("x"), identity, SESSIONS[session])


async def run_all(queue: TaskQueue, done: asyncio.Event) -> None:
    """Consume until `done`."""
    consuming = asyncio.create_task(queue.consume())
    try:
        async with asyncio.timeout(FAILURE_SECONDS):
            await done.wait()
    finally:
        consuming.cancel()
        await asyncio.wait([consuming])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 1), min_size=1, max_size=20),
    st.sets(st.integers(0, 19)),
    st.lists(st.integers(0, 2), min_size=20, max_size=20),
)
def test_tasks_run_one_at_a_time_in_order_whatever_is_taken_out(
    sessions: list[int], out: set[int], pauses: list[int]
) -> None:
    async def scenario() -> None:
        ran: list[str] = []
        done = asyncio.Event()
        expected = [str(number) for number in range(len(sessions)) if number not in out]

        async def run(one: Task) -> None:
            assert queue.running is one
            ran.append(f"+{one.identity}")
            for _ in range(pauses[int(one.identity)]):
                await asyncio.sleep(0)
            ran.append(f"-{one.identity}")
            if one.identity == expected[-1]:
                done.set()

        queue = TaskQueue(run, 100)
        tasks = [task(str(number), session) for number, session in enumerate(sessions)]
        for number, one in enumerate(tasks):
            assert queue.put(one) == number
        for number in out & set(range(len(tasks))):
            queue.take_out(tasks[number])
        assert [one.identity for one in queue.waiting()] == expected
        assert len(queue) == len(expected)
        if expected:
            await run_all(queue, done)
        assert ran == [f"{sign}{name}" for name in expected for sign in "+-"]

    asyncio.run(scenario())


async def test_a_full_queue_takes_nothing_and_loses_nothing() -> None:
    async def run(one: Task) -> None: ...

    queue = TaskQueue(run, 2)
    queue.put(task("1"))
    queue.put(task("2"))

    with pytest.raises(QueueFull):
        queue.put(task("3"))

    assert [one.identity for one in queue.waiting()] == ["1", "2"]


async def test_a_task_that_fails_does_not_stay_the_running_one() -> None:
    async def run(one: Task) -> None:
        raise ValueError(one.identity)

    queue = TaskQueue(run, 2)
    queue.put(task("1"))

    with pytest.raises(ValueError, match="1"):
        await queue.consume()

    assert queue.running is None


async def test_cancelling_the_consumer_leaves_what_waits_to_be_answered() -> None:
    started = asyncio.Event()

    async def run(one: Task) -> None:
        started.set()
        await asyncio.get_running_loop().create_future()

    queue = TaskQueue(run, 10)
    for name in "123":
        queue.put(task(name))

    await run_all(queue, started)

    assert queue.running is None
    assert [one.identity for one in queue.waiting()] == ["2", "3"]


async def test_the_position_counts_the_running_task() -> None:
    started = asyncio.Event()
    positions: list[int] = []

    async def run(one: Task) -> None:
        positions.append(queue.put(task("2")))
        started.set()
        await asyncio.get_running_loop().create_future()

    queue = TaskQueue(run, 10)
    queue.put(task("1"))

    await run_all(queue, started)

    assert positions == [1]


async def test_find_prefers_the_task_of_the_session_that_asks() -> None:
    async def run(one: Task) -> None: ...

    queue = TaskQueue(run, 10)
    ours, theirs = task("same", 0), task("same", 1)
    queue.put(theirs)
    queue.put(ours)

    assert queue.find("same", "a") is ours
    assert queue.find("same", "b") is theirs
    assert queue.all_of("same") == [theirs, ours]
    assert queue.find("other", "a") is None
