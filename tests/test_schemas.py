"""The schemas of docs/schemas and what is on the wire come in; they say the same."""

import json
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kernel_runner.errors import ProtocolError
from kernel_runner.messages import commands, events, session_wire
from kernel_runner.messages.options import TaskOptions
from tests import schemas, wire
from tests.strategies import ANYTHING, COMMANDS, EVENTS, FIELDS, IDS
from tests.transcripts import player

OPS = sorted(commands.COMMANDS)
NAMES = sorted(path.stem for path in player.FOLDER.glob("*.txt"))
TRANSCRIPTS = {name: one for name in NAMES if "session" in (one := player.read(name)).dialects}
KEYS = st.sampled_from([*FIELDS, *TaskOptions.__struct_fields__])


@pytest.mark.parametrize("direction", ["requests", "events"])
def test_the_files_say_what_the_types_say_or_make_record_writes_them_anew(direction: str) -> None:
    text = (schemas.FOLDER / f"{direction}.json").read_text()

    Draft202012Validator.check_schema(json.loads(text))
    assert text == schemas.text_of(direction), "stale: make record"


@given(COMMANDS, IDS)
def test_every_request_of_the_client_fits_its_schema(
    command: commands.Command, request_id: str
) -> None:
    header, _ = session_wire.encode_command(command, request_id=request_id)

    assert schemas.problems_of("requests", msgpack.unpackb(header)) == []


@given(EVENTS, st.none() | IDS)
def test_every_event_of_the_runner_fits_its_schema(
    event: events.AnyEvent, request_id: str | None
) -> None:
    seq = None if isinstance(event, events.Answer) else 1
    header, _ = session_wire.encode_event(event, request_id=request_id, seq=seq, t_ns=1)

    assert schemas.problems_of("events", msgpack.unpackb(header)) == []


@given(st.sampled_from(OPS), st.dictionaries(KEYS, ANYTHING, max_size=3), ANYTHING | st.just("r1"))
def test_the_runner_takes_what_fits_the_schema_and_nothing_else(
    op: str, fields: dict[str, object], identity: object
) -> None:
    header = msgpack.unpackb(msgpack.packb({**fields, "v": 2, "op": op, "id": identity}))
    # what is in the body is not looked at here
    try:
        session_wire.id_of(header)
        session_wire.parse_command(header, b"")
    except ProtocolError:
        is_taken = False
    else:
        is_taken = True

    assert (schemas.problems_of("requests", header) == []) == is_taken


@pytest.mark.parametrize(
    ("direction", "header"),
    [
        ("requests", {"op": "status"}),
        ("requests", {"op": "status", "id": "x" * 65}),
        ("requests", {"op": "exec", "id": "r1", "stdin": "bytes"}),
        ("requests", {"op": "cancel", "id": "r1", "target": b"r0"}),
        ("requests", {"op": "no-such-op", "id": "r1"}),
        ("events", {"type": "ok", "t_ns": 1, "seq": 1}),
        ("events", {"type": "media", "t_ns": 1, "data": {"text/plain": 7}}),
        ("events", {"type": "stdout", "t_ns": 1, "data": b"in the header"}),
        ("events", {"type": ["ok"], "t_ns": 1}),
    ],
    ids=str,
)
def test_what_does_not_fit_is_told(direction: schemas.Direction, header: dict[str, object]) -> None:
    assert schemas.problems_of(direction, {"v": 2} | header) != []


def requests_of(transcript: player.Transcript) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Line, header and the answer that the transcript has for it."""
    lines = [text for _, text in transcript.lines]
    for line, answer in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("→ ") and not line.startswith("→ frames"):
            op, _, fields = player.said(line.removeprefix("→ "))
            yield line, {"v": 2, "op": op, "id": "r1", **fields}, answer


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_transcript_shows_requests_that_fit_the_schema_or_are_refused(name: str) -> None:
    for line, header, answer in requests_of(TRANSCRIPTS[name]):
        fits = schemas.problems_of("requests", header) == []
        is_refused = "bad-request" in answer or "unknown-op" in answer
        is_refused_for_its_body = is_refused and "\\xff" in line
        assert fits != is_refused or is_refused_for_its_body, line


def test_the_client_of_the_tests_checks_each_event_that_it_hears() -> None:
    good = {"v": 2, "type": "ok", "t_ns": 1, "id": "r1"}

    assert wire.checked(msgpack.packb(good)) == good
    with pytest.raises(AssertionError, match="surprise"):
        wire.checked(msgpack.packb(good | {"surprise": 1}))
