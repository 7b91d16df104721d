"""Text of sys.stdout and sys.stderr in; `stdout` and `stderr` frames out, in exact order."""

from __future__ import annotations

import io
import os
import sys
from _thread import get_ident
from fcntl import ioctl

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from typing import Callable

    from _typeshed import ReadableBuffer

    from kernel_runner_driver.interrupts import Interrupts
    from kernel_runner_driver.wire import Wire

FIONREAD = 0x541B  # Linux on every common processor; the module termios costs a load to say so
NOTHING = b"\0\0\0\0"
CHUNK_BYTES = 65_536
PIECE_BYTES = 131_072


class Output:
    """Both streams of the interpreter, put in one order.

    While it is quiet a full line goes out at once.  After that the helper thread
    sends what has come every 20 ms, so a flood of lines costs no frame each.
    """

    def __init__(self, wire: Wire, interrupts: Interrupts) -> None:
        self.wire = wire
        self.interrupts = interrupts
        self.descriptors = (os.dup(1), os.dup(2))
        self.is_child = False
        self.is_quiet = True
        self.has_line = False
        self.writes = 0
        self._writes_seen = 0
        self.cell = 0
        self.is_sorting = False
        """A thread of an earlier cell lives: what it writes is told apart from the cell's own."""
        self._threads: dict[int, int] = {}
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._held_for = (b"", b"")
        self.on_burst: Callable[[], None] = _nobody_listens
        """Called when somebody has to send what follows within 20 ms."""
        self.open()

    def open(self) -> None:
        """Make both streams anew."""
        port = Port(self, 1, self.write_stdout)
        self.stdout = _text(port, write_through=self.is_sorting)
        self.stderr = _text(Port(self, 2, self.write_stderr), write_through=True)
        self.stdout.reconfigure(line_buffering=self.is_quiet)

    def install(self) -> None:
        """The streams are ours again, whatever a cell did with them."""
        for wanted, saved in zip((1, 2), self.descriptors):
            os.dup2(saved, wanted)
        try:
            self.stdout.closed  # noqa: B018  raises once the user detached it
            self.stderr.closed  # noqa: B018
        except ValueError:
            self.open()
        sys.stdout = sys.__stdout__ = self.stdout
        sys.stderr = sys.__stderr__ = self.stderr

    def begin_cell(self) -> None:
        """Threads that were started until now belong to earlier cells."""
        self.cell += 1
        if self._threads:
            living = sys._current_frames()
            self._threads = {one: cell for one, cell in self._threads.items() if one in living}
        if self.is_sorting == bool(self._threads):
            return
        with self.wire.lock:
            self.collect()
            self.is_sorting = bool(self._threads)
            self.stdout.reconfigure(write_through=self.is_sorting)

    def thread_started(self, ident: int) -> None:
        """It belongs to the cell of the thread that started it."""
        self._threads[ident] = self._threads.get(get_ident(), self.cell)

    def _cell_key(self) -> bytes:
        """The key that names the cell of this thread, unless that runs now or was the last."""
        cell = self._threads.get(get_ident(), self.cell)
        return b"" if cell == self.cell else b" cell=%d" % cell

    def write_stdout(self, data: bytes) -> None:
        if self.is_child:
            _write_all(1, data)
            return
        with self.wire.lock:
            if self.is_sorting:
                self._hold(b"stdout", data)
            else:
                self.writes += 1
                self.has_line = True
                self._post_held()
                self._post(b"stdout", data)
                self.wire.flush()
        if self.interrupts.is_pending:
            self.interrupts.check()

    def write_stderr(self, data: bytes) -> None:
        if self.is_child:
            self._flush_text()
            _write_all(2, data)
            return
        with self.wire.lock:
            self._flush_text()
            self._hold(b"stderr", data)
        if self.interrupts.is_pending:
            self.interrupts.check()

    def _hold(self, name: bytes, data: bytes) -> None:
        """Keep it for the end of the line or a tick, to be sent with what follows."""
        self.writes += 1
        owner = (name, self._cell_key() if self.is_sorting else b"")
        if owner != self._held_for:
            self._post_held()
            self._held_for = owner
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > CHUNK_BYTES:
            self._post_held()
            self.wire.flush()
        elif self.is_quiet and b"\n" in data:
            self.line_ended()

    def line_ended(self) -> None:
        """A full line came: send it if it is the first after a quiet time."""
        if self.is_child or not self.is_quiet:
            return
        with self.wire.lock:
            self.is_quiet = False
            self.stdout.reconfigure(line_buffering=False)
            if self._held:
                self._post_held()
                self.wire.flush()
        self.on_burst()

    def flush(self) -> None:
        """Everything written so far has been handed to the runner."""
        # Locked before the text layer gives up what it holds: whoever prints meanwhile waits.
        with self.wire.lock:
            self._flush_text()
            self._post_held()
            self.wire.flush()

    def collect(self) -> None:
        """Post everything written so far; what is sent next takes it along."""
        with self.wire.lock:
            self._flush_text()
            self._post_held()

    def tick(self) -> bool:
        """Send what has come since the last tick; whether there was anything."""
        with self.wire.lock:
            self.flush()
            moved = self.writes != self._writes_seen
            self._writes_seen = self.writes
            if not moved and not self.is_quiet:
                self.is_quiet = True
                self.has_line = False
                self.stdout.reconfigure(line_buffering=True)
            return moved

    def keys(self) -> bytes:
        """The keys of a frame that this thread makes."""
        return self.drain() + (self._cell_key() if self.is_sorting else b"")

    def drain(self) -> bytes:
        """The key that asks the runner to empty descriptors 1 and 2 before this frame."""
        for descriptor in self.descriptors:
            if ioctl(descriptor, FIONREAD, NOTHING) != NOTHING:
                return b" drain=1"
        return b""

    def _flush_text(self) -> None:
        try:
            self.stdout.flush()
        except ValueError:  # the user detached it
            self.open()

    def _post_held(self) -> None:
        if self._held:
            held, self._held, self._held_bytes = self._held, [], 0
            self._post(self._held_for[0], b"".join(held), self._held_for[1])

    def _post(self, name: bytes, data: bytes, key: bytes = b"") -> None:
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            self.wire.post(b"%s %d%s%s\n%s" % (name, len(piece), self.drain(), key, piece))

    def after_fork(self) -> None:
        """In a child: what it prints goes to descriptors 1 and 2 as it is."""
        self.is_child = True
        self._held = []
        self._threads = {}
        self.stdout.reconfigure(line_buffering=True)


class Port(io.BufferedIOBase):
    """The binary side of one stream.  Closing it does nothing: the next cell prints too."""

    def __init__(self, output: Output, descriptor: int, write: Callable[[bytes], None]) -> None:
        self._output = output
        self._descriptor = descriptor
        self._write = write
        self.mode = "wb"

    def write(self, data: ReadableBuffer) -> int:
        content = data if type(data) is bytes else bytes(memoryview(data))
        if content:
            self._write(content)
        return len(content)

    def flush(self) -> None:
        if self._output.has_line and self._output.is_quiet:
            self._output.line_ended()

    def close(self) -> None:
        pass

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return False

    @property
    def name(self) -> str:
        return "<stdout>" if self._descriptor == 1 else "<stderr>"


def _nobody_listens() -> None:
    """Until the helper thread is there."""


def _text(port: Port, **options: bool) -> io.TextIOWrapper:
    text = io.TextIOWrapper(
        port, encoding="utf-8", errors="backslashreplace", newline="\n", **options
    )
    text._CHUNK_SIZE = CHUNK_BYTES  # type: ignore[attr-defined]
    return text


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
