"""Commands that belong together in; one is fed when the one before it was answered.

What they print and how they end is kept until somebody asks for it.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Final

from kernel_runner.client.agent.console import Console
from kernel_runner.client.agent.questions import frames_of
from kernel_runner.errors import NEVER_RAN, ClientError
from kernel_runner.messages import commands, events
from kernel_runner.messages.agent_wire import Frames, encode_command

PATIENCE_SECONDS: Final = 5.0
"""Who asks as often as this loses nothing, and no answer has to wait longer for who does not."""


class Run:
    """One `code`, or the three steps of a batch."""

    def __init__(
        self, run_id: str, steps: Sequence[commands.QueuedCommand], *, hard_bytes: int
    ) -> None:
        self.id = run_id
        self._hard_bytes = hard_bytes
        self.console = Console()
        self.changed = asyncio.Event()
        self.error: ClientError | None = None
        self.askers = 0
        self.asked_at = asyncio.get_running_loop().time()
        self.dropped_bytes: int | None = None
        """How much was thrown away since nobody wants it; None while somebody might."""
        self._unfinished = deque((step.answer, frames_of(step)) for step in steps)
        self._is_fed = self._is_begun = self._is_ending = False

    @property
    def is_unattended(self) -> bool:
        """Whether nobody has asked for its results for `PATIENCE_SECONDS`."""
        now = asyncio.get_running_loop().time()
        return not self.askers and now - self.asked_at >= PATIENCE_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether the runner has answered every step."""
        return not self._unfinished

    def feed(self) -> list[Frames]:
        """What is to be sent now: the next step, once.

        Not all at once: an interrupt ends what runs, and so would let the steps behind it run.
        """
        if self._is_fed or self.is_over:
            return []
        self._is_fed = True
        return [self._unfinished[0][1]]

    def put(self, event: events.AnyEvent) -> None:
        if self.console.size_bytes >= self._hard_bytes and self.is_unattended:
            self.console.skip(event)
        else:
            self.console.put(event)
        if isinstance(event, events.Finished):
            self.finish(event.type)
        if self.dropped_bytes is not None:
            self.dropped_bytes += self.console.clear()
        self.changed.set()

    def finish(self, kind: str) -> None:
        """The step that was fed was answered, if this is the kind of its answer."""
        if not self._unfinished or self._unfinished[0][0] != kind:
            return
        self._unfinished.popleft()
        self._is_fed, self._is_begun = False, True
        if self._is_ending:
            self.end_unrun()

    def interrupt(self) -> None:
        """Feed no other step."""
        self._is_ending = True

    def cancel(self, event: events.Finished) -> None:
        """The step was cancelled, begun or not: this is its end, and no other step follows."""
        self.put(event)
        self.end_unrun()

    def take_back(self, event: events.Finished) -> bool:
        """Whether it can be fed to another runner: its first step was ended and had not begun."""
        was_run = event.exit_code != NEVER_RAN or event.usage != events.Usage()
        if was_run or self._is_begun or self._is_ending:
            return False
        self._is_fed = False
        return True

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
        """Each step that is left ends without having run."""
        for kind, _ in self._unfinished:
            self.console.stop(kind, NEVER_RAN)
        self._unfinished.clear()
        self.changed.set()


class Leftovers:
    """What earlier connections left in the runner's queue: all up to a mark that we send."""

    def __init__(self) -> None:
        self._last = b""
        self.is_over = False
        self.interrupt()

    def interrupt(self) -> None:
        """The mark may go with what is interrupted: another one is sent behind it."""
        self._mark = secrets.token_hex(8).encode()
        self._is_fed = False

    def feed(self) -> list[Frames]:
        """What is to be sent now."""
        if self._is_fed:
            return []
        self._is_fed = True
        return [encode_command(commands.Clean(f"echo {self._mark.decode()}"))]

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
