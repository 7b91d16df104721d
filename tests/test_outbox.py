"""Events for several connections come in; each goes to the right one, and waits while it must."""

import asyncio
import time

import pytest

from kernel_runner import sessions
from kernel_runner.errors import SessionError
from kernel_runner.lane import at_once
from kernel_runner.messages import events
from kernel_runner.messages.commands import Hello
from kernel_runner.outbox import IDLE_SECONDS, KEPT_SECONDS, Outbox
from kernel_runner.spool import Spool
from tests.reader import Reader, stdout

FAILURE_SECONDS = 10.0


async def test_flush_returns_when_every_event_was_taken() -> None:
    outbox, reader = Outbox(1_000, at_once, Spool(None, 0)), Reader(builtin_session="agent")
    session = outbox.session_of(reader)
    assert session is not None
    session.post(events.Started(), "r1")
    flushing = asyncio.create_task(outbox.flush())
    await asyncio.sleep(0)
    assert not flushing.done()
    assert outbox.pending == 1

    session.attach(reader)

    async with asyncio.timeout(FAILURE_SECONDS):
        await flushing
    assert outbox.pending == 0


def test_an_answer_goes_to_the_connection_that_asked_and_has_no_number() -> None:
    outbox, first, second = Outbox(1_000, at_once, Spool(None, 0)), Reader(), Reader()
    outbox.take_over(outbox.open_session(), first, None)

    outbox.answer(second, events.Ok(), "q1")

    assert first.taken == []
    assert [(e.event, e.id, e.seq) for e in second.taken] == [(events.Ok(), "q1", None)]


def test_whoever_takes_a_session_over_gets_what_is_kept_and_the_former_one_is_told() -> None:
    outbox, first, second = Outbox(10_000, at_once, Spool(None, 0)), Reader(), Reader()
    session = outbox.open_session()
    outbox.take_over(session, first, None)
    session.post(events.Started(), "r1")
    session.post(stdout("x"), "r1")
    session.acknowledge(1)

    outbox.take_over(session, second, None)
    session.post(events.Finished("finished", 0, "completed"), "r1")

    assert first.kinds == ["started", "stdout", "superseded"]
    assert [(e.event.type, e.seq) for e in second.taken] == [("stdout", 2), ("finished", 3)]
    assert outbox.session_of(first) is None
    assert outbox.session_of(second) is session


def test_a_client_that_says_what_it_has_gets_what_came_after() -> None:
    outbox, first, second = Outbox(10_000, at_once, Spool(None, 0)), Reader(), Reader()
    session = outbox.open_session()
    outbox.take_over(session, first, None)
    for name in ("a", "b", "c"):
        session.post(events.Started(), name)

    outbox.take_over(session, second, 2)

    assert [e.seq for e in first.taken] == [1, 2, 3, None]
    assert [(e.id, e.seq) for e in second.taken] == [("c", 3)]


async def test_the_events_of_one_request_are_sent_again_with_their_numbers() -> None:
    outbox, reader, other = Outbox(10_000, at_once, Spool(None, 0)), Reader(), Reader()
    session = outbox.open_session()
    outbox.take_over(session, reader, None)
    for name in ("a", "b", "a"):
        session.post(events.Started(), name)

    assert await outbox.send_again(other, session, "a")
    assert not await outbox.send_again(other, session, "c")

    assert [(e.id, e.seq) for e in other.taken] == [("a", 1), ("a", 3)]


def test_a_connection_has_one_session_at_a_time() -> None:
    outbox, reader = Outbox(10_000, at_once, Spool(None, 0)), Reader()
    old, new = outbox.open_session(), outbox.open_session()
    outbox.take_over(old, reader, None)
    outbox.take_over(new, reader, None)

    old.post(events.Started(), "old")
    new.post(events.Started(), "new")

    assert [e.id for e in reader.taken] == ["new"]
    assert old.pending == 1


def test_answers_for_a_connection_that_is_gone_are_dropped() -> None:
    outbox, reader = Outbox(1_000, at_once, Spool(None, 0)), Reader()
    reader.gone = True

    for _ in range(10):
        outbox.answer(reader, events.Ok(), None)

    assert outbox.pending == 0


def test_answers_that_wait_are_sent_when_there_is_room_again() -> None:
    outbox, reader = Outbox(1_000, at_once, Spool(None, 0)), Reader()
    reader.room = 0
    outbox.answer(reader, events.Ok(), "a")
    outbox.answer(reader, events.Ok(), "b")

    reader.room = 10
    outbox.pump()

    assert [e.id for e in reader.taken] == ["a", "b"]
    assert outbox.pending == 0


def test_session_names_cannot_be_guessed() -> None:
    outbox = Outbox(1_000, at_once, Spool(None, 0))

    names = {outbox.open_session().name for _ in range(100)}

    assert len(names) == 100
    assert all(len(name) == 32 for name in names)


def session_that_was_read(outbox: Outbox, reader: Reader, *, acknowledged: bool) -> str:
    session = outbox.open_session()
    outbox.take_over(session, reader, None)
    session.post(events.Started(), "r1")
    if acknowledged:
        session.acknowledge(1)
    return session.name


def test_sessions_that_nobody_reads_end_after_an_hour_or_after_a_day_with_events() -> None:
    outbox, gone = Outbox(10_000, at_once, Spool(None, 0)), Reader()
    empty = session_that_was_read(outbox, gone, acknowledged=True)
    keeping = session_that_was_read(outbox, gone, acknowledged=False)
    busy = session_that_was_read(outbox, gone, acknowledged=True)
    gone.gone = True
    start = time.monotonic()

    outbox.end_idle(start + IDLE_SECONDS - 10, {busy})
    at_first = [name for name in (empty, keeping, busy) if outbox.find_session(name)]
    outbox.end_idle(start + IDLE_SECONDS + 10, {busy})
    after_an_hour = [name for name in (empty, keeping, busy) if outbox.find_session(name)]
    outbox.end_idle(start + KEPT_SECONDS + 10, ())
    after_a_day = [name for name in (empty, keeping, busy) if outbox.find_session(name)]

    assert at_first == [empty, keeping, busy]
    assert after_an_hour == [keeping, busy]
    assert after_a_day == []


def test_a_session_whose_client_is_connected_lasts() -> None:
    outbox, reader = Outbox(10_000, at_once, Spool(None, 0)), Reader()
    name = session_that_was_read(outbox, reader, acknowledged=True)

    for days in range(1, 10):
        outbox.end_idle(time.monotonic() + days * KEPT_SECONDS, ())

    assert outbox.find_session(name) is not None
    assert reader.kinds[1:] == ["log"] * 9
    assert {envelope.seq for envelope in reader.taken[1:]} == {None}


def test_an_event_that_was_sent_does_not_grow_when_it_is_sent_again() -> None:
    outbox, first, second = Outbox(10_000, at_once, Spool(None, 0)), Reader(), Reader()
    session = outbox.open_session()
    outbox.take_over(session, first, None)
    session.post(stdout("one"), "r1")
    second.room = 0
    outbox.take_over(session, second, 0)

    session.post(stdout("two"), "r1")
    second.room = 10
    outbox.pump()

    assert [(e.seq, e.event) for e in second.taken] == [(1, stdout("one")), (2, stdout("two"))]


def test_there_are_only_so_many_sessions_and_unused_ones_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    outbox, gone = Outbox(10_000, at_once, Spool(None, 0)), Reader()
    empty = session_that_was_read(outbox, gone, acknowledged=True)
    keeping = session_that_was_read(outbox, gone, acknowledged=False)
    busy = session_that_was_read(outbox, gone, acknowledged=True)
    gone.gone = True
    with pytest.raises(SessionError, match="3 sessions are open") as refused:
        sessions.session_for(Hello(), outbox, {busy})

    monkeypatch.setattr(sessions, "CROWDED_SECONDS", 0.0)
    new = sessions.session_for(Hello(), outbox, {busy})

    assert refused.value.code == "too-many-sessions"
    left = [name for name in (empty, keeping, busy, new.name) if outbox.find_session(name)]
    assert left == [keeping, busy, new.name]
