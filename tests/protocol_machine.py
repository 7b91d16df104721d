"""What is on the wire of several connections comes in; that it keeps the rules is checked.

A `Ledger` is what one session has told so far, a `Connection` what one client hears of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack
import zmq

from tests.wire import FINISHES, STREAMS, Event, checked

BETWEEN: Final = (*STREAMS, "media", "log", "waiting-input", "stopped")
"""What a request tells between its start and its finish."""


@dataclass(slots=True)
class Asked:
    """A queued request, and what is known of it."""

    identity: str
    output: bytes | None = None
    """What it prints; None: nothing is expected of it but its order and its end."""
    is_bad: bool = False
    asks: bool = False
    may_be_full: bool = False
    """Whether the queue may have had no room for it."""
    kinds: list[str] = field(default_factory=list)
    heard: bytes = b""
    started_ns: int = 0
    finish: Event | None = None
    finished_ns: int = 0

    def add(self, event: Event) -> None:
        """The next event of this request: accepted, started, what it tells, finished."""
        before = self.kinds[-1] if self.kinds else ""
        assert self.finish is None, f"{event} after the finish of {self}"
        if event.kind == "accepted":
            assert (before, self.is_bad) == ("", False), f"{event} of {self}"
        elif event.kind == "started":
            assert before == "accepted", f"{event} of {self}"
            self.started_ns = event.fields["t_ns"]
        elif event.kind in BETWEEN:
            assert self.started_ns > 0, f"{event} before the start of {self}"
            self.heard += event.body if event.kind == "stdout" else b""
        else:
            assert event.kind in FINISHES, f"{event} of {self}"
            self.finish, self.finished_ns = event, event.fields["t_ns"]
        self.kinds.append(event.kind)

    @property
    def was_full(self) -> bool:
        return self.finish is not None and self.finish.fields["reason"] == "queue-full"

    def check(self) -> None:
        """It has ended, and did what it was asked for."""
        assert self.finish is not None
        reason = self.finish.fields["reason"]
        if self.was_full:
            assert (self.kinds, self.may_be_full) == ([self.finish.kind], True), str(self)
            return
        if self.is_bad:
            assert (self.kinds, reason) == ([self.finish.kind], "bad-request"), str(self)
            assert self.finish.fields["message"]
        else:
            assert self.kinds[0] == "accepted", str(self)
            assert self.started_ns > 0 or reason == "cancelled", str(self)
        if self.output is not None:
            assert (self.heard, reason) == (self.output, "completed"), str(self)


@dataclass(slots=True)
class Ledger:
    """All events of one session, by their numbers."""

    name: str
    events: list[Event] = field(default_factory=list)
    asked: dict[str, Asked] = field(default_factory=dict)
    acknowledged: int = 0

    @property
    def last_seq(self) -> int:
        return len(self.events)

    def add(self, event: Event) -> None:
        """One that is new, or one that is exactly as it was."""
        assert event.seq is not None
        if event.seq <= self.last_seq:
            assert self.events[event.seq - 1] == event, f"{event} was told otherwise before"
            return
        assert event.seq == self.last_seq + 1, f"{event} after {self.last_seq}"
        self.events.append(event)
        if event.id is not None:
            assert event.id in self.asked, f"{event} is for somebody else"
            self.asked[event.id].add(event)
        else:
            assert event.kind == "log", f"{event} is of no request"

    def kept_of(self, identity: str) -> set[int]:
        """The numbers of the events that the runner can tell again."""
        kept = self.events[self.acknowledged :]
        return {event.seq for event in kept if event.id == identity and event.seq is not None}


class Connection:
    """One DEALER.  `ledger` is the session whose events are to come here."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        ledgers: dict[str, Ledger],
    ) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.set(zmq.LINGER, 0)
        self.socket.connect(address)
        self._ledgers = ledgers
        self.ledger: Ledger | None = None
        self.next_seq = 1
        self.after_seq: int | None = None
        """What the last hello has asked for."""
        self.answers: list[Event] = []
        self.told_again: set[int] = set()

    def say(self, op: str, body: bytes = b"", *, identity: object, **fields: object) -> None:
        header = msgpack.packb({"v": 2, "op": op, "id": identity, **fields})
        self.socket.send_multipart([header, body])

    def listen(self) -> None:
        """Take in whatever has arrived."""
        while self.socket.poll(0):
            raw, body = self.socket.recv_multipart()
            header = checked(raw)
            self._take(Event(header["type"], body, header, header.get("id"), header.get("seq")))

    def _take(self, event: Event) -> None:
        if event.seq is None:
            self._take_answer(event)
            return
        assert self.ledger is not None, f"{event} where no session is"
        self.ledger.add(event)
        if event.seq < self.next_seq:
            self.told_again.add(event.seq)
            return
        assert event.seq == self.next_seq, f"{event} instead of {self.next_seq}"
        self.next_seq += 1

    def _take_answer(self, event: Event) -> None:
        if event.kind == "superseded":
            assert self.ledger is not None, "superseded, and had no session"
            self.ledger = None
            return
        if event.kind == "error":
            missing = [name for name in ("code", "message", "hint") if not event.fields.get(name)]
            assert not missing, f"{event} has no {missing}"
        if event.kind == "welcome":
            self._welcome(event.fields)
        self.answers.append(event)

    def _welcome(self, fields: Mapping[str, Any]) -> None:
        """From now on the events of this session come here, all that are kept or were asked for."""
        name = fields["session"]
        ledger = self.ledger = self._ledgers.setdefault(name, Ledger(name))
        assert fields["first_seq"] == ledger.acknowledged + 1
        assert fields["next_seq"] > ledger.last_seq
        self.next_seq = fields["first_seq"] if self.after_seq is None else self.after_seq + 1

    def claim(self, identity: object) -> Event | None:
        """The answer to one request, if it is there."""
        for index, answer in enumerate(self.answers):
            if answer.id == identity:
                return self.answers.pop(index)
        return None

    def close(self) -> None:
        self.socket.close()
