"""Valid and invalid messages in any order come in; the rules of docs/protocol.md hold after each.

KERNEL_RUNNER_FUZZ_EXAMPLES says how many conversations are had, other ones each time; else it is
always the same few.
"""

import asyncio
import itertools
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgpack
import pytest
import zmq
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from kernel_runner.messages import commands
from kernel_runner.messages.options import TaskOptions
from tests.protocol_machine import Asked, Connection, Ledger
from tests.running import runner
from tests.strategies import ANYTHING, FIELDS
from tests.wire import FAILURE_SECONDS, FINISHES, Event

Value = TypeVar("Value")

EXAMPLES: Final = os.environ.get("KERNEL_RUNNER_FUZZ_EXAMPLES")
SETTINGS: Final = settings(
    max_examples=int(EXAMPLES or 100),
    stateful_step_count=50,
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    print_blob=EXAMPLES is not None,
    # what fails by waiting takes long to be made shorter
    phases=(Phase.generate, Phase.shrink) if EXAMPLES else (Phase.generate,),
    suppress_health_check=list(HealthCheck),
)

CONNECTIONS: Final = 3
MAX_SESSIONS: Final = 4
MAX_ASKING: Final = 2
MAX_QUEUE: Final = 6
# so little that most of what is printed is read back from the disk
OPTIONS: Final = (f"--max-queue-length={MAX_QUEUE}", "--max-pending-bytes=8192")
SLOTS: Final = st.integers(0, CONNECTIONS - 1)
PICKS: Final = st.integers(0, 1_000)

BAD_FRAMES: Final[dict[str, list[bytes]]] = {
    "one": [b"one"],
    "ten": [b"x"] * 10,
    "empty": [b"", b""],
    "no msgpack": [b"\xc1", b""],
    "cut": [msgpack.packb({"v": 2, "op": "status", "id": "x"})[:-1], b""],
    "two headers": [msgpack.packb({"v": 2, "op": "status", "id": "x"}) * 2, b""],
    "a list": [msgpack.packb([2, "status", "x"]), b""],
    "numbers as keys": [msgpack.packb({1: 2}), b""],
    "too deep": [b"\x91" * 2_000, b""],
    "an extension": [msgpack.packb({"v": 2, "id": msgpack.ExtType(3, b"x")}), b""],
}
BAD_IDS: Final[st.SearchStrategy[object]] = st.sampled_from(
    [None, 7, b"r1", "", "x" * 65, "x" * 100_000, ["r1"], {}]
)
BAD_FIELDS: Final = st.sampled_from(
    [{"v": 1}, {"v": None}, {"op": "dance"}, {"op": None}, {"op": ["exec"]}, {"surprise": 1}]
)
BAD_OPTIONS: Final = st.sampled_from(
    [
        *({"surprise": 1}, {"args": "x"}, {"args": [1]}, {"stdin": "often"}, {"stdin": 7}),
        *({"limits": {"wall_s": "x"}}, {"limits": {"no": 1}}, {"env": {"A": 1}}, {"run": 1}),
        *({"limits": {"wall_s": -1}}, {"tty": True}, {"tty": {"rows": 0, "cols": 1}}),
    ]
)
BAD_HELLOS: Final = st.sampled_from(
    [{"session": 7}, {"session": "nobody's"}, {"after_seq": 0}, {"after_seq": "x"}, {"now": True}]
)
BAD_IMMEDIATE: Final = st.sampled_from(
    [
        *(("ack", {"seq": "x"}), ("ack", {}), ("cancel", {}), ("cancel", {"target": "nobody"})),
        *(("interrupt", {"target": "nobody"}), ("signal", {"name": "NONE", "target": "nobody"})),
        *(("resize", {"rows": 0, "cols": 1}), ("complete", {"cursor": -1}), ("download", {})),
        *(("upload", {"path": "../x"}), ("upload", {"path": "/etc/x"}), ("upload", {"path": ""})),
        *(
            ("download", {"path": "none"}),
            ("download", {"path": "."}),
            ("download", {"path": "\0"}),
        ),
        *(("list-files", {"path": "none"}), ("list-files", {"path": 7})),
        ("shutdown-service", {"name": "none"}),
    ]
)
ANSWERED: Final[list[tuple[str, bytes, dict[str, Any], str]]] = [
    ("status", b"", {"echo": "x"}, "status"),
    ("queue", b"", {}, "queue"),
    ("complete", b"import o", {"cursor": 8}, "completion"),
    ("complete", b"x", {"cursor": 2**63}, "completion"),
    ("inspect", b"len", {"cursor": 3}, "inspection"),
    ("is-complete", b"if x:", {}, "completeness"),
    ("event", b"", {"type": "oom", "data": [1]}, "ok"),
    ("get-apps", b"", {}, "apps-result"),
    ("start-service", b"", {"name": "none"}, "service-result"),
    (
        "start-model-service",
        b"",
        {"name": "x", "model_path": "x", "service": {}},
        "model-service-result",
    ),
    ("list-files", b"", {}, "files"),
]
# what these do to others is for rules of their own
HARMLESS: Final = sorted(commands.COMMANDS.keys() - {"hello", "ack", "upload"})
HEADERS: Final = st.dictionaries(
    st.sampled_from([*FIELDS, *TaskOptions.__struct_fields__]), ANYTHING, max_size=3
)


class Conversations(RuleBasedStateMachine):
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

    # How it is asked ------------------------------------------------------------------------------

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

    # Sessions -------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.open_session(0)

    @rule(slot=SLOTS)
    def open_session(self, slot: int) -> None:
        known = len(self.ledgers)
        if known >= MAX_SESSIONS:
            return
        self.connection(slot).after_seq = None

        assert self.ask(slot, "hello").kind == "welcome"
        assert len(self.ledgers) == known + 1

    @rule(slot=SLOTS, which=PICKS, after=st.none() | PICKS)
    def take_over(self, slot: int, which: int, after: int | None) -> None:
        ledger = list(self.ledgers.values())[which % len(self.ledgers)]
        kept = ledger.last_seq - ledger.acknowledged + 1
        after_seq = None if after is None else ledger.acknowledged + after % kept
        self.say_hello(slot, ledger, after_seq)

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

    @rule(slot=SLOTS, fields=BAD_HELLOS)
    def say_hello_wrongly(self, slot: int, fields: dict[str, Any]) -> None:
        assert self.refused(slot, "hello", **fields) in ("no-session", "bad-request")

    @rule(slot=SLOTS, which=PICKS, far=st.sampled_from([-(2**63), -7, -1, 1_000, 2**64 - 1]))
    def say_hello_with_a_wrong_number(self, slot: int, which: int, far: int) -> None:
        ledger = list(self.ledgers.values())[which % len(self.ledgers)]
        after_seq = far if abs(far) > 1_000 else ledger.acknowledged + far
        code = self.refused(slot, "hello", session=ledger.name, after_seq=after_seq)
        assert code == ("forgotten" if far < 0 else "unknown-seq")

    @rule(slot=SLOTS)
    def disconnect(self, slot: int) -> None:
        if (connection := self.connections.pop(slot, None)) is not None:
            connection.close()

    @rule(member=PICKS, back=PICKS)
    def acknowledge(self, member: int, back: int) -> None:
        slot = self.member(member)
        connection = self.connection(slot)
        if (ledger := connection.ledger) is None:
            assert self.refused(slot, "ack", seq=0) == "no-session"
            return
        seq = max(0, connection.next_seq - 1 - back % 10)
        assert self.ask(slot, "ack", seq=seq).kind == "ok"
        ledger.acknowledged = max(ledger.acknowledged, seq)

    @rule(slot=SLOTS, seq=st.sampled_from([-(2**63), -1, 10_000, 2**64 - 1]))
    def acknowledge_what_was_not_sent(self, slot: int, seq: int) -> None:
        known = self.connection(slot).ledger is not None
        assert self.refused(slot, "ack", seq=seq) == ("unknown-seq" if known else "no-session")

    # What waits in line ---------------------------------------------------------------------------

    @rule(
        member=PICKS,
        op=st.sampled_from(["clean", "build", "exec", "code"]),
        count=st.sampled_from([1, 1, 1, 2, MAX_QUEUE + 2]),
        last=st.sampled_from([0, 0, 0, 20_000]),
    )
    def run(self, member: int, op: str, count: int, last: int) -> None:
        slot = self.member(member)
        if self.connection(slot).ledger is None:
            assert self.refused(slot, op, b"true") == "no-session"
            return
        burst = []
        for _ in range(count):
            lines = [f"w{next(self.numbers)}", *map(str, range(1, last + 1))]
            asked = self.new(slot, "".join(f"{line}\n" for line in lines).encode())
            asked.may_be_full = self.may_be_full(count)
            shell = f"echo {lines[0]}; seq {last}"
            python = f"print('{lines[0]}', *range(1, {last + 1}), sep='\\n')"
            self.enqueue(slot, op, (python if op == "code" else shell).encode(), asked)
            burst.append(asked)
        for asked in burst:
            self.placed(asked)

    @rule(member=PICKS, op=st.sampled_from(["exec", "code"]))
    def run_what_asks(self, member: int, op: str) -> None:
        slot = self.member(member)
        asking = sum(one.asks for one in self.unfinished())
        if self.connection(slot).ledger is None or asking >= MAX_ASKING:
            return
        body = b"echo up; read line; echo $line" if op == "exec" else b"print('up'); print(input())"
        asked = self.new(slot, b"up\non\n")
        asked.asks, asked.may_be_full = True, self.may_be_full(1)
        self.enqueue(slot, op, body, asked)
        self.placed(asked)

    @rule(member=PICKS, op=st.sampled_from(["build", "exec", "code"]), options=BAD_OPTIONS)
    def run_with_bad_options(self, member: int, op: str, options: dict[str, Any]) -> None:
        slot = self.member(member)
        if self.connection(slot).ledger is None:
            assert self.refused(slot, op, b"true", **options) in ("bad-request", "no-session")
            return
        asked = self.new(slot)
        asked.is_bad = True
        self.enqueue(slot, op, b"true", asked, **options)
        self.until(lambda: asked.finish)

    @rule(member=PICKS, which=PICKS, options=st.just({}) | BAD_OPTIONS)
    def send_the_same_again(self, member: int, which: int, options: dict[str, Any]) -> None:
        slot = self.member(member)
        connection = self.connection(slot)
        if (ledger := connection.ledger) is None or not ledger.asked:
            return
        asked = list(ledger.asked.values())[which % len(ledger.asked)]
        kept = ledger.kept_of(asked.identity)
        was_finished = asked.finish is not None
        connection.told_again.clear()
        while connection.claim(asked.identity):
            pass  # that it waits was told before, too
        connection.say("exec", b"echo again", identity=asked.identity, **options)
        if kept:
            self.until(lambda: kept <= connection.told_again)
        elif was_finished:
            assert self.until(partial(connection.claim, asked.identity)).kind == "error"
        else:
            answer = self.until(lambda: connection.claim(asked.identity) or asked.finish)
            assert answer.kind == "accepted" or answer is asked.finish, str(answer)

    # What is served at once -----------------------------------------------------------------------

    @rule(slot=SLOTS, which=st.integers(0, len(ANSWERED) - 1))
    def ask_for_an_answer(self, slot: int, which: int) -> None:
        op, body, fields, kind = ANSWERED[which]
        assert self.ask(slot, op, body, **fields).kind == kind

    @rule(slot=SLOTS, count=st.sampled_from([2, 100]))
    def ask_without_listening(self, slot: int, count: int) -> None:
        connection = self.connection(slot)
        asked = [f"i{next(self.numbers)}" for _ in range(count)]
        for identity in asked:
            connection.say("status", identity=identity)
        for identity in asked:
            assert self.until(partial(connection.claim, identity)).kind == "status"

    @rule(slot=SLOTS, bad=BAD_IMMEDIATE)
    def ask_for_what_cannot_be(self, slot: int, bad: tuple[str, dict[str, Any]]) -> None:
        op, fields = bad
        self.refused(slot, op, **fields)

    @rule(slot=SLOTS, frames=st.sampled_from(sorted(BAD_FRAMES)))
    def send_what_is_no_message(self, slot: int, frames: str) -> None:
        connection = self.connection(slot)
        connection.socket.send_multipart(BAD_FRAMES[frames])
        answer = self.until(lambda: connection.claim(None))
        assert answer.fields.get("code") == "bad-request"

    @rule(slot=SLOTS, op=st.sampled_from(["status", "exec", "hello"]), identity=BAD_IDS)
    def send_a_bad_id(self, slot: int, op: str, identity: object) -> None:
        connection = self.connection(slot)
        connection.say(op, identity=identity)
        answer = self.until(lambda: connection.claim(None))
        assert answer.fields.get("code") == "bad-request"

    @rule(slot=SLOTS, fields=BAD_FIELDS)
    def send_a_bad_field(self, slot: int, fields: dict[str, Any]) -> None:
        identity = f"i{next(self.numbers)}"
        connection = self.connection(slot)
        header = {"v": 2, "op": "status", "id": identity} | fields
        connection.socket.send_multipart([msgpack.packb(header), b""])
        answer = self.until(lambda: connection.claim(identity))
        assert answer.kind == "error"

    @rule(slot=SLOTS, op=st.sampled_from(HARMLESS), fields=HEADERS, body=st.binary(max_size=9))
    def send_anything(self, slot: int, op: str, fields: dict[str, Any], body: bytes) -> None:
        if op not in commands.QUEUED_OPS:
            self.disturb(slot, op, body, **fields)
            return
        if self.connection(slot).ledger is None:
            self.refused(slot, op, b"true", **fields)
            return
        asked = self.new(slot)
        asked.may_be_full = self.may_be_full(1)
        self.enqueue(slot, op, b"true", asked, **fields)
        self.until(lambda: asked.kinds)
        asked.is_bad = asked.kinds[0] in FINISHES and not asked.was_full
        self.placed(asked)

    @rule(slot=SLOTS, op=st.sampled_from(["input", "eof"]))
    def feed(self, slot: int, op: str) -> None:
        answer = self.ask(slot, op, b"on\n") if op == "input" else self.disturb(slot, op)
        if answer.kind != "ok":
            assert answer.fields["code"] in ("no-prompt", "input-full")

    @rule(slot=SLOTS, op=st.sampled_from(["interrupt", "cancel"]), which=PICKS, force=st.booleans())
    def stop_one(self, slot: int, op: str, which: int, force: bool) -> None:
        if not (unfinished := self.unfinished()):
            return
        target = unfinished[which % len(unfinished)].identity
        fields: dict[str, Any] = {"force": True} if force and op == "interrupt" else {}
        answer = self.disturb(slot, op, identity=target, target=target, **fields)
        if answer.kind != "ok":
            assert answer.fields["code"] in ("not-running", "not-found")

    @rule(slot=SLOTS, op=st.sampled_from(["interrupt", "signal"]))
    def stop_what_runs(self, slot: int, op: str) -> None:
        fields: dict[str, Any] = {"name": "TERM"} if op == "signal" else {}
        answer = self.disturb(slot, op, **fields)
        assert answer.kind == "ok" or answer.fields["code"] == "not-running"

    @rule(slot=SLOTS, name=st.sampled_from(["a", "b/c", "b/d/e"]), data=st.binary(max_size=99))
    def upload(self, slot: int, name: str, data: bytes) -> None:
        assert self.ask(slot, "upload", data, path=name).kind == "ok"
        self.files[name] = data

    @rule(slot=SLOTS, which=PICKS)
    def download(self, slot: int, which: int) -> None:
        if not self.files:
            return
        name = sorted(self.files)[which % len(self.files)]
        answer = self.ask(slot, "download", path=name)
        assert (answer.kind, answer.body) == ("file", self.files[name])

    # What holds -----------------------------------------------------------------------------------

    @invariant()
    def the_runner_answers(self) -> None:
        status = self.ask(min(self.connections, default=0), "status")
        assert status.fields["state"] in ("initializing", "idle", "busy")

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


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A runner's socket."""
    folder: Path = tmp_path_factory.mktemp("machine")
    with asyncio.Runner() as loop:
        running = runner(folder, "python", *OPTIONS)
        started = loop.run(running.__aenter__())
        yield started.addresses["session"]
        loop.run(running.__aexit__(None, None, None))


@pytest.mark.slow
@pytest.mark.timeout(3_600 if EXAMPLES else 300)
def test_any_messages_in_any_order_keep_the_rules(address: str) -> None:
    Conversations.address = address
    run_state_machine_as_test(Conversations, settings=SETTINGS)
