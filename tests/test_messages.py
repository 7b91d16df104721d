"""Frames of every kind come in; a command, an event or a `ProtocolError` comes out."""

import json
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_runner.errors import MalformedBody, MalformedFrames, ProtocolError, UnknownCommand
from kernel_runner.messages import agent_wire, commands, events, session_wire
from kernel_runner.messages.options import TaskOptions
from tests.strategies import (
    ANYTHING,
    COMMANDS,
    EVENTS,
    IDS,
    JSON_BODIES,
    KEYS,
    OPS,
    POSITIONS,
    TEXTS,
)


def read_agent(frames: list[bytes]) -> commands.Command:
    op = agent_wire.op_of(frames)
    return agent_wire.parse_command(op, frames[1])


def read_session(frames: list[bytes]) -> commands.Command:
    header, body = session_wire.parse_header(frames)
    session_wire.id_of(header)
    return session_wire.parse_command(header, body)


@given(st.lists(st.binary(), max_size=4))
def test_any_frames_are_an_agent_command_or_a_protocol_error(frames: list[bytes]) -> None:
    with suppress(ProtocolError):
        read_agent(frames)


@given(OPS, st.binary() | JSON_BODIES)
def test_any_body_of_any_op_is_an_agent_command_or_a_protocol_error(op: str, body: bytes) -> None:
    with suppress(ProtocolError):
        read_agent([op.encode(), body])


@pytest.mark.parametrize("row", [-1_000, -1, 0, 1, 2, 1_000])
def test_a_completion_of_the_agent_has_its_cursor_in_the_code(row: int) -> None:
    for col in (-5, 0, 3, 1_000):
        request = {"code": "import os\nos.pa", "line": "os.pa", "row": row, "col": col}
        body = json.dumps(request).encode()

        try:
            command = agent_wire.parse_command("complete", body)
        except MalformedBody:
            assert row < 0 or col < 0
        else:
            assert isinstance(command, commands.Complete)
            assert 0 <= command.cursor <= len(command.code)


def test_a_completion_of_the_agent_counts_the_cursor_over_all_lines() -> None:
    request = {"code": "é\nos.pa", "line": "os.pa", "row": 1, "col": 5}

    command = agent_wire.parse_command("complete", json.dumps(request).encode())

    assert command == commands.Complete("é\nos.pa", 7)


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_json_of_any_depth_is_no_more_than_a_protocol_error(depth: int) -> None:
    body = b'{"type": "x", "data": ' + b"[" * depth + b"]" * depth + b"}"

    with suppress(ProtocolError):
        agent_wire.parse_command("event", body)


def test_agent_input_without_a_newline_gets_one() -> None:
    assert agent_wire.parse_command("input", b"yes") == commands.Input(b"yes\n")
    assert agent_wire.parse_command("input", b"yes\n") == commands.Input(b"yes\n")
    assert agent_wire.parse_command("input", b"") == commands.Input(b"\n")


@given(st.lists(st.binary(), max_size=4))
def test_any_frames_are_a_session_command_or_a_protocol_error(frames: list[bytes]) -> None:
    with suppress(ProtocolError):
        read_session(frames)


@given(OPS | ANYTHING, st.dictionaries(KEYS | TEXTS, ANYTHING, max_size=5), st.binary())
def test_any_header_is_a_session_command_or_a_protocol_error(
    op: object, fields: dict[str, object], body: bytes
) -> None:
    header = {"v": 2, "id": "r1", **fields, "op": op}
    with suppress(ProtocolError):
        read_session([msgpack.packb(header), body])


@pytest.mark.parametrize("key", ["op", "id", "v", "data", "args"])
def test_a_header_as_deep_as_msgpack_allows_is_no_more_than_a_protocol_error(key: str) -> None:
    deep = b"\x91" * 1_000 + b"\xc0"
    header = {"v": 2, "op": "event", "id": "r1", "type": "x"} | {key: 0}
    packed = msgpack.packb(header).replace(
        msgpack.packb(key) + b"\x00", msgpack.packb(key) + deep, 1
    )

    with suppress(ProtocolError):
        read_session([packed, b""])


@given(st.lists(st.binary(), max_size=3))
def test_any_frames_are_a_session_event_or_a_protocol_error(frames: list[bytes]) -> None:
    with suppress(ProtocolError):
        session_wire.decode_event(frames)


@given(
    st.sampled_from(sorted(events.EVENTS)) | ANYTHING,
    st.dictionaries(TEXTS | st.sampled_from(["data", "exitCode", "reason"]), ANYTHING, max_size=4),
)
def test_any_header_is_a_session_event_or_a_protocol_error(
    kind: object, fields: dict[str, object]
) -> None:
    with suppress(ProtocolError):
        session_wire.decode_event([msgpack.packb({**fields, "v": 2, "type": kind}), b""])


@given(COMMANDS, IDS)
def test_a_command_survives_the_session_wire(command: commands.Command, request_id: str) -> None:
    header, body = session_wire.parse_header(
        session_wire.encode_command(command, request_id=request_id)
    )

    assert session_wire.id_of(header) == request_id
    assert session_wire.parse_command(header, body) == command


@given(EVENTS, st.none() | IDS, st.none() | POSITIONS, POSITIONS)
def test_an_event_survives_the_session_wire(
    event: events.AnyEvent, request_id: str | None, seq: int | None, t_ns: int
) -> None:
    frames = session_wire.encode_event(event, request_id=request_id, seq=seq, t_ns=t_ns)

    assert session_wire.decode_event(frames) == session_wire.Received(event, request_id, seq, t_ns)


@given(EVENTS)
def test_every_agent_event_is_two_frames_of_valid_json(event: events.AnyEvent) -> None:
    frames = agent_wire.encode_event(event)

    if frames is not None:
        kind, body = frames
        if kind not in (b"stdout", b"stderr", b"status", b"html"):
            json.loads(body.decode())


NASTY: dict[str, object] = {"large": 2**70, "small": -(2**70), "half": "\ud800"}


def _deep(depth: int) -> object:
    value: object = None
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "event",
    [
        events.Media({}),
        events.Media({"text/plain": "\ud800"}, {"x": NASTY}),
        events.Media({"text/plain": "x"}, {"deep": _deep(700)}),
        events.Log("info", "now", "x", "\udcff"),
        events.Finished(
            "finished", 1, "error", traceback=events.ErrorDetails("E", "\ud800", [NASTY])
        ),
        events.Completion(["\ud800"]),
        events.Files(".", [events.FileEntry("\udcff", "file", 0, 0, 0.0)]),
    ],
    ids=lambda event: str(event)[:30].encode(errors="replace").decode(),
)
def test_what_user_code_shows_can_be_sent_and_read_in_both_dialects(
    event: events.AnyEvent,
) -> None:
    agent_frames = agent_wire.encode_event(event)
    received = session_wire.decode_event(
        session_wire.encode_event(event, request_id="r1", seq=1, t_ns=1)
    )

    assert received.event.type == event.type
    for frame in agent_frames or ():
        frame.decode()


def test_of_several_representations_the_agent_gets_one() -> None:
    shown = events.Media({"text/plain": "x", "image/png": b"\x89PNG"})

    assert agent_wire.encode_event(shown) == [
        b"media",
        b'{"type": "image/png", "data": "data:image/png;base64,iVBORw=="}',
    ]
    assert agent_wire.encode_event(events.Media({"text/html": "<b>", "text/plain": "x"})) == [
        b"html",
        b"<b>",
    ]


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("complete", b"completion"),
        ("start-service", b"service-result"),
        ("start-model-service", b"model-service-result"),
        ("get-apps", b"apps-result"),
        ("input", b"log"),
        ("no-such-op", b"log"),
    ],
)
def test_a_refusal_reaches_the_agent_as_the_answer_it_waits_for(op: str, kind: bytes) -> None:
    frames = agent_wire.encode_event(events.Refused(op, "bad-request", "no"))

    assert frames is not None
    assert frames[0] == kind


@pytest.mark.parametrize("bad_id", [None, "", "x" * 65, 7, b"r1", ["r1"]])
def test_an_id_is_a_text_of_1_to_64_characters(bad_id: object) -> None:
    with pytest.raises(MalformedFrames):
        session_wire.id_of({"id": bad_id})


@pytest.mark.parametrize("version", [None, 1, 3, "2"])
def test_another_version_of_the_session_dialect_is_refused(version: object) -> None:
    with pytest.raises(MalformedBody, match="v has to be 2"):
        session_wire.parse_command({"v": version, "op": "status", "id": "r1"}, b"")


@pytest.mark.parametrize(
    "field",
    [{"id": ["r1"]}, {"id": b"r1"}, {"seq": "1"}, {"seq": {}}, {"t_ns": None}, {"t_ns": [1]}],
    ids=str,
)
def test_an_event_with_an_id_or_a_number_that_is_none_is_refused(field: dict[str, object]) -> None:
    header = msgpack.packb({"v": 2, "type": "ok", "t_ns": 1, **field})

    with pytest.raises(MalformedBody):
        session_wire.decode_event([header, b""])


def packed_event(data: object) -> list[bytes]:
    return [msgpack.packb({"v": 2, "op": "event", "id": "r1", "type": "x", "data": data}), b""]


def test_a_header_has_no_extension_types_and_a_time_stamp_is_its_seconds() -> None:
    with pytest.raises(MalformedFrames):
        read_session(packed_event([msgpack.ExtType(5, b"x")]))

    stamped = read_session(packed_event(msgpack.Timestamp(1, 500_000_000)))

    assert stamped == commands.HostEvent("x", 1.5)


def test_an_unknown_op_is_told_from_a_malformed_one() -> None:
    with pytest.raises(UnknownCommand):
        session_wire.parse_command({"v": 2, "op": "dance", "id": "r1"}, b"")
    with pytest.raises(UnknownCommand):
        agent_wire.parse_command("dance", b"")


@pytest.mark.parametrize("op", ["code", "status", "cancel"])
def test_a_misspelt_field_is_an_error_and_not_ignored(op: str) -> None:
    header = {"v": 2, "op": op, "id": "r1", "no_such_field": 1}

    with pytest.raises(MalformedBody, match="no_such_field"):
        session_wire.parse_command(header, b"")


@pytest.mark.parametrize(
    "tty",
    [True, 0, 1, "", {"rows": 24}, {"rows": 0, "cols": 80}, {"rows": 24, "cols": 65_536}, [24, 80]],
)
def test_a_terminal_without_a_size_is_refused(tty: object) -> None:
    with pytest.raises(MalformedBody):
        session_wire.parse_command({"v": 2, "op": "exec", "id": "r1", "tty": tty}, b"")


def test_a_cursor_before_the_code_is_refused() -> None:
    for op in ("complete", "inspect"):
        with pytest.raises(MalformedBody):
            session_wire.parse_command({"v": 2, "op": op, "id": "r1", "cursor": -1}, b"x")


def test_stdin_on_the_wire_is_a_mode_or_the_bytes() -> None:
    header = {"v": 2, "op": "exec", "id": "r1", "stdin": b"abc"}

    command = session_wire.parse_command(header, b"cat")

    assert command == commands.Execute("cat", TaskOptions(stdin_bytes=b"abc"))
