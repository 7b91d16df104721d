"""Valid and invalid messages in any order come in; the rules of docs/protocol.md hold after each.

KERNEL_RUNNER_FUZZ_EXAMPLES says how many conversations are had, other ones each time; else it is
always the same few.
"""

import asyncio
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from kernel_runner.messages import commands
from tests.odd_messages import (
    ANSWERED,
    BAD_FIELDS,
    BAD_FRAMES,
    BAD_HELLOS,
    BAD_IDS,
    BAD_IMMEDIATE,
    BAD_OPTIONS,
    HARMLESS,
    HEADERS,
)
from tests.protocol_talk import CONNECTIONS, MAX_QUEUE, Talk
from tests.running import runner
from tests.wire import FINISHES

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

MAX_SESSIONS: Final = 4
MAX_ASKING: Final = 2
# so little that most of what is printed is read back from the disk
OPTIONS: Final = (f"--max-queue-length={MAX_QUEUE}", "--max-pending-bytes=8192")
SLOTS: Final = st.integers(0, CONNECTIONS - 1)
PICKS: Final = st.integers(0, 1_000)


class Conversations(Talk):
    """Each rule is one thing that a client can do."""

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
