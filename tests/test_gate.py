"""Pullers come to one PUSH socket; one at a time is let in, and the runner knows which."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zmq
import zmq.asyncio

from kernel_runner.channels.admission import Admission
from kernel_runner.channels.gate import Gate
from kernel_runner.zsocket import ZSocket

FAILURE_SECONDS = 10.0


class Door:
    """A PUSH socket behind a gate, and what the gate tells."""

    def __init__(self, folder: Path, *, tcp: bool) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self.writable = asyncio.Event()
        self.push = ZSocket(
            self.context.socket(zmq.PUSH),
            on_writable=self.writable.set,
            options={zmq.SNDHWM: 1},
        )
        self.admission = Admission(self.context)
        self.gate = Gate(
            self.push.socket,
            self.admission,
            on_arrival=lambda: self.told.put_nowait("arrival"),
            on_departure=lambda: self.told.put_nowait("departure"),
        )
        self.address = self.push.bind("tcp://127.0.0.1:0" if tcp else f"ipc://{folder}/out")
        self.clients: zmq.asyncio.Context = zmq.asyncio.Context()
        self.pullers: list[zmq.asyncio.Socket] = []

    def puller(self) -> zmq.asyncio.Socket:
        puller = self.clients.socket(zmq.PULL)
        self.pullers.append(puller)
        puller.connect(self.address)
        return puller

    def stranger(self) -> socket.socket:
        """A connection that is opened and says nothing, as a port scanner's."""
        if self.address.startswith("ipc://"):
            silent = socket.socket(socket.AF_UNIX)
            silent.connect(self.address.removeprefix("ipc://"))
            return silent
        host, _, port = self.address.removeprefix("tcp://").rpartition(":")
        return socket.create_connection((host, int(port)))

    async def hear(self) -> str:
        async with asyncio.timeout(FAILURE_SECONDS):
            return await self.told.get()

    async def pass_on(self, puller: zmq.asyncio.Socket, *texts: bytes) -> None:
        """Everything that is sent reaches this puller, in order."""
        for text in texts:
            async with asyncio.timeout(FAILURE_SECONDS):
                while not self.push.send([text]):
                    self.writable.clear()
                    await self.writable.wait()
                assert await puller.recv_multipart() == [text]

    def close(self) -> None:
        for puller in self.pullers:
            puller.close(linger=0)
        self.clients.term()
        self.gate.close()
        self.push.close()
        self.admission.close()
        self.context.term()


@pytest.fixture(params=["tcp", "ipc"])
async def door(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Door]:
    opened = Door(tmp_path, tcp=request.param == "tcp")
    try:
        yield opened
    finally:
        opened.close()


async def test_a_puller_is_let_in_and_its_end_is_seen(door: Door) -> None:
    puller = door.puller()
    assert await door.hear() == "arrival"
    await door.pass_on(puller, b"1", b"2", b"3")

    puller.close()

    assert await door.hear() == "departure"


async def test_of_two_pullers_the_first_gets_everything_and_the_second_comes_after_it(
    door: Door,
) -> None:
    first = door.puller()
    assert await door.hear() == "arrival"
    second = door.puller()

    await door.pass_on(first, *(b"%d" % number for number in range(10)))
    first.close()

    assert [await door.hear(), await door.hear()] == ["departure", "arrival"]
    await door.pass_on(second, *(b"%d" % number for number in range(10)))


async def test_pullers_come_in_one_after_another_in_their_order(door: Door) -> None:
    pullers = [door.puller()]
    assert await door.hear() == "arrival"
    for _ in range(3):
        pullers.append(door.puller())

    for _ in range(3):
        inside = pullers.pop(0) if len(pullers) == 4 else pullers.pop()
        inside.close()
        assert await door.hear() == "departure"
        assert await door.hear() == "arrival"
        pullers = await _whoever_reads_last(door, pullers)


async def _whoever_reads_last(
    door: Door, pullers: list[zmq.asyncio.Socket]
) -> list[zmq.asyncio.Socket]:
    async with asyncio.timeout(FAILURE_SECONDS):
        while not door.push.send([b"x"]):
            door.writable.clear()
            await door.writable.wait()
    poller = zmq.asyncio.Poller()
    for puller in pullers:
        poller.register(puller, zmq.POLLIN)
    async with asyncio.timeout(FAILURE_SECONDS):
        ready = [puller for puller, _ in await poller.poll()]
    assert len(ready) == 1
    assert await ready[0].recv_multipart() == [b"x"]
    return [puller for puller in pullers if puller is not ready[0]] + ready


async def test_a_silent_connection_does_not_keep_a_puller_out(door: Door) -> None:
    with door.stranger():
        puller = door.puller()

        assert await door.hear() == "arrival"
        await door.pass_on(puller, b"1", b"2")


async def test_the_end_of_a_silent_connection_is_not_taken_for_that_of_the_puller(
    door: Door,
) -> None:
    stranger = door.stranger()
    puller = door.puller()
    assert await door.hear() == "arrival"

    stranger.close()
    await _seen_by(door)
    await door.pass_on(puller, b"1", b"2")
    second = door.puller()
    assert door.told.empty()
    puller.close()

    assert [await door.hear(), await door.hear()] == ["departure", "arrival"]
    await door.pass_on(second, b"3")


async def _seen_by(door: Door) -> None:
    """Another silent connection has come and gone: what came before it was seen, too."""
    for _ in range(3):
        door.stranger().close()
        await asyncio.sleep(0.05)


async def test_a_puller_that_gives_up_at_the_door_does_not_hold_up_the_next(door: Door) -> None:
    first = door.puller()
    assert await door.hear() == "arrival"
    impatient = door.puller()
    await door.pass_on(first, b"1")
    impatient.close()
    last = door.puller()
    await door.pass_on(first, b"2")

    first.close()

    assert await door.hear() == "departure"
    # the impatient one may still have got in for a moment, and then takes what is sent to it
    async with asyncio.timeout(FAILURE_SECONDS):
        while not await last.poll(100):
            door.push.send([b"3"])
    assert await last.recv_multipart() == [b"3"]


async def test_garbage_from_a_connection_leaves_the_gate_working(door: Door) -> None:
    with door.stranger() as noise:
        noise.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10)
        puller = door.puller()

        assert await door.hear() == "arrival"
        await door.pass_on(puller, b"1")


async def test_the_end_of_garbage_is_not_taken_for_that_of_the_puller(door: Door) -> None:
    puller = door.puller()
    assert await door.hear() == "arrival"
    for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 10, b"\xff" * 100, b"\0", b""):
        with door.stranger() as noise:
            noise.sendall(garbage)
            await door.pass_on(puller, b"1")
    await _seen_by(door)

    assert door.told.empty()
    await door.pass_on(puller, b"1")
