"""Events from everybody in, in order to each client out: the only writer of the channels.

A lane holds what one client has not taken yet.  A session's lane is numbered and outlives its
connections; an unnumbered one carries the answers to a single connection.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from kernel_runner.messages import events
from kernel_runner.messages.request import Envelope, Peer, PeerGone

MAX_ANSWERS: Final = 1_024
"""Answers to immediate commands that wait for one client; then newer ones replace older ones."""
REPLACED: Final = f"more than {MAX_ANSWERS} answers wait for a client; older ones are replaced"
ENVELOPE_BYTES: Final = 256
"""What an event is counted with beside its data."""
MERGE_BYTES: Final = 65_536
"""Output that waits is put together up to this size."""
MAX_SEEN_IDS: Final = 65_536
"""The ids that a session remembers, so that none is run twice: the oldest are forgotten."""

Calls: TypeAlias = list[Callable[[], None]]
Soon: TypeAlias = Callable[[Callable[[], None]], object]


class Lane:
    """Events on their way to one client, in order.

    Args:
        max_bytes: whoever posts for a program should wait when more than this is waiting.
        soon: calls what it is given once the caller has done what it is at: events that are
            posted together leave together, and the program goes on before they are sent.
    """

    def __init__(self, max_bytes: int, soon: Soon, *, peer: Peer | None = None) -> None:
        self._soon = soon
        self.peer = peer
        self._max_bytes = max_bytes
        self._bytes = 0
        self._answers = 0
        self._pending: deque[Envelope] = deque()
        self._blocked = self._scheduled = False
        self.sent_seq = 0
        """The number of the last event that was handed over."""
        self._on_room: Calls = []
        self._on_empty: Calls = []

    @property
    def full(self) -> bool:
        return self._bytes >= self._max_bytes

    @property
    def pending(self) -> int:
        """How many events wait."""
        return len(self._pending)

    def post(self, event: events.AnyEvent, request_id: str | None) -> None:
        """Send one event, or keep it until it can be sent.  Never waits and never loses one."""
        if self._pending and isinstance(event, events.Output) and self._merge(event, request_id):
            return
        self._keep(Envelope(event, request_id, self._next_seq(), time.time_ns()))
        if not self._blocked and not self._scheduled:
            self._scheduled = True
            self._soon(self.pump)

    def answer(self, event: events.AnyEvent, request_id: str | None) -> None:
        """Post the answer to an immediate command; of too many, the older of its kind goes."""
        if self._answers >= MAX_ANSWERS:
            self._replace(event)
        self.post(event, request_id)

    def when_room(self, call: Callable[[], None]) -> None:
        """Call once, when the lane is no longer full."""
        self._on_room.append(call)

    async def room(self) -> None:
        """Return when the lane is not full."""
        while self.full:
            await _called(self._on_room)

    async def emptied(self) -> None:
        """Return when nothing waits."""
        while self._pending:
            await _called(self._on_empty)

    def attach(self, peer: Peer) -> None:
        self.peer = peer
        self.pump()

    def detach(self) -> None:
        self.peer = None

    def pump(self) -> None:
        """Send as much as the client takes."""
        self._blocked = self._scheduled = False
        while self._pending and self.peer is not None:
            try:
                sent = self.peer.send(self._pending[0])
            except PeerGone:
                self.detach()
                return
            if not sent:
                self._blocked = True
                break
            self._forget(envelope := self._pending.popleft())
            self.sent_seq = envelope.seq or 0
        if self._on_room and self._bytes <= self._max_bytes // 2:
            _call_all(self._on_room)
        if self._on_empty and not self._pending:
            _call_all(self._on_empty)

    def _next_seq(self) -> int | None:
        return None

    def _keep(self, envelope: Envelope) -> None:
        self._pending.append(envelope)
        self._bytes += _size(envelope.event)
        self._answers += _is_replaceable(envelope)

    def _forget(self, envelope: Envelope) -> None:
        self._bytes -= _size(envelope.event)
        self._answers -= _is_replaceable(envelope)

    def _merge(self, output: events.Output, request_id: str | None) -> bool:
        last = self._pending[-1]
        if not (
            isinstance(last.event, events.Output)
            and last.event.type == output.type
            and last.id == request_id
            and len(last.event.data) + len(output.data) <= MERGE_BYTES
        ):
            return False
        merged = events.Output(output.type, last.event.data + output.data)
        self._pending[-1] = msgspec.structs.replace(last, event=merged)
        self._bytes += len(output.data)
        return True

    def _replace(self, event: events.AnyEvent) -> None:
        answers = [index for index, kept in enumerate(self._pending) if _is_replaceable(kept)]
        alike = (index for index in answers if type(self._pending[index].event) is type(event))
        older = next(alike, answers[0])
        self._forget(self._pending[older])
        del self._pending[older]
        if not any(_is_notice(kept) for kept in self._pending):
            self._keep(_notice(self._next_seq()))


class Session(Lane):
    """The numbered lane of one client, whatever connections it comes by."""

    def __init__(self, name: str, max_bytes: int, soon: Soon) -> None:
        super().__init__(max_bytes, soon)
        self.name = name
        self.next_seq = 1
        self._seen: dict[str, None] = {}

    def remember(self, request_id: str) -> bool:
        """Whether this id is new to the session; from now on it is not."""
        if request_id in self._seen:
            return False
        if len(self._seen) >= MAX_SEEN_IDS:
            del self._seen[next(iter(self._seen))]
        self._seen[request_id] = None
        return True

    def _next_seq(self) -> int:
        self.next_seq += 1
        return self.next_seq - 1


def at_once(call: Callable[[], None]) -> None:
    """No `soon` at all."""
    call()


class Outbox:
    """All lanes.  `max_bytes` is what one session keeps in memory before its programs wait."""

    def __init__(self, max_bytes: int, soon: Soon) -> None:
        self._soon = soon
        self._max_bytes = max_bytes
        self._sessions: dict[str, Session] = {}
        self._builtin: dict[str, Session] = {}  # nobody can take these over
        self._session_of_peer: dict[Peer, Session] = {}
        self._answers: dict[Peer, Lane] = {}

    def session_of(self, peer: Peer) -> Session | None:
        """The session of a connection: its built-in one, or the one it said hello for."""
        if (name := peer.builtin_session) is not None:
            if name not in self._builtin:
                self._builtin[name] = Session(name, self._max_bytes, self._soon)
            return self._builtin[name]
        return self._session_of_peer.get(peer)

    def find_session(self, name: str) -> Session | None:
        """A session that somebody opened."""
        return self._sessions.get(name)

    def find_builtin(self, name: str) -> Session | None:
        """The session of a channel whose clients need not ask for one."""
        return self._builtin.get(name)

    def open_session(self, name: str | None) -> Session:
        """A new session; without a name it gets one that nobody can guess."""
        name = name or os.urandom(16).hex()
        self._sessions[name] = session = Session(name, self._max_bytes, self._soon)
        return session

    def take_over(self, session: Session, peer: Peer) -> None:
        """The events of `session` go to `peer` from now on; its former consumer is told."""
        former = session.peer
        if former is not None and former != peer:
            self._session_of_peer.pop(former, None)
            self.answer(former, events.Superseded(), None)
        if peer.builtin_session is None:
            left = self._session_of_peer.get(peer)
            if left is not None and left is not session:
                left.detach()
            self._session_of_peer[peer] = session
        session.attach(peer)

    def answer(self, peer: Peer, event: events.AnyEvent, request_id: str | None) -> None:
        """Answer an immediate command, on the connection it came from."""
        if peer.builtin_session is not None and (session := self.session_of(peer)):
            session.answer(event, request_id)
            return
        lane = self._answers.get(peer)
        if lane is None:
            lane = self._answers[peer] = Lane(self._max_bytes, at_once, peer=peer)
        lane.answer(event, request_id)
        self._drop_empty(peer, lane)

    def pump(self) -> None:
        """Some client may have room again."""
        for session in self._numbered():
            if session.pending:
                session.pump()
        for peer, lane in list(self._answers.items()):
            lane.pump()
            self._drop_empty(peer, lane)

    @property
    def pending(self) -> int:
        """How many events nobody has taken yet."""
        return sum(lane.pending for lane in (*self._numbered(), *self._answers.values()))

    def _numbered(self) -> Sequence[Session]:
        return (*self._builtin.values(), *self._sessions.values())

    def _drop_empty(self, peer: Peer, lane: Lane) -> None:
        if lane.pending == 0 or lane.peer is None:
            self._answers.pop(peer, None)

    async def flush(self) -> None:
        """Return when every event was taken."""
        for lane in (*self._numbered(), *self._answers.values()):
            await lane.emptied()


async def _called(calls: Calls) -> None:
    """Return when the calls of this list are made."""
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def resolve() -> None:
        if not waiting.done():
            waiting.set_result(None)

    calls.append(resolve)
    await waiting


def _call_all(calls: Calls) -> None:
    """Make each call once; what is added meanwhile waits for the next time."""
    made = calls.copy()
    calls.clear()
    for call in made:
        call()


def _size(event: events.AnyEvent) -> int:
    match event:
        case events.Output() | events.File():
            return len(event.data) + ENVELOPE_BYTES
        case events.Media():
            return sum(len(data) for data in event.data.values()) + ENVELOPE_BYTES
        case _:
            return ENVELOPE_BYTES


def _is_replaceable(envelope: Envelope) -> bool:
    """Whether it is an answer, or a log that belongs to no task."""
    is_log = isinstance(envelope.event, events.Log) and envelope.id is None
    return isinstance(envelope.event, events.Answer) or (is_log and not _is_notice(envelope))


def _is_notice(envelope: Envelope) -> bool:
    return isinstance(envelope.event, events.Log) and envelope.event.text == REPLACED


def _notice(seq: int | None) -> Envelope:
    now = events.local_time(time.time())
    log = events.Log("warning", now, "kernel_runner.outbox", REPLACED)
    return Envelope(log, None, seq, time.time_ns())
