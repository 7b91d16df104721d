"""Descriptors of a program in, its output as bytes out; input for it the other way.

Everything here is non-blocking and runs on the loop's thread.
"""

import asyncio
import errno
import fcntl
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from kernel_runner import terminal
from kernel_runner.errors import InputFull

READ_BYTES: Final = 65_536
PIPE_BYTES: Final = 262_144
MAX_INPUT_BYTES: Final = 8 << 20
"""Input that waits for a program to read it; more is refused."""
END_POLL_SECONDS: Final = 0.005
"""The kernel does not tell when a terminal's input was read, so that is asked for this often."""


def open_output_pipe() -> tuple[int, int]:
    """Our reading end and the program's writing end."""
    reader, writer = os.pipe()
    with suppress(OSError):  # the user's allowance of pipe buffers may be used up
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.set_blocking(reader, False)
    return reader, writer


def open_input_pipe() -> tuple[int, int]:
    """Our writing end and the program's reading end."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    return writer, reader


class OutputReader:
    """Reads one descriptor for as long as it gives something.  Owns it.

    Args:
        on_data: called with each piece, in order.
    """

    def __init__(self, fd: int, on_data: Callable[[bytes], None]) -> None:
        self._fd = fd
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        self._reading = False
        self._closed = False
        self.resume()

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        if not self._reading and not self._closed:
            self._reading = True
            self._loop.add_reader(self._fd, self._read)

    def drain(self) -> None:
        """Hand over what the kernel holds now, at most what was there when this was called."""
        left = PIPE_BYTES
        while left > 0 and (data := self._take(min(left, READ_BYTES))):
            left -= len(data)
            self._on_data(data)

    def close(self) -> None:
        self.pause()
        if not self._closed:
            self._closed = True
            os.close(self._fd)

    def _read(self) -> None:
        pieces: list[bytes] = []
        size = 0
        # a terminal gives 4 KiB at most at a time
        while size < READ_BYTES and (data := self._take(READ_BYTES - size)):
            pieces.append(data)
            size += len(data)
        if pieces:
            self._on_data(b"".join(pieces))

    def _take(self, size: int) -> bytes:
        """Some bytes; none when there are none now or will be none any more."""
        if self._closed:
            return b""
        try:
            data = os.read(self._fd, size)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal that nobody holds any more
                raise
            data = b""
        if not data:
            self.close()
        return data


class InputSide(Protocol):
    """Where input for a program goes."""

    def feed(self, data: bytes) -> asyncio.Future[None]:
        """Append input; done when the kernel has taken it, or nobody will read it any more.

        Raises:
            InputFull: nothing of it was taken.
        """

    def end(self) -> None:
        """Let the program read an end of file after what was fed."""

    def unread(self) -> bool:
        """Whether there is input that the program has not read."""

    def asks_for_password(self) -> bool:
        """Whether what waits for this input is not to be shown."""

    def close(self) -> None: ...


class InputWriter:
    """Feeds a descriptor that does not block, in order.  Owns it; the base of both input sides."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[memoryview, asyncio.Future[None]]] = deque()
        self._bytes = 0
        self._writing = False
        self._closed = False

    def feed(self, data: bytes) -> asyncio.Future[None]:
        taken = self._loop.create_future()
        if self._closed:
            taken.set_result(None)
            return taken
        if self._bytes and self._bytes + len(data) > MAX_INPUT_BYTES:
            raise InputFull(f"{self._bytes} bytes of input wait already; send on after an ok")
        self._waiting.append((memoryview(data), taken))
        self._bytes += len(data)
        self._write()
        return taken

    @property
    def pending(self) -> bool:
        return bool(self._waiting)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._writing:
            self._loop.remove_writer(self._fd)
        for _, taken in self._waiting:
            if not taken.done():
                taken.set_result(None)
        self._waiting.clear()
        os.close(self._fd)

    def discard(self) -> None:
        """Forget what the kernel has not taken yet."""
        while self._waiting:
            self._taken()

    def _write(self) -> None:
        while self._waiting:
            data, taken = self._waiting[0]
            try:
                written = os.write(self._fd, data) if data else 0
            except BlockingIOError:
                self._wait_for_room()
                return
            except OSError:  # the program has closed its input
                self.close()
                return
            if written < len(data):
                self._bytes -= written
                self._waiting[0] = (data[written:], taken)
            else:
                self._taken()
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)
        self.on_empty()

    def on_empty(self) -> None:
        """Everything fed so far was taken by the kernel."""

    def _taken(self) -> None:
        data, taken = self._waiting.popleft()
        self._bytes -= len(data)
        if not taken.done():
            taken.set_result(None)

    def _wait_for_room(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._write)


class PipeInput(InputWriter):
    """Input through a pipe."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        self._ending = False

    def end(self) -> None:
        self._ending = True
        if not self.pending:
            self.close()

    def on_empty(self) -> None:
        if self._ending:
            self.close()

    def unread(self) -> bool:
        return self.pending or (not self._closed and terminal.unread_bytes(self._fd) > 0)

    def asks_for_password(self) -> bool:
        return False


class TerminalInput(InputWriter):
    """Input through a terminal.  Holds the program's side too, to see what it has not read.

    Its end of file is a byte that has to stand alone, so it is written when all else was read.
    """

    def __init__(self, master: int, slave: int) -> None:
        super().__init__(os.dup(master))  # the loop allows one reader or writer per descriptor
        self._slave = slave
        self._timer: asyncio.TimerHandle | None = None

    def end(self) -> None:
        if self._closed or self._timer is not None:
            return
        self._end_when_read()

    def _end_when_read(self) -> None:
        self._timer = None
        if self._closed:
            return
        if self.unread():
            self._timer = self._loop.call_later(END_POLL_SECONDS, self._end_when_read)
        else:
            self.feed(terminal.END_OF_INPUT)

    def unread(self) -> bool:
        return self.pending or terminal.unread_bytes(self._slave) > 0

    def asks_for_password(self) -> bool:
        return terminal.asks_for_password(self._slave)

    def forget(self) -> None:
        """Drop all input that was not read: it was meant for a task that has ended."""
        import termios

        self.discard()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        termios.tcflush(self._slave, termios.TCIFLUSH)

    def close(self) -> None:
        if not self._closed:
            super().close()
            if self._timer is not None:
                self._timer.cancel()
            os.close(self._slave)
