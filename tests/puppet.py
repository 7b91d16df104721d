"""A runner of the agent dialect that says what a test wants, on real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgpack
import zmq
import zmq.asyncio

from kernel_runner.client.agent import CodeRunner, NextResult, connect
from tests.wire import FAILURE_SECONDS

IDLE: Mapping[str, object] = {
    "started_at": 1.0,
    "state": "idle",
    "language": "puppet",
    "runner_version": "0",
    "queue_length": 0,
    "running": None,
    "pid": 1,
}


class Puppet:
    def __init__(self, folder: Path) -> None:
        self.addresses = (f"ipc://{folder}/puppet-in", f"ipc://{folder}/puppet-out")
        self.context = zmq.asyncio.Context()
        self.commands = self.context.socket(zmq.PULL)
        self.events = self.context.socket(zmq.PUSH)
        self.commands.bind(self.addresses[0])
        self.events.bind(self.addresses[1])

    async def hear(self) -> list[bytes]:
        async with asyncio.timeout(FAILURE_SECONDS):
            return await self.commands.recv_multipart()

    async def say(self, *frames: bytes) -> None:
        async with asyncio.timeout(FAILURE_SECONDS):
            await self.events.send_multipart(frames)

    async def finish(
        self, kind: str = "finished", exit_code: int = 0, reason: str = "completed"
    ) -> None:
        fields = {"exitCode": exit_code, "reason": reason}
        await self.say(kind.encode(), json.dumps(fields).encode())

    async def complete(self, *suggestions: str) -> None:
        await self.say(b"completion", json.dumps({"suggestions": suggestions}).encode())

    async def answer_status(self, **fields: object) -> None:
        op, echo = await self.hear()
        assert op == b"status"
        await self.say(b"status", msgpack.packb({**IDLE, "echo": echo.decode(), **fields}))

    def close(self) -> None:
        self.context.destroy(linger=0)


@asynccontextmanager
async def puppet(folder: Path, **options: float) -> AsyncIterator[tuple[Puppet, CodeRunner]]:
    """One, and an agent's side that is connected to it."""
    runner = Puppet(folder)
    answering = asyncio.create_task(runner.answer_status())
    try:
        async with connect(*runner.addresses, **options) as agent:  # type: ignore[arg-type]
            await answering
            yield runner, agent
    finally:
        answering.cancel()
        runner.close()


async def fed(runner: Puppet, agent: CodeRunner) -> str:
    """A run that the puppet has got."""
    run_id = await agent.feed_code("x")
    assert await runner.hear() == [b"code", b"x"]
    return run_id


async def result_of(agent: CodeRunner, run_id: str, *, api_version: int = 4) -> NextResult:
    async with asyncio.timeout(FAILURE_SECONDS):
        return await agent.next_result(run_id, flush_timeout_seconds=None, api_version=api_version)


async def say_much(runner: Puppet, pieces: int) -> None:
    for _ in range(pieces):
        await runner.say(b"stdout", b"x" * 1_000)
    await runner.finish()
