"""Events for one client in, in order out to whatever connection it has.

A lane holds what its client has not taken yet.  A session's lane is numbered and outlives its
connections; an unnumbered one carries the answers to a single connection.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Final, TypeAlias

from kernel_runner.journal import Journal, merged
from kernel_runner.messages import events
from kernel_runner.messages.request import Envelope, Peer, PeerGone
from kernel_runner.metrics import Metrics
from kernel_runner.spool import Spool

MAX_ANSWERS: Final = 1_024
"""Answers to immediate commands that wait for one client; then newer ones replace older ones."""
REPLACED: Final = f"more than {MAX_ANSWERS} answers wait for a client; older ones are replaced"
MAX_SEEN_IDS: Final = 65_536
"""The ids that a session remembers, so that none is run twice: the oldest are forgotten."""

log = logging.getLogger(__name__)

Calls: TypeAlias = list[Callable[[], None]]
Soon: TypeAlias = Callable[[Callable[[], None]], object]


class Lane:
    """Events on their way to one client, in order.

    Args:
        max_bytes: whoever posts for a program should wait when more than this is waiting.
        soon: calls what it is given once the caller has done what it is at: events that are
            posted together leave together, and the program goes on before they are sent.
        metrics: what counts them; None: a count of its own.
    """

    def __init__(
        self,
        max_bytes: int,
        soon: Soon,
        *,
        peer: Peer | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._soon = soon
        self.peer = peer
        self.metrics = metrics or Metrics()
        self.max_bytes = max_bytes
        self._bytes = 0
        self._answers = 0
        self._pending: deque[Envelope] = deque()
        self._blocked = self._scheduled = False
        self._on_room: Calls = []
        self._on_empty: Calls = []

    @property
    def full(self) -> bool:
        return self._bytes >= self.max_bytes

    @property
    def pending(self) -> int:
        """How many events wait."""
        return len(self._pending)

    def post(self, event: events.AnyEvent, request_id: str | None) -> None:
        """Send one event, or keep it until it can be sent.  Never waits and never loses one."""
        if isinstance(event, events.Output) and self._merge(event, request_id):
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

    def repeat(self, envelope: Envelope) -> None:
        """Send an event of another lane as it is."""
        self.metrics.replayed_events += 1
        self._keep(envelope)
        self.pump()

    def when_room(self, call: Callable[[], None]) -> None:
        """Call once, when the lane is no longer full."""
        self._on_room.append(call)

    async def room(self) -> None:
        """Return when the lane is not full."""
        while self.full:
            await _called(self._on_room)

    async def emptied(self) -> None:
        """Return when nothing waits."""
        while self.pending:
            await _called(self._on_empty)

    def attach(self, peer: Peer) -> None:
        self.peer = peer
        self.pump()

    def detach(self) -> None:
        self.peer = None

    def abandon(self) -> None:
        """Nobody will ever take what waits: whoever waited for room goes on."""
        self._pending.clear()
        self._bytes = self._answers = 0
        _call_all(self._on_empty)
        _call_all(self._on_room)

    def pump(self) -> None:
        """Send as much as the client takes."""
        self._blocked = self._scheduled = False
        while self.pending and self.peer is not None:
            envelope = self._next()
            try:
                sent = self.peer.send(envelope)
            except PeerGone:
                self.detach()
                return
            if not sent:
                self._blocked = True
                break
            self._sent()
            if isinstance(envelope.event, events.Output):
                self.metrics.sent_bytes += len(envelope.event.data)
        if self._on_empty and not self.pending:
            _call_all(self._on_empty)
        self._tell_room()

    def _tell_room(self) -> None:
        if self._on_room and self._has_room:
            _call_all(self._on_room)

    @property
    def _has_room(self) -> bool:
        """Whether who waited may go on: not as soon as a single event has left."""
        return self._bytes <= self.max_bytes // 2

    def _next(self) -> Envelope:
        return self._pending[0]

    def _sent(self) -> None:
        self._forget(self._pending.popleft())

    def _next_seq(self) -> int | None:
        return None

    def _keep(self, envelope: Envelope) -> None:
        self._pending.append(envelope)
        self._bytes += events.size_of(envelope.event)
        self._answers += _is_replaceable(envelope)

    def _forget(self, envelope: Envelope) -> None:
        self._bytes -= events.size_of(envelope.event)
        self._answers -= _is_replaceable(envelope)

    def _merge(self, output: events.Output, request_id: str | None) -> bool:
        if not self._pending or (both := merged(self._pending[-1], output, request_id)) is None:
            return False
        self._pending[-1] = both
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
    """The lane of one client, numbered; built-in ones forget an event once it is handed over."""

    names_files: ClassVar[bool] = False
    """Whether its client is told which files a task has changed."""

    def __init__(
        self, name: str, max_bytes: int, soon: Soon, metrics: Metrics | None = None
    ) -> None:
        super().__init__(max_bytes, soon, metrics=metrics)
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


class KeptSession(Session):
    """Keeps every event until it is acknowledged, and sends it again to who says hello."""

    names_files = True

    def __init__(
        self, name: str, max_bytes: int, soon: Soon, spool: Spool, metrics: Metrics | None = None
    ) -> None:
        super().__init__(name, max_bytes, soon, metrics)
        self.journal = Journal(max_bytes, spool)
        self.sent_seq = 0
        """The number of the last event that was handed over."""
        self._ever_sent_seq = 0
        self.used_at = time.monotonic()
        """When its client was last heard of."""
        self._told_of_disk: str | None = ""

    @property
    def full(self) -> bool:
        return self.journal.full

    @property
    def pending(self) -> int:
        return self.next_seq - 1 - self.sent_seq

    def acknowledge(self, seq: int) -> None:
        """The client has all events up to this one, which was sent."""
        self.used_at = time.monotonic()
        self.journal.forget(seq)
        self._tell_room()

    def remember(self, request_id: str) -> bool:
        self.used_at = time.monotonic()
        return super().remember(request_id)

    def probe(self) -> bool:
        """Whether there is a connection: ZeroMQ tells only when something is sent."""
        if self.peer is None:
            return False
        probe = events.Log("debug", events.local_time(time.time()), __name__, "still there")
        try:
            self.peer.send(Envelope(probe, None, None, time.time_ns()))
        except PeerGone:
            self.detach()
        return self.peer is not None

    def replay(self, peer: Peer, after_seq: int | None) -> None:
        """Send what is kept of the events after this number, then go on live."""
        first = self.journal.first_seq if after_seq is None else after_seq + 1
        self.sent_seq = first - 1
        self.used_at = time.monotonic()
        self.attach(peer)

    @property
    def _has_room(self) -> bool:
        return self.journal.has_room

    def _keep(self, envelope: Envelope) -> None:
        self.journal.append(envelope)
        if (error := self.journal.disk_error) is not None and _is_of_program(envelope):
            self._tell_of_disk(error, envelope.id)

    def _tell_of_disk(self, error: OSError, request_id: str | None) -> None:
        """Once for each request, however often the disk fills while it runs."""
        if self._told_of_disk != request_id:
            self._told_of_disk = request_id
            # later: a log is an event, too, and may be one of this session
            text = "the spool cannot be written, so programs wait: %s"
            asyncio.get_running_loop().call_soon(log.warning, text, error.strerror)

    def _merge(self, output: events.Output, request_id: str | None) -> bool:
        # a client may still have what was sent once, under the same number
        is_unknown = self.next_seq - 1 > self._ever_sent_seq
        return is_unknown and self.journal.merge(output, request_id)

    def _next(self) -> Envelope:
        return self.journal.read(self.sent_seq + 1)

    def _sent(self) -> None:
        self.sent_seq += 1
        if self.sent_seq > self._ever_sent_seq:
            self._ever_sent_seq = self.sent_seq
        else:
            self.metrics.replayed_events += 1


def at_once(call: Callable[[], None]) -> None:
    """No `soon` at all."""
    call()


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


def _is_replaceable(envelope: Envelope) -> bool:
    """Whether it is an answer, or a log that belongs to no task."""
    is_log = isinstance(envelope.event, events.Log) and envelope.id is None
    return isinstance(envelope.event, events.Answer) or (is_log and not _is_notice(envelope))


def _is_of_program(envelope: Envelope) -> bool:
    return isinstance(envelope.event, events.Output | events.Media)


def _is_notice(envelope: Envelope) -> bool:
    return isinstance(envelope.event, events.Log) and envelope.event.text == REPLACED


def _notice(seq: int | None) -> Envelope:
    now = events.local_time(time.time())
    log = events.Log("warning", now, __name__, REPLACED)
    return Envelope(log, None, seq, time.time_ns())
