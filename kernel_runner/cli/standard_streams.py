"""The standard streams of this process: which are a terminal, keys as they are typed, output.

Writing is done by a thread of its own for each stream: a reader that does not read must not keep
Ctrl-C from being seen.
"""

import asyncio
import errno
import os
import queue
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from kernel_runner.messages.options import StandardStream, Terminal

STREAMS: Final[Sequence[StandardStream]] = ("stdin", "stdout", "stderr")
MAX_PENDING_BYTES: Final = 1 << 20
"""What may wait for the reader of our output before the program waits."""
READ_BYTES: Final = 65_536

_IFLAG, _OFLAG, _CFLAG, _LFLAG, _, _, _CC = range(7)


def terminal_of_program() -> Terminal | None:
    """What the program is to have for a terminal: the streams that are one here.

    Keys are passed on only where there is a place to show them.
    """
    shown = tuple(name for fd, name in enumerate(STREAMS) if fd and os.isatty(fd))
    if not shown:
        return None
    columns, rows = os.get_terminal_size(STREAMS.index(shown[0]))
    streams = ("stdin", *shown) if os.isatty(0) else shown
    return Terminal(rows or 24, columns or 80, streams)


def streams_for_itself(terminal: Terminal | None) -> Mapping[int, int]:
    """The descriptors that the program gets as they are: all that are not its terminal's.

    So it meets a closed pipe or a full disk itself, and two streams into one file keep their order.
    """
    taken = terminal.streams if terminal is not None else ()
    own = {number: number for number, name in enumerate(STREAMS) if name not in taken}
    if 0 in own and os.isatty(0) and not is_in_foreground():
        own[0] = os.open(os.devnull, os.O_RDONLY)  # it would take keys from the shell
    return own


def is_in_foreground() -> bool:
    """Whether the keys of our terminal are for us."""
    return os.tcgetpgrp(0) == os.getpgrp()


class Keys:
    """The keyboard, and how it was before; taken only in the foreground, given back by whoever has.

    Args:
        translate_output: others write to the terminal too, and end lines with a newline only.
    """

    def __init__(self, *, translate_output: bool) -> None:
        self._translate_output = translate_output
        self._before: list[Any] | None = None

    @property
    def are_ours(self) -> bool:
        return self._before is not None

    def take(self) -> None:
        """From now on every key is a byte; nothing is echoed, no key is special."""
        self._before = termios.tcgetattr(0)
        mode = termios.tcgetattr(0)
        mode[_IFLAG] = mode[_LFLAG] = 0
        if not self._translate_output:
            mode[_OFLAG] &= ~termios.OPOST
        mode[_CFLAG] = mode[_CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        mode[_CC][termios.VMIN], mode[_CC][termios.VTIME] = 1, 0
        termios.tcsetattr(0, termios.TCSADRAIN, mode)

    def give_back(self) -> None:
        """As it was before."""
        assert self._before is not None, "they were taken"
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(0, termios.TCSADRAIN, self._before)
        self._before = None

    def read(self) -> bytes:
        """What was typed; nothing when the terminal is gone."""
        try:
            return os.read(0, READ_BYTES)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""


class Outlet:
    """Writes to one descriptor in order.

    Args:
        on_broken: called once, on the loop, when it cannot be written any more.
    """

    def __init__(self, fd: int, on_broken: Callable[[OSError], None]) -> None:
        self._fd = fd
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._pending: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._pending_bytes = 0
        self._changed = asyncio.Event()
        self._thread: threading.Thread | None = None
        self.is_broken = False

    def write(self, data: bytes) -> None:
        """Have it written, never waiting; who has more asks `full` first."""
        if self.is_broken or not data:
            return
        if self._thread is None:
            # a daemon: it may be stuck in a write when everything else has ended
            self._thread = threading.Thread(target=self._write_on, daemon=True, name="outlet")
            self._thread.start()
        self._pending_bytes += len(data)
        self._pending.put(data)

    @property
    def full(self) -> bool:
        return self._pending_bytes > MAX_PENDING_BYTES

    async def wait_below(self, size_bytes: int) -> None:
        """Return when at most this much is left to write."""
        while self._pending_bytes > size_bytes and not self.is_broken:
            self._changed.clear()
            await self._changed.wait()

    def _write_on(self) -> None:
        while True:
            data = memoryview(self._pending.get())
            size = len(data)
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except OSError as error:
                self._loop.call_soon_threadsafe(self._break, error)
                return
            self._loop.call_soon_threadsafe(self._wrote, size)

    def _wrote(self, size: int) -> None:
        self._pending_bytes -= size
        self._changed.set()

    def _break(self, error: OSError) -> None:
        self.is_broken = True
        self._changed.set()
        self._on_broken(error)


async def read_input() -> bytes:
    """The next piece of standard input; nothing at its end.

    By a thread, since a file cannot be waited for, and nobody else's descriptor is to be set to
    not blocking.
    """
    loop = asyncio.get_running_loop()
    piece: asyncio.Future[bytes] = loop.create_future()

    def tell(data: bytes) -> None:
        if not piece.done():
            piece.set_result(data)

    def read() -> None:
        try:
            data = os.read(0, READ_BYTES)
        except OSError:
            data = b""
        loop.call_soon_threadsafe(tell, data)

    threading.Thread(target=read, daemon=True, name="input").start()
    return await piece
