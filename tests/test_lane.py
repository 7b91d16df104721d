"""Sequences of posts, blocks and departures come in; every event goes out once and in order."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel_runner.journal import MERGE_BYTES
from kernel_runner.lane import MAX_ANSWERS, MAX_SEEN_IDS, Lane, Session, at_once
from kernel_runner.messages import events
from kernel_runner.messages.request import Envelope
from tests.reader import Reader, stdout

FAILURE_SECONDS = 10.0


class LaneMachine(RuleBasedStateMachine):
    """A lane against a plain list: nothing is lost, doubled, reordered or miscounted."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = Session("s", 2_000, at_once)
        self.reader: Reader | None = None
        self.taken: list[Envelope] = []
        self.posted: list[tuple[str, str | None, bytes]] = []
        self.calls = 0

    @rule(data=st.binary(max_size=600), request_id=st.sampled_from(["a", "b"]))
    def post_output(self, data: bytes, request_id: str) -> None:
        self.lane.post(events.Output("stdout", data), request_id)
        self.posted.append(("stdout", request_id, data))

    @rule(request_id=st.sampled_from(["a", "b"]))
    def post_finish(self, request_id: str) -> None:
        self.lane.post(events.Finished("finished", 0, "completed"), request_id)
        self.posted.append(("finished", request_id, b""))

    @rule()
    def answer(self) -> None:
        self.lane.answer(events.Ok(), "x")
        self.posted.append(("ok", "x", b""))

    @rule(room=st.integers(0, 3))
    def attach(self, room: int) -> None:
        self.collect()
        self.reader = Reader()
        self.reader.room = room
        self.lane.attach(self.reader)

    @rule()
    def detach(self) -> None:
        self.collect()
        self.lane.detach()

    @precondition(lambda self: self.reader is not None)
    @rule()
    def vanish(self) -> None:
        assert self.reader is not None
        self.reader.gone = True

    @precondition(lambda self: self.reader is not None)
    @rule(room=st.integers(1, 5))
    def unblock(self, room: int) -> None:
        assert self.reader is not None
        self.reader.room = room
        self.lane.pump()

    @precondition(lambda self: self.lane.full)
    @rule()
    def ask_for_room(self) -> None:
        before = self.calls
        self.lane.when_room(self._count)
        assert self.calls == before

    def _count(self) -> None:
        self.calls += 1
        assert not self.lane.full

    def collect(self) -> None:
        if self.reader is not None:
            self.taken += self.reader.taken
            self.reader = None

    @invariant()
    def counts_what_waits(self) -> None:
        waiting = list(self.lane._pending)
        assert self.lane.pending == len(waiting)
        assert (self.lane._bytes == 0) == (not waiting)
        assert self.lane._answers == sum(kept.event.type == "ok" for kept in waiting)

    @invariant()
    def keeps_every_event_in_order(self) -> None:
        taken = [*self.taken, *(self.reader.taken if self.reader else [])]
        everything = [*taken, *self.lane._pending]
        assert merged(self.posted) == merged(
            [(e.event.type, e.id, getattr(e.event, "data", b"")) for e in everything]
        )
        numbers = [envelope.seq for envelope in everything]
        assert numbers == list(range(1, len(numbers) + 1))


def merged(pieces: list[tuple[str, str | None, bytes]]) -> list[tuple[str, str | None, bytes]]:
    """Neighbouring output of one request counts as one piece."""
    result: list[tuple[str, str | None, bytes]] = []
    for kind, request_id, data in pieces:
        if kind == "stdout" and result and result[-1][:2] == (kind, request_id):
            result[-1] = (kind, request_id, result[-1][2] + data)
        else:
            result.append((kind, request_id, data))
    return result


TestLane = LaneMachine.TestCase
TestLane.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.lists(st.binary(min_size=1, max_size=40_000), max_size=12))
def test_output_that_waits_is_put_together_byte_for_byte_in_bounded_pieces(
    pieces: list[bytes],
) -> None:
    lane, reader = Lane(10**9, at_once), Reader()
    for piece in pieces:
        lane.post(events.Output("stdout", piece), "r1")

    lane.attach(reader)

    sent = [e.event.data for e in reader.taken if isinstance(e.event, events.Output)]
    assert b"".join(sent) == b"".join(pieces)
    assert all(len(data) <= MERGE_BYTES for data in sent)


def test_output_of_two_streams_or_two_requests_is_not_put_together() -> None:
    lane, reader = Lane(10**9, at_once), Reader()
    lane.post(stdout("a"), "r1")
    lane.post(events.Output("stderr", b"b"), "r1")
    lane.post(events.Output("stderr", b"c"), "r2")

    lane.attach(reader)

    assert reader.kinds == ["stdout", "stderr", "stderr"]


def test_answers_that_nobody_reads_are_bounded_and_one_log_says_so() -> None:
    lane, reader = Lane(10**9, at_once), Reader()
    for number in range(MAX_ANSWERS + 500):
        lane.answer(events.Completion([str(number)]), f"c{number}")
        lane.answer(events.Ok(), f"o{number}")

    lane.attach(reader)

    assert reader.kinds.count("log") == 1
    assert len(reader.taken) == MAX_ANSWERS + 1
    last = [e.event for e in reader.taken if isinstance(e.event, events.Completion)][-1]
    assert last == events.Completion([str(MAX_ANSWERS + 499)])


def test_a_newer_answer_replaces_the_oldest_of_its_kind() -> None:
    lane, reader = Lane(10**9, at_once), Reader()
    lane.answer(events.Ok(), "first")
    for number in range(MAX_ANSWERS - 1):
        lane.answer(events.Completion([str(number)]), None)
    lane.answer(events.Completion(["new"]), None)

    lane.attach(reader)

    assert reader.taken[0].id == "first"
    assert events.Completion(["0"]) not in [e.event for e in reader.taken]


def test_output_and_finishes_are_never_replaced() -> None:
    lane, reader = Lane(10**9, at_once), Reader()
    for number in range(3):
        lane.post(events.Log("info", "now", "x", str(number)), "r1")
        lane.post(stdout("x"), "r1")
        lane.post(events.Finished("finished", 0, "completed"), "r1")
    for _ in range(MAX_ANSWERS // 2 + 100):
        lane.answer(events.Ok(), None)
        lane.answer(events.Log("warning", "now", "x", "idle"), None)

    lane.attach(reader)

    assert reader.kinds[:9] == ["log", "stdout", "finished"] * 3
    assert len(reader.taken) == 9 + MAX_ANSWERS + 1


def test_answers_and_logs_that_were_read_do_not_count() -> None:
    lane, reader = Lane(10**9, at_once), Reader()
    lane.attach(reader)

    for _ in range(MAX_ANSWERS * 2):
        lane.answer(events.Log("warning", "now", "x", "idle"), None)
        lane.answer(events.Ok(), None)

    assert reader.kinds == ["log", "ok"] * MAX_ANSWERS * 2


async def test_room_comes_when_half_of_what_waits_was_taken() -> None:
    lane, reader = Lane(10_000, at_once), Reader()
    reader.room = 0
    lane.attach(reader)
    for _ in range(20):
        lane.post(events.Finished("finished", 0, "completed"), None)
        lane.post(stdout("x" * 500), None)
    assert lane.full
    waiting = asyncio.create_task(lane.room())
    seen: list[int] = []
    lane.when_room(lambda: seen.append(lane.pending))

    while not seen:
        reader.room = 1
        lane.pump()

    async with asyncio.timeout(FAILURE_SECONDS):
        await waiting
    assert not lane.full
    assert 0 < seen[0] < 25


def test_a_session_remembers_its_ids_and_forgets_only_the_oldest() -> None:
    session = Session("s", 1_000, at_once)

    assert all(session.remember(str(number)) for number in range(MAX_SEEN_IDS + 1))

    assert not session.remember("1")
    assert session.remember("0")


def test_a_waiter_that_fills_the_lane_again_does_not_go_round_for_ever() -> None:
    lane, reader = Lane(300, at_once), Reader()
    calls: list[int] = []

    def refill() -> None:
        calls.append(1)
        lane.when_room(refill)

    lane.post(events.Started(), None)
    lane.post(events.Started(), None)
    lane.when_room(refill)

    lane.attach(reader)

    assert calls == [1]
