"""A language comes in; a real runner's process goes out, and clients on its real sockets."""

import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.wire import FAILURE_SECONDS, AgentClient, Client, SessionClient

MARK: Final = "MARK_OF_THE_TEST"
LOOK_SECONDS: Final = 0.01
COMPLAINTS: Final = ("never retrieved", "Exception in callback", "never awaited")


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
    may_complain: bool = False
    """Set by a test of bugs."""

    def processes(self, name: str | None = None) -> list[int]:
        """The runner and every process that descends from it, or those of this name."""
        return marked_processes(self.mark, name)

    async def process_named(self, name: str) -> int:
        """The pid of the first process of this name; waits until there is one."""
        await _until(lambda: bool(self.processes(name)))
        return self.processes(name)[0]

    async def file_made(self, name: str) -> None:
        """Wait until a program has made this file of the work directory."""
        await _until((self.work_dir / name).exists)

    def agent(self) -> AgentClient:
        client = self.deaf_agent()
        client.open_events()
        return client

    def deaf_agent(self) -> AgentClient:
        """One that sends commands and does not read the events yet."""
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
    before: Sequence[str] = (),
) -> AsyncIterator[RunnerProcess]:
    """A runner on ipc sockets in `folder`.  At the end it is stopped, and has to leave nothing.

    Args:
        before: a command that carries out the rest of its words, such as `setpriv`.
    """
    for name in ("work", "scratch"):
        (folder / name).mkdir(exist_ok=True)
    mark = secrets.token_hex(8)
    sockets = [f"--{name}=ipc://{folder}/{name}" for name in ("in", "out", "session")]
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(*before, sys.executable, "-X", f"{MARK}={mark}", "-m", "kernel_runner", language),
            *(f"--work-dir={folder}/work", *sockets, *options),
            env={**os.environ, "TMPDIR": str(folder / "scratch"), MARK: mark, **(env or {})},
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        started = await _announced(process, folder, mark)
        yield started
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        async with asyncio.timeout(FAILURE_SECONDS):
            await process.wait()
    await started.assert_nothing_left()
    assert started.was_killed or process.returncode == 0, started.log[-3_000:]
    complaints = [word for word in COMPLAINTS if word in started.log]
    assert started.may_complain or complaints == [], started.log[-3_000:]


async def _announced(process: asyncio.subprocess.Process, folder: Path, mark: str) -> RunnerProcess:
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, (folder / "log").read_text()
    return RunnerProcess(process, json.loads(line), folder, folder / "work", mark)


@asynccontextmanager
async def conversation(
    dialect: str,
    folder: Path,
    language: str = "python",
    *options: str,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[RunnerProcess, Client]]:
    """A runner and one client that is ready to talk: ``agent`` or ``session``."""
    async with (
        runner(folder, language, *options, env=env) as started,
        connected(started, dialect) as client,
    ):
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


def marked_processes(mark: str, name: str | None = None) -> list[int]:
    """Every process with this mark in its environment, or those of this name."""
    found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in found if _is_marked(pid, mark, name)]


def _is_marked(pid: int, mark: str, name: str | None) -> bool:
    try:
        command = Path(f"/proc/{pid}/comm").read_text().strip()
        return name in (None, command) and f"{MARK}={mark}".encode() in _environment(pid)
    except OSError:
        return False


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except PermissionError:  # a runner hides it from all but root; so it has the mark as a word
        return Path(f"/proc/{pid}/cmdline").read_bytes()


async def process_ended(pid: int) -> None:
    """Return when this process has ended, whoever its parent is."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


async def _until(is_so: Callable[[], bool]) -> None:
    """For what tells of itself by nothing but being there."""
    async with asyncio.timeout(FAILURE_SECONDS):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
