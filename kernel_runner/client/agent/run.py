"""Commands that belong together in; what they print and how they end is kept until it is asked."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Final

from kernel_runner.client.agent.console import Console
from kernel_runner.client.agent.questions import frames_of
from kernel_runner.errors import NEVER_RAN, ClientError
from kernel_runner.messages import commands, events
from kernel_runner.messages.agent_wire import encode_command

PATIENCE_SECONDS: Final = 5.0
"""Who asks as often as this loses nothing, and no answer has to wait longer for who does not."""


class Run:
    """One `code`, or the three steps of a batch."""

    def __init__(
        self, run_id: str, steps: Sequence[commands.QueuedCommand], *, hard_bytes: int
    ) -> None:
        self.id = run_id
        self._hard_bytes = hard_bytes
        self.frames = [frames_of(step) for step in steps]
        self.console = Console()
        self.changed = asyncio.Event()
        self.error: ClientError | None = None
        self.askers = 0
        self.asked_at = asyncio.get_running_loop().time()
        self.dropped_bytes: int | None = None
        """How much was thrown away since nobody wants it; None while somebody might."""
        self._unfinished = [step.answer for step in steps]

    @property
    def is_unattended(self) -> bool:
        """Whether nobody has asked for its results for `PATIENCE_SECONDS`."""
        now = asyncio.get_running_loop().time()
        return not self.askers and now - self.asked_at >= PATIENCE_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether the runner has answered every step."""
        return not self._unfinished

    def put(self, event: events.AnyEvent) -> None:
        if isinstance(event, events.Finished):
            self.finish(event.type)
        if self.console.size_bytes >= self._hard_bytes and self.is_unattended:
            self.console.skip(event)
        else:
            self.console.put(event)
        if self.dropped_bytes is not None:
            self.dropped_bytes += self.console.clear()
        self.changed.set()

    def finish(self, kind: str) -> None:
        """A step was answered."""
        if kind in self._unfinished:
            self._unfinished.remove(kind)

    def fail(self, error: ClientError) -> None:
        """Whoever asks gets this once all that was printed is taken."""
        self.error = self.error or error
        self.changed.set()

    def lose(self, error: ClientError) -> None:
        """The runner will answer none of its steps."""
        self._unfinished.clear()
        self.fail(error)

    def drop(self) -> None:
        """Keep nothing of it, now and later."""
        self.dropped_bytes = (self.dropped_bytes or 0) + self.console.clear()
        self.changed.set()

    def end_unrun(self) -> None:
        self._unfinished.clear()
        self.console.stop("finished", NEVER_RAN)
        self.changed.set()


class Leftovers:
    """What earlier connections left in the runner's queue: all up to a mark that we send."""

    def __init__(self) -> None:
        self._mark = secrets.token_hex(8).encode()
        self._last = b""
        self.frames = [encode_command(commands.Clean(f"echo {self._mark.decode()}"))]
        self.is_over = False

    def put(self, event: events.AnyEvent) -> None:
        match event:
            case events.Output(type="stdout", data=data):
                self._last = (self._last + data)[-len(self._mark) - 1 :]
            case events.Finished(type="clean-finished"):
                self.finish(event.type)

    def fail(self, error: ClientError) -> None:
        """Nobody asks for it."""

    def finish(self, kind: str) -> None:
        self.is_over = kind == "clean-finished" and self._mark in self._last
