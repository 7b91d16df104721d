"""Requests of a kernel in; what they print goes to our standard streams, keys and signals to them.

A program that runs here is to behave as if it had been started from the shell itself.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final, Protocol

from kernel_runner.cli.standard_streams import Keys, Outlet, read_input, terminal_of_program
from kernel_runner.client.kernel import Kernel
from kernel_runner.client.reply import Reply
from kernel_runner.messages import commands, events
from kernel_runner.messages.options import Terminal

CTRL_C: Final = b"\x03"
TWICE_SECONDS: Final = 1.0
"""A second Ctrl-C within this time ends the program."""
MAX_TYPED_BYTES: Final = 64 << 20
READ_ON_BYTES: Final = 256 << 10
"""How little has to be left to write before more is taken from the program."""
ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


class Ended(Exception):
    """A signal has told us to end."""

    def __init__(self, number: signal.Signals) -> None:
        self.exit_code = 128 + number


class Flow(Protocol):
    """A link whose events can be made to wait."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Foreground:
    """The user's side of one request after another.

    Args:
        flow: where events come from, to be held up while our output is not read.
        terminal: what the program has for one; see `terminal_of_program`.
    """

    def __init__(self, kernel: Kernel, flow: Flow, terminal: Terminal | None) -> None:
        self.terminal = terminal
        self._kernel = kernel
        self._flow = flow
        self._loop = asyncio.get_running_loop()
        self._outlets = {fd: Outlet(fd, self._lose_reader) for fd in (1, 2)}
        self._typed: list[bytes] = []
        self._feeding: asyncio.Task[None] | None = None
        self._interrupted_at = -TWICE_SECONDS
        self._ended_by: signal.Signals | None = None
        self._has_stopped_it = False
        self._keys = Keys() if terminal and "stdin" in terminal.streams else None

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Keys and signals reach the program inside the block.

        Raises:
            Ended: a signal told us to end; whatever was awaited in the block is cancelled.
        """
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        for number in ENDING:
            self._loop.add_signal_handler(number, self._end, task, number)
        self._loop.add_signal_handler(signal.SIGINT, self._interrupt)
        self._loop.add_signal_handler(signal.SIGQUIT, self._signal, "QUIT")
        self._loop.add_signal_handler(signal.SIGTSTP, self._stop)
        if self.terminal:
            self._loop.add_signal_handler(signal.SIGWINCH, self._resize)
        try:
            with self._raw_keys():
                yield
        except asyncio.CancelledError:
            if self._ended_by is None:
                raise
            raise Ended(self._ended_by) from None
        finally:
            numbers = (*ENDING, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH)
            for number in numbers:
                self._loop.remove_signal_handler(number)

    async def follow(self, reply: Reply, *, stdout_fd: int = 1) -> events.Finished:
        """Pass on what a queued request prints; how it ended."""
        fds = {"stdout": stdout_fd, "stderr": 2}
        async for event in reply:
            match event:
                case events.Output():
                    await self._write(fds[event.type], event.data)
                case events.Media():
                    await self._write(stdout_fd, self._shown(event))
                case events.Log(level="warning" | "error" | "critical"):
                    self.tell(event.text)
                case events.Stopped():
                    await self.flush()
                    self._follow_stop()
                case events.Finished():
                    await self.flush()
                    return event
        raise AssertionError("a queued request ends with its finish")

    async def feed(self) -> None:
        """Send all of standard input to the program; where it is not the program's own."""
        while data := await read_input():
            await self._kernel.send(commands.Input(data)).answer()
        await self._kernel.send(commands.EndOfInput()).answer()

    def tell(self, text: str) -> None:
        """A sentence of ours, beside what the program prints."""
        end = "\r\n" if self._keys else "\n"
        self._outlets[2].write(f"kernel-runner: {text}{end}".encode(errors="replace"))

    def _shown(self, media: events.Media) -> bytes:
        from kernel_runner.cli.media import show, terminal_kind

        return show(media, terminal_kind(os.environ, 0, 1), Path.cwd())

    # Output -----------------------------------------------------------------------------------

    async def _write(self, fd: int, data: bytes) -> None:
        outlet = self._outlets[fd]
        outlet.write(data)
        if outlet.full:
            self._flow.pause()
            await outlet.wait_below(READ_ON_BYTES)
            self._flow.resume()

    async def flush(self) -> None:
        """Return when all is written, or nobody reads it."""
        for outlet in self._outlets.values():
            await outlet.wait_below(0)

    def _lose_reader(self) -> None:
        """Nobody reads our output: the program learns it as it would from its own pipe."""
        self._signal("PIPE")
        self._loop.call_later(TWICE_SECONDS, self._kernel.send, commands.Interrupt())

    # Keys and signals -------------------------------------------------------------------------

    @contextmanager
    def _raw_keys(self) -> Iterator[None]:
        if self._keys is None:
            yield
            return
        assert self.terminal is not None, "keys come from a terminal"
        translate = "stdout" not in self.terminal.streams
        with self._keys.passed_on(translate_output=translate):
            self._loop.add_reader(0, self._type)
            try:
                yield
            finally:
                self._loop.remove_reader(0)

    def _type(self) -> None:
        assert self._keys is not None, "keys are read from a terminal"
        if not (data := self._keys.read()):
            os.kill(os.getpid(), signal.SIGHUP)
            self._loop.remove_reader(0)
            return
        if CTRL_C in data:
            self._typed.clear()  # as a terminal does
            if self._feeding is not None:
                self._signal("INT")  # what was typed before is still on its way
                data = data.rpartition(CTRL_C)[2]
            self._count_interrupt()
        self._typed.append(data)
        if self._feeding is None and data:
            self._feeding = asyncio.create_task(self._feed_typed(), name="keys")

    async def _feed_typed(self) -> None:
        try:
            while self._typed:
                data = b"".join(self._typed)
                self._typed.clear()
                async for _ in self._kernel.send(commands.Input(data)):
                    pass  # refused: nothing runs that could take it
        finally:
            self._feeding = None

    def _interrupt(self) -> None:
        self._signal("INT")
        self._count_interrupt()

    def _count_interrupt(self) -> None:
        now = self._loop.time()
        if now - self._interrupted_at < TWICE_SECONDS:
            self._kernel.send(commands.Interrupt(force=True, typed=True))
        self._interrupted_at = now

    def _signal(self, name: str) -> None:
        self._kernel.send(commands.SendSignal(name))

    def _end(self, task: asyncio.Task[object], number: signal.Signals) -> None:
        self._ended_by = number
        task.cancel()

    def _stop(self) -> None:
        self._signal("STOP")
        self._has_stopped_it = True
        self._suspend()

    def _follow_stop(self) -> None:
        """The program was stopped: by a key, by somebody else, or by us, which is done already."""
        if not self._has_stopped_it:
            self._suspend()
        self._has_stopped_it = False

    def _suspend(self) -> None:
        """The shell gets the terminal back; when it lets us go on, the program does, too."""
        with self._keys.suspended() if self._keys else nullcontext():
            os.kill(os.getpid(), signal.SIGSTOP)
        self._signal("CONT")
        if self.terminal:
            self._resize()

    def _resize(self) -> None:
        if (now := terminal_of_program()) is not None:
            self._kernel.send(commands.Resize(now.rows, now.cols))
