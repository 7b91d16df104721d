"""An address of a runner comes in; one that can be cut, held up and mended goes out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to the bytes of one direction of one connection."""

    cut_after_bytes: int | None = None
    """So many arrive, and no more."""
    piece_bytes: int = READ_BYTES
    """No more arrive at once."""
    delay_seconds: float = 0.0
    """Each piece takes this long."""
    stall_after_bytes: int | None = None
    stall_seconds: float = 0.0


CLEAR = Weather()


class Proxy:
    """Passes bytes both ways between TCP clients and the runner's ipc socket.

    `forecast` is asked at each connection for the weather of both directions: to the runner, and
    to the client.
    """

    forecast: Callable[[], tuple[Weather, Weather]] = staticmethod(lambda: (CLEAR, CLEAR))

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
        out, back = self.forecast()
        for ends in ((reader, far_writer, out), (far_reader, writer, back)):
            task = asyncio.create_task(self._pass(*ends))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, weather: Weather
    ) -> None:
        writer.transport.set_write_buffer_limits(high=0)  # so what is drained has left
        passed = 0
        with suppress(OSError):
            while data := await reader.read(weather.piece_bytes):
                await self._passing.wait()
                await _hold_up(weather, passed, len(data))
                left = len(data) if (cut := weather.cut_after_bytes) is None else cut - passed
                writer.write(data[:left])
                await writer.drain()
                passed += len(data)
                if left <= len(data) and cut is not None:
                    break
        writer.transport.abort()  # its other direction ends with it


async def _hold_up(weather: Weather, passed: int, count: int) -> None:
    await asyncio.sleep(weather.delay_seconds)
    stall = weather.stall_after_bytes
    if stall is not None and passed <= stall < passed + count:
        await asyncio.sleep(weather.stall_seconds)


@asynccontextmanager
async def proxy(address: str) -> AsyncIterator[Proxy]:
    """A proxy to a runner on ipc."""
    passing = Proxy(address.removeprefix("ipc://"))
    await passing.open()
    try:
        yield passing
    finally:
        await passing.close()
