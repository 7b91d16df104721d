"""Questions in; each gets its own answer, although answers have no ids.

Of each kind one question is on the wire at a time, so that the next answer of that kind is its
own, also where answers may overtake each other (two services, one slow).  Whoever stops waiting
leaves his question there: the late answer is thrown away, and then the next question is sent.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast, get_args

from kernel_runner.client.agent.errors import NoAnswer
from kernel_runner.client.errors import RequestRefused
from kernel_runner.errors import ClientError, ProtocolError
from kernel_runner.messages import commands, events
from kernel_runner.messages.agent_wire import Frames, encode_command

Answer: TypeAlias = (
    events.Completion
    | events.Status
    | events.ServiceResult
    | events.AppsResult
    | events.ModelServiceResult
)
A = TypeVar("A", bound=Answer)

ANSWERS: tuple[type[Answer], ...] = get_args(Answer)


def frames_of(command: commands.Command) -> Frames:
    """What is sent for a command.

    Raises:
        RequestRefused: its text is none, as half of a surrogate pair is.
    """
    try:
        return encode_command(command)
    except ProtocolError as error:
        raise RequestRefused(error.code, str(error), error.hint) from error


@dataclass(slots=True, eq=False)
class _Question:
    frames: Frames
    answer: "asyncio.Future[Answer]"


class Questions:
    """All that is asked over one connection.

    Args:
        send: sends one command; never waits.
        on_change: called when a question went out or was answered.
    """

    def __init__(self, send: Callable[[Frames], None], on_change: Callable[[], None]) -> None:
        self._send = send
        self._on_change = on_change
        self._is_open = False
        self._ended: ClientError | None = None
        self._waiting: dict[str, deque[_Question]] = {kind.type: deque() for kind in ANSWERS}
        self._on_wire: dict[str, _Question] = {}

    @property
    def are_on_wire(self) -> bool:
        """Whether some answer is still to come, wanted or not."""
        return bool(self._on_wire)

    def is_busy(self, kind: type[Answer]) -> bool:
        """Whether a question of this kind is unanswered."""
        return kind.type in self._on_wire

    async def ask(self, command: commands.Command, kind: type[A], *, timeout_seconds: float) -> A:
        """Ask when the questions before are answered.

        Raises:
            NoAnswer: after `timeout_seconds`, the wait for its turn included.
            RunnerLost: the connection ended before the answer came.
        """
        if self._ended is not None:
            raise self._ended
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        question = _Question(frames_of(command), answer)
        waiting = self._waiting[kind.type]
        waiting.append(question)
        self._send_next(kind.type)
        try:
            async with asyncio.timeout(timeout_seconds):
                return cast(A, await answer)
        except TimeoutError as error:
            raise NoAnswer(command.op, timeout_seconds) from error
        finally:
            if question in waiting:
                waiting.remove(question)

    def put(self, event: events.AnyEvent) -> bool:
        """Take an answer; False when it is none.  One that nobody asked for is thrown away."""
        if not isinstance(event, ANSWERS):
            return False
        question = self._on_wire.get(event.type)
        if question is not None and not _is_of_another(event, question):
            if not question.answer.done():
                question.answer.set_result(event)
            self._end(event.type)
        return True

    def fail(self, kind: str, error: ClientError) -> None:
        """The answer of the question on the wire came, and cannot be used."""
        if (question := self._on_wire.get(kind)) is not None:
            if not question.answer.done():
                question.answer.set_exception(error)
            self._end(kind)

    def open(self) -> None:
        """There is a connection: what waits may leave."""
        self._is_open = True
        for kind in self._waiting:
            self._send_next(kind)

    def close(self, error: ClientError) -> None:
        """The connection has ended: what was on the wire fails, the rest waits for the next one."""
        self._is_open = False
        for kind in list(self._on_wire):
            self.fail(kind, error)

    def end(self, error: ClientError) -> None:
        """There will be no other connection: every question fails, and every later one."""
        self._ended = error
        for waiting in self._waiting.values():
            for question in waiting:
                question.answer.set_exception(error)
            waiting.clear()
        self.close(error)

    def _end(self, kind: str) -> None:
        del self._on_wire[kind]
        self._send_next(kind)
        self._on_change()

    def _send_next(self, kind: str) -> None:
        if self._is_open and kind not in self._on_wire and self._waiting[kind]:
            question = self._on_wire[kind] = self._waiting[kind].popleft()
            self._send(question.frames)
            self._on_change()


def _is_of_another(event: events.AnyEvent, question: _Question) -> bool:
    """Status answers repeat what was asked: one of an earlier connection is recognised."""
    return isinstance(event, events.Status) and (event.echo or "").encode() != question.frames[1]
