"""Messages of real sockets come in by callback and go out without waiting, on both loops."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest
import uvloop
import zmq

from kernel_runner.zsocket import RECEIVE_BATCH, Unreachable, ZSocket

FAILURE_SECONDS = 10.0
OnLoop: TypeAlias = Callable[[Callable[[], Awaitable[None]]], None]
Context: TypeAlias = zmq.Context[zmq.Socket[bytes]]


@pytest.fixture(params=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> OnLoop:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(scenario: Callable[[], Awaitable[None]]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(FAILURE_SECONDS):
                await scenario()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(limited())

    return run


@pytest.fixture
def context() -> Iterator[Context]:
    context: Context = zmq.Context()
    yield context
    context.term()


class Ends:
    """A pair of sockets and what the second has received."""

    def __init__(self, context: Context, address: str, kinds: tuple[int, int]) -> None:
        self.received: list[bytes] = []
        self.waits = 0
        self.writable = asyncio.Event()
        self.changed = asyncio.Event()
        self.sender = ZSocket(
            context.socket(kinds[0]),
            on_writable=self.writable.set,
            options={zmq.SNDHWM: 5},
        )
        self.address = self.sender.bind(address)
        self.receiver = ZSocket(
            context.socket(kinds[1]), on_frames=self.take, options={zmq.RCVHWM: 5}
        )
        self.receiver.connect(self.address)

    def take(self, frames: list[bytes]) -> None:
        self.received.append(frames[-1])
        self.changed.set()

    async def send(self, *frames: bytes) -> None:
        while not self.sender.send(frames):
            self.waits += 1
            self.writable.clear()
            await self.writable.wait()

    async def have(self, number: int) -> None:
        while len(self.received) < number:
            self.changed.clear()
            await self.changed.wait()

    def close(self) -> None:
        self.sender.close()
        self.receiver.close()


def test_everything_that_is_sent_arrives_in_order_though_there_is_little_room(
    on_loop: OnLoop, context: Context, tmp_path: Path
) -> None:
    async def scenario() -> None:
        ends = Ends(context, f"ipc://{tmp_path}/s", (zmq.PUSH, zmq.PULL))
        for number in range(3_000):
            await ends.send(b"x" * 2_000, b"%d" % number)
        await ends.have(3_000)
        ends.close()
        assert ends.received == [b"%d" % number for number in range(3_000)]
        assert ends.waits

    on_loop(scenario)


def test_a_flood_leaves_the_loop_to_others(on_loop: OnLoop, context: Context) -> None:
    async def scenario() -> None:
        ends = Ends(context, "tcp://127.0.0.1:0", (zmq.PUSH, zmq.PULL))
        seen: list[int] = []

        async def tick() -> None:
            while True:
                seen.append(len(ends.received))
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        for number in range(1_000):
            await ends.send(b"%d" % number)
        await ends.have(1_000)
        ticking.cancel()
        ends.close()
        steps = [after - before for before, after in itertools.pairwise(seen)]
        assert max(steps) <= RECEIVE_BATCH + 1

    on_loop(scenario)


def test_a_router_says_that_a_peer_is_gone(
    on_loop: OnLoop, context: Context, tmp_path: Path
) -> None:
    async def scenario() -> None:
        router = ZSocket(context.socket(zmq.ROUTER), options={zmq.ROUTER_MANDATORY: 1})
        router.bind(f"ipc://{tmp_path}/r")
        try:
            with pytest.raises(Unreachable):
                router.send([b"nobody", b"x"])
        finally:
            router.close()

    on_loop(scenario)


def test_a_callback_that_raises_does_not_lose_the_messages_behind_it(
    on_loop: OnLoop, context: Context, tmp_path: Path
) -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, details: None)
        ends = Ends(context, f"ipc://{tmp_path}/s", (zmq.PUSH, zmq.PULL))
        take = ends.take

        def failing(frames: list[bytes]) -> None:
            take(frames)
            if frames[-1] == b"3":
                raise ValueError("bad message")

        ends.receiver._on_frames = failing
        for number in range(50):
            await ends.send(b"%d" % number)
        await ends.have(50)
        ends.close()

    on_loop(scenario)


def test_a_send_with_nobody_there_returns_and_is_told_when_somebody_comes(
    on_loop: OnLoop, context: Context
) -> None:
    async def scenario() -> None:
        writable = asyncio.Event()
        push = ZSocket(context.socket(zmq.PUSH), on_writable=writable.set)
        address = push.bind("tcp://127.0.0.1:0")
        assert not push.send([b"x"])
        received: asyncio.Queue[list[bytes]] = asyncio.Queue()
        pull = ZSocket(context.socket(zmq.PULL), on_frames=received.put_nowait)
        pull.connect(address)

        while not push.send([b"x"]):
            writable.clear()
            await writable.wait()

        assert await received.get() == [b"x"]
        push.close()
        pull.close()

    on_loop(scenario)


def test_a_socket_can_be_closed_by_the_message_it_receives(
    on_loop: OnLoop, context: Context, tmp_path: Path
) -> None:
    async def scenario() -> None:
        ends = Ends(context, f"ipc://{tmp_path}/s", (zmq.PUSH, zmq.PULL))
        closed = asyncio.Event()

        def close(frames: list[bytes]) -> None:
            ends.receiver.close()
            closed.set()

        ends.receiver._on_frames = close
        for _ in range(3):
            await ends.send(b"x")
        await closed.wait()
        ends.sender.close()

    on_loop(scenario)
