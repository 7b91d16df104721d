"""Descriptors of a program in, its output as bytes out; input for it the other way.

Everything here is non-blocking and runs on the loop's thread.
"""

import asyncio
import errno
import fcntl
import os
import termios
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
TERMINAL_BYTES: Final = 4_095
"""What a terminal holds of a line: n_tty drops what goes beyond without a word."""


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
        self.fd = fd
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        self._reading = False
        self.closed = False
        self.resume()

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self.fd)

    def resume(self) -> None:
        if not self._reading and not self.closed:
            self._reading = True
            self._loop.add_reader(self.fd, self._read)

    def drain(self) -> None:
        """Hand over what the kernel holds now, at most one pipe full."""
        left = PIPE_BYTES
        while left > 0 and (data := self._take(min(left, READ_BYTES))):
            left -= len(data)
            self._on_data(data)

    def close(self) -> None:
        self.pause()
        if not self.closed:
            self.closed = True
            os.close(self.fd)

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
        if self.closed:
            return b""
        try:
            data = os.read(self.fd, size)
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

    def is_raw(self) -> bool:
        """Whether Ctrl-C is a key like any other to the program."""

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
        self.was_fed = False

    def feed(self, data: bytes) -> asyncio.Future[None]:
        taken = self._loop.create_future()
        self.was_fed = True
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
            if (room := self.room()) == 0:
                return
            try:
                written = os.write(self._fd, data[:room]) if data else 0
            except BlockingIOError:
                self._wait_for_room()
                return
            except OSError:  # the program has closed its input
                self.close()
                return
            self.on_written(written)
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

    def room(self) -> int:
        """How much may be written now; whoever says 0 calls `_write` later."""
        return MAX_INPUT_BYTES

    def on_written(self, size: int) -> None:
        """The kernel took so many bytes."""

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

    def is_raw(self) -> bool:
        return False


class TerminalInput(InputWriter):
    """Input through a terminal.  Holds the program's side too, to see what it has not read.

    A canonical terminal drops what goes beyond its 4,095 bytes without a word, so no more is
    written than fits.  Its end of file is a byte that has to stand alone, so it is written when
    all else was read.
    """

    def __init__(self, master: int, slave: int) -> None:
        super().__init__(os.dup(master))  # the loop allows one reader or writer per descriptor
        self._slave = slave
        self._timer: asyncio.TimerHandle | None = None
        self._settle_timer: asyncio.TimerHandle | None = None
        self._unsettled_bytes = 0

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
        unsettled = self.pending or self._unsettled_bytes > 0
        return unsettled or terminal.unread_bytes(self._slave) > 0

    def room(self) -> int:
        held = self._unsettled_bytes + terminal.unread_bytes(self._slave)
        if held >= TERMINAL_BYTES and self._settle_timer is None:
            self._settle_later()
        return max(TERMINAL_BYTES - held, 0)

    def on_written(self, size: int) -> None:
        # what was written counts as unread only when the kernel has passed it on
        self._unsettled_bytes += size
        if self._settle_timer is None:
            self._settle_later()

    def _settle_later(self) -> None:
        self._settle_timer = self._loop.call_later(END_POLL_SECONDS, self._settle)

    def _settle(self) -> None:
        self._settle_timer, self._unsettled_bytes = None, 0
        if self.pending and not self._closed:
            self._write()

    def asks_for_password(self) -> bool:
        return terminal.asks_for_password(self._slave)

    def is_raw(self) -> bool:
        return terminal.is_raw(self._slave)

    def forget(self) -> None:
        """Drop all input that was not read: it was meant for a task that has ended."""
        if not self.was_fed:
            return
        self.was_fed = False
        self.discard()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        termios.tcflush(self._slave, termios.TCIFLUSH)

    def close(self) -> None:
        if not self._closed:
            super().close()
            for timer in (self._timer, self._settle_timer):
                if timer is not None:
                    timer.cancel()
            os.close(self._slave)
