"""Input of the client in, to whatever of a task takes it; when it does, its `stdin` option says."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from kernel_runner.errors import InputFull, NoPrompt
from kernel_runner.messages import events
from kernel_runner.streams import MAX_INPUT_BYTES, InputSide

if TYPE_CHECKING:
    from kernel_runner.task import Task


class TaskInput:
    """Who may feed the task, and when: its `stdin` option."""

    def __init__(self, task: "Task") -> None:
        self._task = task
        self._side: InputSide | None = None
        self._resume_clock: Callable[[], None] | None = None
        self._early: list[tuple[bytes, asyncio.Future[None]]] = []
        self._ended = False
        self.fed = asyncio.Event()
        """Set whenever input came: whoever waited for it goes on."""

    @property
    def prompt_open(self) -> bool:
        """Whether the client was asked for input and has not sent any yet."""
        return self._resume_clock is not None

    def connect(self, side: InputSide) -> None:
        """A program takes input from now on."""
        self._side = side
        options = self._task.options
        if options.stdin_bytes is not None:
            side.feed(options.stdin_bytes)
        for data, taken in self._early:
            side.feed(data).add_done_callback(partial(_resolve, taken))
        self._early.clear()
        if self._ended or not self._takes_input:
            side.end()

    def disconnect(self) -> None:
        """The program has ended; a prompt of its has, too."""
        self._side = None
        self.close_prompt()

    def open_prompt(self, *, certain: bool, is_password: bool) -> None:
        """The program waits for input and there is none: ask the client, off the clock."""
        if self.prompt_open or self._side is None:
            return
        if self._ended or not self._takes_input:
            self._side.end()
            return
        is_asked = self._task.options.stdin == "prompt"  # a stream need not be answered to
        self._resume_clock = self._task.clock.pause() if is_asked else lambda: None
        self._task.post(events.WaitingInput(is_password, certain))

    @property
    def is_raw(self) -> bool:
        """Whether the program reads keys itself, Ctrl-C among them."""
        return self._side is not None and self._side.is_raw()

    def close_prompt(self) -> None:
        if self._resume_clock is not None:
            resume, self._resume_clock = self._resume_clock, None
            resume()

    def feed(self, data: bytes) -> asyncio.Future[None]:
        """Give input to the program; done when the kernel took it.

        Raises:
            NoPrompt: nothing waits for input, and this task does not take it before.
            InputFull: too much waits already.
        """
        self._check_welcome()
        self.close_prompt()
        self.fed.set()
        if self._side is not None:
            return self._side.feed(data)
        waiting = sum(len(piece) for piece, _ in self._early)
        if waiting and waiting + len(data) > MAX_INPUT_BYTES:
            raise InputFull(f"{waiting} bytes of input wait already; send on after an ok")
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._early.append((data, taken))
        return taken

    def end(self) -> None:
        """End the input; raises `NoPrompt` as `feed` does."""
        self._check_welcome()
        self.close_prompt()
        self.fed.set()
        self._ended = self._task.options.stdin == "stream"
        if self._side is not None:
            self._side.end()

    def drop_early(self) -> None:
        """The task has ended: what no program took will be taken by none."""
        for _, taken in self._early:
            _resolve(taken, None)
        self._early.clear()

    def _check_welcome(self) -> None:
        if not self._takes_input:
            raise NoPrompt("this task was given its input with the request")
        if self._task.options.stdin == "prompt" and not self.prompt_open:
            raise NoPrompt("no program waits for input; it was not kept for a later prompt")

    @property
    def _takes_input(self) -> bool:
        return self._task.options.stdin != "none" and self._task.options.stdin_bytes is None


def _resolve(taken: asyncio.Future[None], _: object) -> None:
    if not taken.done():
        taken.set_result(None)
