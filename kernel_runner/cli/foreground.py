"""Requests of a kernel in; what they print goes to our standard streams, keys and signals to them.

A program that runs here is to behave as if it had been started from the shell itself.
"""

import asyncio
import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel_runner.cli.standard_streams import (
    Keys,
    Outlet,
    is_in_foreground,
    read_input,
    terminal_of_program,
)
from kernel_runner.cli.status_line import StatusLine
from kernel_runner.client.errors import ClientError, RequestRefused
from kernel_runner.client.kernel import Kernel
from kernel_runner.client.reply import Reply
from kernel_runner.messages import commands, events
from kernel_runner.messages.options import StandardStream, Terminal

if TYPE_CHECKING:
    from kernel_runner.cli.media import TerminalKind

OF_FILES: Final = ' {"rule": "files.'
CTRL_C: Final = b"\x03"
TWICE_SECONDS: Final = 1.0
"""A second Ctrl-C within this time ends the program."""
STUCK_SECONDS: Final = 0.2
"""What was typed and not taken for so long keeps all that is typed after it from the program."""
LOOK_SECONDS: Final = 0.2
"""How often a job in the background looks whether it has been fetched."""
READ_ON_BYTES: Final = 256 << 10
"""How little has to be left to write before more is taken from the program."""


class Ended(Exception):
    """A signal has told us to end."""

    def __init__(self, number: signal.Signals) -> None:
        self.exit_code = 128 + number


class Foreground:
    """The user's side of one request after another.

    Args:
        terminal: what the program has for one; see `terminal_of_program`.
        feeds_stdin: the program's input is not our own standard input, so that has to be sent.
    """

    def __init__(self, kernel: Kernel, terminal: Terminal | None, *, feeds_stdin: bool) -> None:
        self.terminal = terminal
        self._kernel = kernel
        self.feeds_stdin = feeds_stdin
        self._takes_input = self._is_within_line = False
        self._loop = asyncio.get_running_loop()
        self._outlets = {fd: Outlet(fd, self._lose_reader) for fd in (1, 2)}
        self._typed: list[bytes] = []
        self._feeding: asyncio.Task[None] | None = None
        self._interrupted_at = -TWICE_SECONDS
        self._ended_by: signal.Signals | None = None
        self._refused: list[str] = []
        self._has_stopped_it = self._is_running = False
        self.failure: str | None = None
        """Why our own output is not complete."""
        self._fed_at = 0.0
        self._looking: asyncio.TimerHandle | None = None
        self._terminal_kind: TerminalKind | None = None
        self._keys: Keys | None = None
        if terminal is not None and "stdin" in terminal.streams:
            self._keys = Keys(translate_output="stdout" not in terminal.streams)
        self.is_seen = terminal is not None and "stderr" in terminal.streams
        self.status = StatusLine(self._outlets[2].write if self.is_seen else lambda data: None)

    @contextmanager
    def attached(self, *, is_last: bool = False) -> Iterator[None]:
        """Keys and signals reach the program inside the block.

        Args:
            is_last: we end with the block: Ctrl-C no longer changes how the program has ended.

        Raises:
            Ended: a signal told us to end; whatever was awaited in the block is cancelled.
        """
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        handlers = {
            signal.SIGTERM: lambda: self._end(task, signal.SIGTERM),
            signal.SIGHUP: lambda: self._end(task, signal.SIGHUP),
            signal.SIGINT: self._interrupt,
            signal.SIGQUIT: lambda: self._signal("QUIT"),
            signal.SIGTSTP: self._stop,
            signal.SIGCONT: self._attach_keys,
            signal.SIGWINCH: self._resize,
        }
        # what was ignored from the start (`nohup`, a job in the background) stays ignored
        heard = [number for number in handlers if signal.getsignal(number) != signal.SIG_IGN]
        for number in heard:
            self._loop.add_signal_handler(number, handlers[number])
        self._attach_keys()
        try:
            yield
        except asyncio.CancelledError:
            if self._ended_by is None:
                raise
            raise Ended(self._ended_by) from None
        finally:
            self._detach_keys()
            for number in heard:
                self._loop.remove_signal_handler(number)
            if is_last:
                signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def follow(
        self, reply: Reply, *, stdout_fd: int = 1, takes_input: bool = False
    ) -> events.Finished:
        """Pass on what a queued request prints, and to it what is typed; how it ended."""
        async for event in reply:
            await self.pass_on(event, stdout_fd=stdout_fd, takes_input=takes_input)
            if isinstance(event, events.Finished):
                return event
        raise AssertionError("a queued request ends with its finish")

    async def pass_on(self, event: events.AnyEvent, *, stdout_fd: int, takes_input: bool) -> None:
        """Do what one of its events asks for."""
        match event:
            case events.Started():
                self._is_running = True
                if takes_input:
                    self._open_input()
            case events.Output():
                await self._write(stdout_fd if event.type == "stdout" else 2, event.data)
            case events.Media():
                await self._show(event)
            case events.Log(level="warning" | "error" | "critical"):
                self._tell_log(event)
            case events.Stopped():
                await self.flush()
                self._follow_stop()
            case events.Finished():
                self._is_running = False
                await self.flush()
                for sentence in self._refused if event.exit_code else ():
                    self.tell(sentence)
                self._refused.clear()

    def _tell_log(self, event: events.Log) -> None:
        if event.logger == events.JAIL and OF_FILES in event.text:
            # many try to write and do without: it matters where the program failed
            self._refused.append(event.sentence)
        else:
            self.tell(event.sentence)

    def tell(self, text: str) -> None:
        """A sentence of ours, beside what the program prints."""
        self.status.hide()
        end = "\r\n" if self._keys and self._keys.are_ours else "\n"
        begin = end if self.is_seen and self._is_within_line else ""
        self._is_within_line = False
        self._outlets[2].write(f"{begin}kernel-runner: {text}{end}".encode(errors="replace"))

    async def _show(self, media: events.Media) -> None:
        """Where standard output is no terminal it belongs to the program alone."""
        from kernel_runner.cli.media import show, terminal_kind

        is_shown = self.terminal is not None and "stdout" in self.terminal.streams
        if self._terminal_kind is None:  # asked once: keys typed meanwhile would be lost
            self._terminal_kind = terminal_kind(os.environ, 0, 1)
        words = show(media, self._terminal_kind, Path.cwd())
        if is_shown and self._keys and self._keys.are_ours:
            words = words.replace(b"\n", b"\r\n")
        await self._write(1 if is_shown else 2, words)

    # Output -----------------------------------------------------------------------------------

    async def _write(self, fd: int, data: bytes) -> None:
        self.status.hide()
        outlet = self._outlets[fd]
        outlet.write(data)
        stream: StandardStream = "stdout" if fd == 1 else "stderr"
        if data and self.terminal is not None and stream in self.terminal.streams:
            self._is_within_line = not data.endswith(b"\n")
        if outlet.full:
            self._kernel.pause()
            await outlet.wait_below(READ_ON_BYTES)
            self._kernel.resume()

    async def flush(self) -> None:
        """Return when all is written, or nobody reads it."""
        for outlet in self._outlets.values():
            await outlet.wait_below(0)

    def _lose_reader(self, error: OSError) -> None:
        """Our output cannot be written: the program is ended, as by its own pipe."""
        if error.errno != errno.EPIPE:
            self.failure = f"the output cannot be written: {error.strerror}"
        self._signal("PIPE")
        self._loop.call_later(TWICE_SECONDS, self._kernel.send, commands.Interrupt())

    # Keys and signals -------------------------------------------------------------------------

    def _attach_keys(self) -> None:
        """In the foreground; a job in the background gets them when it is fetched from there."""
        if self._keys is None or self._keys.are_ours:
            return
        if is_in_foreground():
            self._keys.take()
            self._loop.add_reader(0, self._type)
        else:  # a shell that fetches a job which runs does not tell it
            self._looking = self._loop.call_later(LOOK_SECONDS, self._attach_keys)

    def _detach_keys(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        if self._keys is not None and self._keys.are_ours:
            self._loop.remove_reader(0)
            self._keys.give_back()

    def _type(self) -> None:
        assert self._keys is not None, "keys are read from a terminal"
        if not (data := self._keys.read()):
            self._detach_keys()
            os.kill(os.getpid(), signal.SIGHUP)
            return
        if CTRL_C in data:
            if self._is_stuck():
                self._signal("INT")  # the key would never arrive
                self._typed.clear()
                data = data.rpartition(CTRL_C)[2]
            self._count_interrupt()
        self._typed.append(data)
        self._feed_soon()

    def _open_input(self) -> None:
        """The program takes input from now on; what was typed before has waited for it."""
        self._takes_input = True
        if self._keys is not None:
            self._feed_soon()
        elif self.feeds_stdin:
            self._feeding = asyncio.create_task(self._feed_stdin(), name="input")

    def _feed_soon(self) -> None:
        if self._takes_input and self._typed and self._feeding is None:
            self._feeding = asyncio.create_task(self._feed_typed(), name="keys")

    def _is_stuck(self) -> bool:
        """Whether what was typed before is not read: by a build, or a program that is busy."""
        waits = self._feeding is not None and self._loop.time() - self._fed_at > STUCK_SECONDS
        return waits or not self._takes_input

    async def _feed_typed(self) -> None:
        try:
            while self._typed:
                self._fed_at = self._loop.time()
                data = b"".join(self._typed)
                self._typed.clear()
                await self._feed(commands.Input(data))
        finally:
            self._feeding = None

    async def _feed_stdin(self) -> None:
        while data := await read_input():
            await self._feed(commands.Input(data))
        await self._feed(commands.EndOfInput())

    async def _feed(self, command: commands.Command) -> None:
        """Returns when the program's side has taken it; refused, it has ended."""
        try:
            await self._kernel.send(command).answer()
        except RequestRefused:
            pass
        except ClientError as error:  # the program's input would have a hole
            self.failure = str(error)
            self._kernel.send(commands.Interrupt(force=True))

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
        """The program is told first, and may say farewell; a second time it is ended."""
        if self._is_running and self._ended_by is None:
            self._signal(number.name)
        else:
            task.cancel()
        self._ended_by = number

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
        self._detach_keys()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._attach_keys()
        self._signal("CONT")
        self._resize()

    def _resize(self) -> None:
        if self.terminal is not None and (now := terminal_of_program()) is not None:
            self._kernel.send(commands.Resize(now.rows, now.cols))
