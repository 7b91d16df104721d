"""Requests of several connections come in; what the runner answers goes out, checked at the end.

The part of the machine in test_protocol_machine.py that has no rules.
"""

import itertools
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import zmq
from hypothesis.stateful import RuleBasedStateMachine

from tests.protocol_machine import Asked, Connection, Ledger
from tests.wire import FAILURE_SECONDS, Event

Value = TypeVar("Value")

CONNECTIONS: Final = 3
MAX_QUEUE: Final = 6


class Talk(RuleBasedStateMachine):
    """Some connections to one runner, each with a session or none."""

    numbers = itertools.count(1)

    address: str

    def __init__(self) -> None:
        super().__init__()
        self.context = zmq.Context()
        self.ledgers: dict[str, Ledger] = {}
        self.connections: dict[int, Connection] = {}
        self.line: list[Asked] = []
        """Everything that was accepted, in the order in which it was."""
        self.files: dict[str, bytes] = {}

    def until(self, what: Callable[[], Value | None]) -> Value:
        """Listen everywhere until `what` is true; its value."""
        deadline = time.monotonic() + FAILURE_SECONDS
        poller = zmq.Poller()
        for connection in self.connections.values():
            poller.register(connection.socket, zmq.POLLIN)
        while not (value := what()):
            left = deadline - time.monotonic()
            assert left > 0, "nothing came"
            poller.poll(int(left * 1_000) + 1)
            for connection in self.connections.values():
                connection.listen()
        return value

    def connection(self, slot: int) -> Connection:
        if slot not in self.connections:
            self.connections[slot] = Connection(self.context, self.address, self.ledgers)
        return self.connections[slot]

    def member(self, pick: int) -> int:
        """One of the connections that have a session, if there are any."""
        members = [slot for slot, one in self.connections.items() if one.ledger is not None]
        return members[pick % len(members)] if members else 0

    def ask(self, slot: int, op: str, body: bytes = b"", **fields: object) -> Event:
        """The answer to what is served at once."""
        identity = f"i{next(self.numbers)}"
        connection = self.connection(slot)
        connection.say(op, body, identity=identity, **fields)
        return self.until(lambda: connection.claim(identity))

    def refused(self, slot: int, op: str, body: bytes = b"", **fields: object) -> str:
        """The code of the error that answers."""
        answer = self.ask(slot, op, body, **fields)
        assert answer.kind == "error", str(answer)
        return str(answer.fields["code"])

    def unfinished(self) -> list[Asked]:
        return [asked for asked in self.line if asked.finish is None]

    def disturb(
        self,
        slot: int,
        op: str,
        body: bytes = b"",
        *,
        identity: str | None = None,
        **fields: object,
    ) -> Event:
        """Ask for what changes those that wait or run, all or these: if it is done, what they print
        is not known any more."""
        touched = [one for one in self.unfinished() if identity in (None, one.identity)]
        answer = self.ask(slot, op, body, **fields)
        if answer.kind == "ok":
            for asked in touched:
                asked.output = None
        return answer

    def enqueue(self, slot: int, op: str, body: bytes, asked: Asked, **options: object) -> None:
        """Send a request for the queue; its first event has to be awaited."""
        connection = self.connection(slot)
        assert connection.ledger is not None
        connection.ledger.asked[asked.identity] = asked
        connection.say(op, body, identity=asked.identity, **options)

    def placed(self, asked: Asked) -> None:
        self.until(lambda: asked.kinds)
        if asked.kinds[0] == "accepted":
            self.line.append(asked)

    def may_be_full(self, count: int) -> bool:
        """Whether so many more may be too many."""
        return len(self.unfinished()) + count > MAX_QUEUE

    def new(self, slot: int, output: bytes | None = None) -> Asked:
        """A request with an id that is new to its session, and is one of other sessions, too."""
        ledger = self.connection(slot).ledger
        return Asked(f"t{len(ledger.asked)}" if ledger is not None else "t0", output)

    def say_hello(self, slot: int, ledger: Ledger, after_seq: int | None) -> None:
        connection = self.connection(slot)
        others = [one for one in self.connections.values() if one is not connection]
        former = [one for one in others if one.ledger is ledger]
        connection.after_seq = after_seq
        fields: dict[str, Any] = {} if after_seq is None else {"after_seq": after_seq}
        welcome = self.ask(slot, "hello", session=ledger.name, **fields)

        assert welcome.kind == "welcome", str(welcome)
        self.until(lambda: connection.next_seq >= welcome.fields["next_seq"])
        self.until(lambda: not any(one.ledger is ledger for one in former))

    def teardown(self) -> None:
        try:
            self._end_well()
        finally:
            for connection in self.connections.values():
                connection.close()
            self.context.destroy(linger=0)

    def _end_well(self) -> None:
        """Whatever is left ends, and all of it was heard, in its order, by who asked for it."""
        for number, ledger in enumerate(self.ledgers.values()):
            self.say_hello(CONNECTIONS + number, ledger, ledger.last_seq)
        for number, ledger in enumerate(self.ledgers.values()):
            for asked in reversed(ledger.asked.values()):
                if asked.finish is None:
                    asked.output = None
                    self.ask(CONNECTIONS + number, "cancel", target=asked.identity)
        self.until(lambda: not self.unfinished())
        for ledger in self.ledgers.values():
            for asked in ledger.asked.values():
                asked.check()
        self._check_line()
        for slot, connection in self.connections.items():
            assert self.ask(slot, "queue").fields["waiting"] == []
            strays = [one for one in connection.answers if one.kind != "accepted"]
            assert strays == []

    def _check_line(self) -> None:
        """Each began after the one before had ended."""
        ran = [asked for asked in self.line if asked.started_ns]
        for former, latter in itertools.pairwise(ran):
            assert former.finished_ns <= latter.started_ns, f"{latter} was not behind {former}"
