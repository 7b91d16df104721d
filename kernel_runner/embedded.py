"""A language and a channel in; a whole runner that serves the channel from this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kernel_runner.base import BaseRunner
from kernel_runner.channels import Channel
from kernel_runner.config import MAX_BODY_BYTES, MAX_PENDING_BYTES, MAX_QUEUE_LENGTH
from kernel_runner.limits import UNLIMITED, Allowance
from kernel_runner.server import Server
from kernel_runner.spool import Spool


@asynccontextmanager
async def serving(
    runner: BaseRunner,
    channel: Channel,
    *,
    max_queue_length: int = MAX_QUEUE_LENGTH,
    max_pending_bytes: int = MAX_PENDING_BYTES,
    allowance: Allowance = UNLIMITED,
) -> AsyncIterator[None]:
    """The channel is open inside the block; at its end all that runs is ended and answered.

    Raises:
        ConfigError: the channel could not be opened, or whatever else ended the server before.
    """
    opened, stop = asyncio.Event(), asyncio.Event()
    ready = asyncio.create_task(runner.init(), name="init")
    server = Server(
        runner,
        [channel],
        ready=ready,
        announce=lambda _: opened.set(),
        max_queue_length=max_queue_length,
        max_body_bytes=MAX_BODY_BYTES,
        max_pending_bytes=max_pending_bytes,
        spool=Spool(None, 0),
        allowance=allowance,
    )
    server_task = asyncio.create_task(server.serve(stop), name="server")
    try:
        await _first(server_task, opened)
        yield
    finally:
        stop.set()
        try:
            await server_task
        finally:
            ready.cancel()


async def _first(server_task: asyncio.Task[None], opened: asyncio.Event) -> None:
    """Return when the channel is open; raise what the server failed with."""
    opening = asyncio.create_task(opened.wait(), name="opening")
    await asyncio.wait({server_task, opening}, return_when=asyncio.FIRST_COMPLETED)
    opening.cancel()
    if server_task.done():
        server_task.result()
