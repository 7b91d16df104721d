"""A language comes in; out go a real runner's process and plain clients on its real sockets."""

import asyncio
import itertools
import json
import os
import secrets
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgpack
import zmq
import zmq.asyncio

FAILURE_SECONDS: Final = 15.0
"""How long anything may take before the test fails; nothing is expected to take that long."""
MARK: Final = "MARK_OF_THE_TEST"
FINISHES: Final = ("clean-finished", "build-finished", "finished")
QUEUED: Final = ("clean", "build", "exec", "code")
STREAMS: Final = ("stdout", "stderr")
COMPLAINTS: Final = ("never retrieved", "Exception in callback", "never awaited")


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

    stdout: bytes = b""
    stderr: bytes = b""
    logs: list[str] = field(default_factory=list)
    others: list[Event] = field(default_factory=list)
    finish: Mapping[str, Any] = field(default_factory=dict)

    @property
    def end(self) -> tuple[int, str]:
        return self.finish["exitCode"], self.finish["reason"]

    def add(self, event: Event) -> None:
        match event.kind:
            case "stdout":
                self.stdout += event.body
            case "stderr":
                self.stderr += event.body
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
    """Speaks the agent dialect as existing agents do."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        super().__init__()
        self._address = addresses["out"]
        self._ids = itertools.count(1)
        self.commands = self.context.socket(zmq.PUSH)
        self.commands.connect(addresses["in"])
        self.open_events()

    def open_events(self) -> None:
        self.events = self.context.socket(zmq.PULL)
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
    """Speaks the session dialect; checks that no numbered event is lost or doubled, and whose turn it is."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._ids = itertools.count(1)
        self._next_seq: int | None = None
        self._running: str | None = None
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.connect(address)

    async def hello(self, **fields: object) -> Event:
        await self.say("hello", **fields)
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
        header = msgpack.unpackb(raw)
        assert header["v"] == 2
        assert header["t_ns"] > 0
        seq = header.get("seq")
        if seq is not None:
            assert self._next_seq in (None, seq), f"event {self._next_seq} is missing: {header}"
            self._next_seq = seq + 1
        event = Event(header["type"], body, header, header.get("id"), seq)
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


@dataclass(slots=True)
class RunnerProcess:
    """`process` is the guardian, the parent of the runner."""

    process: asyncio.subprocess.Process
    addresses: Mapping[str, str]
    folder: Path
    work_dir: Path
    mark: str
    was_killed: bool = False
    """Set by a test that kills it: then there is no good end to be expected."""

    def processes(self, name: str | None = None) -> list[int]:
        """The runner and every process that descends from it, or those of this name."""
        found = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
        return [pid for pid in found if self._is_ours(pid, name)]

    def _is_ours(self, pid: int, name: str | None) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            command = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return False
        return f"{MARK}={self.mark}".encode() in environment and name in (None, command)

    async def process_named(self, name: str) -> int:
        """The pid of the first process of this name; waits until there is one."""
        async with asyncio.timeout(FAILURE_SECONDS):
            while not (found := self.processes(name)):
                await asyncio.sleep(0.01)  # /proc tells of nothing by itself
        return found[0]

    async def file_made(self, name: str) -> None:
        """Wait until a program has made this file of the work directory."""
        async with asyncio.timeout(FAILURE_SECONDS):
            while not (self.work_dir / name).exists():
                await asyncio.sleep(0.01)

    def agent(self) -> AgentClient:
        return AgentClient(self.addresses)

    def session(self) -> SessionClient:
        return SessionClient(self.addresses["session"])

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        async with asyncio.timeout(FAILURE_SECONDS):
            return await self.process.wait()

    async def assert_nothing_left(self) -> None:
        """No process, socket or file; what was killed a moment ago may take that moment."""
        async with asyncio.timeout(FAILURE_SECONDS):
            for pid in self.processes():
                await process_ended(pid)
        assert [path.name for path in self.folder.iterdir() if path.is_socket()] == []
        assert list((self.folder / "scratch").iterdir()) == []

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@asynccontextmanager
async def runner(
    folder: Path,
    language: str = "python",
    *options: str,
    env: Mapping[str, str] | None = None,
    stdin: int = asyncio.subprocess.DEVNULL,
) -> AsyncIterator[RunnerProcess]:
    """A runner on ipc sockets in `folder`.  At the end it is stopped, and has to leave nothing."""
    for name in ("work", "scratch"):
        (folder / name).mkdir(exist_ok=True)
    mark = secrets.token_hex(8)
    sockets = [f"--{name}=ipc://{folder}/{name}" for name in ("in", "out", "session")]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kernel_runner", language, f"--work-dir={folder}/work"),
            *(*sockets, *options),
            env={**os.environ, "TMPDIR": str(folder / "scratch"), MARK: mark, **(env or {})},
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, (folder / "log").read_text()
    started = RunnerProcess(process, json.loads(line), folder, folder / "work", mark)
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await started.ended()
    await started.assert_nothing_left()
    assert started.was_killed or process.returncode == 0, started.log
    assert [word for word in COMPLAINTS if word in started.log] == [], started.log


@asynccontextmanager
async def conversation(
    dialect: str,
    folder: Path,
    language: str = "python",
    *options: str,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[RunnerProcess, Client]]:
    """A runner and one client that is ready to talk: ``agent`` or ``session``."""
    async with runner(folder, language, *options, env=env) as started:
        async with connected(started, dialect) as client:
            yield started, client


@asynccontextmanager
async def connected(started: RunnerProcess, dialect: str = "session") -> AsyncIterator[Client]:
    client = started.agent() if dialect == "agent" else started.session()
    try:
        if isinstance(client, SessionClient):
            await client.hello()
        yield client
    finally:
        client.close()


def log_text(event: Event) -> str:
    return str(event.fields["list"][3] if "list" in event.fields else event.fields["text"])


async def process_ended(pid: int) -> None:
    """Return when this process has ended, whoever its parent is."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(fd, lambda: ended.done() or ended.set_result(None))
    try:
        await ended
    finally:
        loop.remove_reader(fd)
        os.close(fd)
