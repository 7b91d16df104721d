"""Events from everybody in, to the lane of each client out: the only writer of the channels."""

import asyncio
import logging
import os
from collections.abc import Collection, Sequence
from typing import Final

from kernel_runner.lane import KeptSession, Lane, Session, Soon, at_once
from kernel_runner.messages import events
from kernel_runner.messages.request import Peer
from kernel_runner.metrics import Metrics
from kernel_runner.spool import Spool

IDLE_SECONDS: Final = 3_600
"""How long a session lasts that nobody reads, when it has nothing to tell."""
KEPT_SECONDS: Final = 86_400
"""The same, when it keeps events for somebody who may come back."""

log = logging.getLogger(__name__)


class Outbox:
    """All lanes.

    Args:
        max_bytes: what one session keeps in memory.
        spool: what all sessions keep on disk beyond that.
        metrics: what counts for all lanes.
    """

    def __init__(
        self, max_bytes: int, soon: Soon, spool: Spool, metrics: Metrics | None = None
    ) -> None:
        self.metrics = metrics or Metrics()
        self._soon = soon
        self._max_bytes = max_bytes
        self._spool = spool
        self._sessions: dict[str, KeptSession] = {}
        self._builtin: dict[str, Session] = {}  # nobody can take these over
        self._session_of_peer: dict[Peer, Session] = {}
        self._answers: dict[Peer, Lane] = {}

    def session_of(self, peer: Peer) -> Session | None:
        """The session of a connection: its built-in one, or the one it said hello for."""
        if (name := peer.builtin_session) is not None:
            if name not in self._builtin:
                self._builtin[name] = Session(name, self._max_bytes, self._soon, self.metrics)
            return self._builtin[name]
        return self._session_of_peer.get(peer)

    def find_session(self, name: str) -> KeptSession | None:
        """A session that somebody opened."""
        return self._sessions.get(name)

    def find_builtin(self, name: str) -> Session | None:
        """The session of a channel whose clients need not ask for one."""
        return self._builtin.get(name)

    def open_session(self) -> KeptSession:
        """A new session, of a name that nobody can guess."""
        name = os.urandom(16).hex()
        session = KeptSession(name, self._max_bytes, self._soon, self._spool, self.metrics)
        self._sessions[name] = session
        return session

    def take_over(self, session: KeptSession, peer: Peer, after_seq: int | None) -> None:
        """The events of `session` go to `peer` from now on; its former consumer is told.

        Args:
            after_seq: the last event that the client has; None: it has none.
        """
        former = session.peer
        if former is not None and former != peer:
            self._session_of_peer.pop(former, None)
            self.answer(former, events.Superseded(), None)
        left = self._session_of_peer.get(peer)
        if left is not None and left is not session:
            left.detach()
        self._session_of_peer[peer] = session
        session.replay(peer, after_seq)

    def answer(self, peer: Peer, event: events.AnyEvent, request_id: str | None) -> None:
        """Answer an immediate command, on the connection it came from."""
        if peer.builtin_session is not None and (session := self.session_of(peer)):
            session.answer(event, request_id)
            return
        lane = self._lane_of(peer)
        lane.answer(event, request_id)
        self._drop_empty(peer, lane)

    async def room(self, peer: Peer) -> None:
        """Return when the connection has taken most of what it asked for, or is gone."""
        if peer.builtin_session is not None:
            lane: Lane | None = self.session_of(peer)
        else:
            lane = self._answers.get(peer)
        if lane is not None:
            await lane.room()

    def _lane_of(self, peer: Peer) -> Lane:
        """What is on its way to one connection beside the events of its session."""
        lane = self._answers.get(peer)
        if lane is None:
            lane = Lane(self._max_bytes, at_once, peer=peer, metrics=self.metrics)
            self._answers[peer] = lane
        return lane

    def end_idle(
        self, now: float, busy: Collection[str], *, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        """End the sessions that nobody reads and nobody will come back for.

        Args:
            now: of `time.monotonic`.
            busy: the names of sessions whose requests wait or run.
            idle_seconds: how long one lasts that has nothing to tell.
        """
        for name, session in list(self._sessions.items()):
            is_kept = session.journal.first_seq < session.journal.next_seq
            patience = KEPT_SECONDS if is_kept else idle_seconds
            if name in busy or (now - session.used_at > idle_seconds and session.probe()):
                session.used_at = now
            elif now - session.used_at > patience:
                log.info("session %s ends: nobody used it for %d s", name, patience)
                session.journal.close()
                del self._sessions[name]
        for peer, of_peer in list(self._session_of_peer.items()):
            if of_peer.peer != peer:
                del self._session_of_peer[peer]

    async def send_again(self, peer: Peer, session: KeptSession, request_id: str) -> bool:
        """Send the events of one request once more, with their numbers; False when none is kept."""
        found = False
        for envelope in session.journal.of_request(request_id, session.sent_seq + 1):
            if envelope is None:
                await asyncio.sleep(0)
                continue
            found = True
            lane = self._lane_of(peer)
            lane.repeat(envelope)
            self._drop_empty(peer, lane)
            await lane.room()
        return found

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

    @property
    def sessions(self) -> int:
        """How many somebody has opened and nobody has ended."""
        return len(self._sessions)

    @property
    def readers(self) -> int:
        """How many sessions have a connection that their events go to."""
        return sum(session.peer is not None for session in self._numbered())

    @property
    def is_fetched(self) -> bool:
        """Whether no session keeps an event that somebody could still want."""
        journals = [session.journal for session in self._sessions.values()]
        return all(journal.first_seq == journal.next_seq for journal in journals)

    @property
    def has_told(self) -> bool:
        """Whether there is a session that ever had something to tell."""
        return any(session.next_seq > 1 for session in self._sessions.values())

    def _numbered(self) -> Sequence[Session]:
        return (*self._builtin.values(), *self._sessions.values())

    def _drop_empty(self, peer: Peer, lane: Lane) -> None:
        if lane.peer is None:
            lane.abandon()
        if lane.pending == 0:
            self._answers.pop(peer, None)

    async def flush(self) -> None:
        """Return when every event was taken."""
        for lane in (*self._numbered(), *self._answers.values()):
            await lane.emptied()
