"""Commands come in; plain ZeroMQ frames of either dialect go out, and the events come back."""

import asyncio
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack
import zmq
import zmq.asyncio

from tests import schemas

FAILURE_SECONDS: Final = 15.0
"""How long anything may take before the test fails; nothing is expected to take that long."""
FINISHES: Final = ("clean-finished", "build-finished", "finished")
QUEUED: Final = ("clean", "build", "exec", "code")
STREAMS: Final = ("stdout", "stderr")


@dataclass(frozen=True, slots=True)
class Event:
    """One message of the runner; `fields` are its JSON, msgpack or header."""

    kind: str
    body: bytes
    fields: Mapping[str, Any]
    id: str | None = None
    seq: int | None = None


@dataclass(slots=True)
class Heard:
    """Everything up to one finish."""

    logs: list[str] = field(default_factory=list)
    others: list[Event] = field(default_factory=list)
    finish: Mapping[str, Any] = field(default_factory=dict)
    _stdout: bytearray = field(default_factory=bytearray)
    _stderr: bytearray = field(default_factory=bytearray)

    @property
    def stdout(self) -> bytes:
        return bytes(self._stdout)

    @property
    def stderr(self) -> bytes:
        return bytes(self._stderr)

    @property
    def end(self) -> tuple[int, str]:
        return self.finish["exitCode"], self.finish["reason"]

    def add(self, event: Event) -> None:
        match event.kind:
            case "stdout":
                self._stdout += event.body
            case "stderr":
                self._stderr += event.body
            case "log":
                self.logs.append(log_text(event))
            case kind if kind in FINISHES:
                self.finish = event.fields
            case _:
                self.others.append(event)


class Client(ABC):
    """One end of the wire, without any code of the project."""

    def __init__(self) -> None:
        self.context = zmq.asyncio.Context()

    @abstractmethod
    async def say(self, op: str, body: str | bytes = b"", **fields: object) -> str:
        """Send a command; the id that its events will have."""

    @abstractmethod
    async def receive(self) -> Event: ...

    async def hear(self) -> Event:
        """The next event."""
        async with asyncio.timeout(FAILURE_SECONDS):
            return await self.receive()

    async def hear_until(self, *kinds: str) -> Event:
        """The next event of one of these kinds; those before it are dropped."""
        while (event := await self.hear()).kind not in kinds:
            pass
        return event

    async def hear_finish(self, request_id: str | None = None) -> Heard:
        """All events up to the next finish, or up to that of one request."""
        heard = Heard()
        while True:
            heard.add(event := await self.hear())
            if event.kind in FINISHES and request_id in (None, event.id):
                return heard

    async def hear_output(self, text: bytes) -> bytes:
        """Both streams as they come, until `text` was among them."""
        seen = b""
        while text not in seen:
            event = await self.hear()
            assert event.kind not in FINISHES, f"{event} before {text!r}, after {seen!r}"
            if event.kind in STREAMS:
                seen += event.body
        return seen

    async def run(self, op: str, body: str | bytes, **fields: object) -> Heard:
        return await self.hear_finish(await self.say(op, body, **fields))

    async def status(self) -> Mapping[str, Any]:
        await self.say("status")
        return (await self.hear_until("status")).fields

    def close(self) -> None:
        self.context.destroy(linger=0)


class AgentClient(Client):
    """Speaks the agent dialect as existing agents do; hears nothing before `open_events`."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        super().__init__()
        self._address = addresses["out"]
        self._ids = itertools.count(1)
        self.commands = self.context.socket(zmq.PUSH)
        self.commands.connect(addresses["in"])

    def open_events(self, high_water_mark: int = 1_000) -> None:
        self.events = self.context.socket(zmq.PULL)
        self.events.set(zmq.RCVHWM, high_water_mark)
        self.events.connect(self._address)

    async def say(self, op: str, body: str | bytes = b"", **fields: object) -> str:
        await self.say_frames(op.encode(), body.encode() if isinstance(body, str) else body)
        return f"agent-{next(self._ids)}"

    async def say_frames(self, *frames: bytes) -> None:
        async with asyncio.timeout(FAILURE_SECONDS):
            await self.commands.send_multipart(frames)

    async def hear_finish(self, request_id: str | None = None) -> Heard:
        return await super().hear_finish(None)

    async def receive(self) -> Event:
        op, body = await self.events.recv_multipart()
        match op:
            case b"stdout" | b"stderr" | b"html":
                return Event(op.decode(), body, {})
            case b"status":
                return Event("status", body, msgpack.unpackb(body))
        content = json.loads(body.decode())  # strict: existing agents stop at anything else
        fields = content if isinstance(content, dict) else {"list": content}
        return Event(op.decode(), body, fields)


class SessionClient(Client):
    """Speaks the session dialect; checks the numbers of events, and whose turn it is."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._ids = itertools.count(1)
        self._next_seq: int | None = None
        self.hears_again = False
        """Set by a test that asks for events that it had."""
        self.acknowledges = False
        self.checks_turns = True
        """Unset by a test of threads that print after their query."""
        self._running: str | None = None
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.set(zmq.RCVHWM, 10)  # one that does not read is soon felt
        self.socket.connect(address)

    async def hello(self, **fields: object) -> Event:
        await self.say("hello", b"", **fields)
        return await self.hear_until("welcome", "error")

    async def say(self, op: str, body: str | bytes = b"", **fields: object) -> str:
        identity = str(fields.pop("id", f"r{next(self._ids)}"))
        header = msgpack.packb({"v": 2, "op": op, "id": identity, **fields})
        await self.say_frames(header, body.encode() if isinstance(body, str) else body)
        return identity

    async def say_frames(self, *frames: bytes) -> None:
        async with asyncio.timeout(FAILURE_SECONDS):
            await self.socket.send_multipart(frames)

    async def receive(self) -> Event:
        raw, body = await self.socket.recv_multipart()
        header = checked(raw)
        seq = header.get("seq")
        if seq is not None:
            is_again = self.hears_again and self._next_seq is not None and seq < self._next_seq
            missing = f"event {self._next_seq} is missing: {header}"
            assert is_again or self._next_seq in (None, seq), missing
            self._next_seq = seq + 1
            if self.acknowledges:
                await self.say("ack", seq=seq)
        event = Event(header["type"], body, header, header.get("id"), seq)
        if self.checks_turns:
            self._check_turn(event)
        return event

    def _check_turn(self, event: Event) -> None:
        """Output belongs to the request that runs, between its start and its finish."""
        if event.kind == "started":
            self._running = event.id
        elif event.kind in STREAMS and self._running is not None:
            assert event.id == self._running, f"{event} while {self._running!r} runs"
        elif event.kind in FINISHES and event.id == self._running:
            self._running = ""


def checked(raw: bytes) -> dict[str, Any]:
    """The header of an event, which fits its schema."""
    header: dict[str, Any] = msgpack.unpackb(raw)
    assert (problems := schemas.problems_of("events", header)) == [], f"{header}: {problems}"
    return header


def log_text(event: Event) -> str:
    return str(event.fields["list"][3] if "list" in event.fields else event.fields["text"])
