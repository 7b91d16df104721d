"""An address of a runner comes in; one that can be cut, held up and mended goes out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Passes bytes both ways between TCP clients and the runner's ipc socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._passing = asyncio.Event()
        self._passing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.accepts = True
        self.connections = 0
        self.address = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Close every connection at once; what is on its way is lost."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def hold(self) -> None:
        """Pass nothing on, and close nothing."""
        self._passing.clear()

    def go_on(self) -> None:
        self._passing.set()

    async def close(self) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if not self.accepts:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._path)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(far_writer)
        self.connections += 1
        for ends in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass(*ends))
            self._tasks.add(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def proxy(address: str) -> AsyncIterator[Proxy]:
    """A proxy to a runner on ipc."""
    passing = Proxy(address.removeprefix("ipc://"))
    await passing.open()
    try:
        yield passing
    finally:
        await passing.close()
