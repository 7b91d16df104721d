"""The types of the session dialect in; JSON Schemas of the headers of requests and events out.

A header is msgpack.  What is bytes there, and not text, is here a string of `contentEncoding`
base64.  `x-body` says what the body of the message is: `text` in UTF-8, `bytes`, or `empty`.
"""

from collections.abc import Collection
from typing import Any, Final, TypeAlias

import msgspec

from kernel_runner.messages import commands, events
from kernel_runner.messages.options import TaskOptions
from kernel_runner.messages.session_wire import MAX_ID_CHARACTERS, VERSION

Schema: TypeAlias = dict[str, Any]
Kind: TypeAlias = type[commands.Command] | type[events.AnyEvent]

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
BYTES: Final = {"type": "string", "contentEncoding": "base64"}


def of_requests() -> Schema:
    """One definition for each op, of its name."""
    kinds = commands.COMMANDS
    parts = _parts([*kinds.values(), TaskOptions])
    options = parts[TaskOptions.__name__]
    del options["additionalProperties"]  # the header that it is a part of has more
    del options["properties"]["stdin_bytes"]
    options["properties"]["stdin"] = {"anyOf": [options["properties"]["stdin"], BYTES]}
    headers = {op: _request(kind, parts[kind.__name__]) for op, kind in kinds.items()}
    return _document("The header of a request", headers, parts, {*kinds.values()})


def of_events() -> Schema:
    """One definition for each type of event, of its name."""
    kinds = events.EVENTS
    parts = _parts([_Media, *({*kinds.values()} - {events.Media})])
    parts["Media"] = parts.pop(_Media.__name__)
    either = {"anyOf": [{"type": "string"}, BYTES]}
    parts["Media"]["properties"]["data"]["additionalProperties"] = either
    headers = {name: _event(name, kind, parts[kind.__name__]) for name, kind in kinds.items()}
    return _document("The header of an event", headers, parts, {*kinds.values()})


class _Media(msgspec.Struct):
    """For msgspec text and bytes have no union."""

    data: dict[str, object]
    metadata: dict[str, object] = {}
    display_id: str | None = None
    update: bool = False


def _parts(kinds: Collection[type]) -> dict[str, Schema]:
    """What msgspec makes of each class, and of those that they are made of, by their names."""
    anything = {"description": "anything"}
    _, parts = msgspec.json.schema_components(
        kinds, schema_hook=lambda _: anything, ref_template="#/$defs/{name}"
    )
    return parts


def _request(kind: type[commands.Command], fields: Schema) -> Schema:
    envelope = {
        "v": {"const": VERSION},
        "op": {"const": kind.op},
        "id": {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARACTERS},
    }
    header = _header(kind, envelope, fields, needed=("v", "op", "id"))
    if not issubclass(kind, commands.QUEUED):
        return header
    del header["properties"]["options"], header["additionalProperties"]
    options = {"$ref": f"#/$defs/{TaskOptions.__name__}", "unevaluatedProperties": False}
    return header | options


def _event(name: str, kind: type[events.AnyEvent], fields: Schema) -> Schema:
    envelope: Schema = {
        "v": {"const": VERSION},
        "type": {"const": name},
        "t_ns": {"type": "integer", "minimum": 1},
        "id": {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARACTERS},
    }
    if not issubclass(kind, events.Answer):  # these are not numbered
        envelope["seq"] = {"type": "integer", "minimum": 1}
    return _header(kind, envelope, fields, needed=("v", "type", "t_ns"))


def _header(kind: Kind, envelope: Schema, fields: Schema, *, needed: Collection[str]) -> Schema:
    """The envelope and the fields, but for the one that travels in the body."""
    own = {name: fields["properties"][name] for name in fields["properties"]}
    own.pop(kind.body_field, None)
    required = {*fields["required"], *needed} - {kind.body_field}
    return {
        "description": kind.__doc__ or "",
        "type": "object",
        "properties": own | envelope,
        "required": sorted(required),
        "additionalProperties": False,
        "x-body": {None: "empty", "data": "bytes"}.get(kind.body_field, "text"),
    }


def _document(
    title: str, headers: dict[str, Schema], parts: dict[str, Schema], kinds: Collection[type]
) -> Schema:
    used = parts.keys() - {kind.__name__ for kind in kinds}
    return {
        "$schema": DRAFT,
        "title": title,
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in headers],
        "$defs": headers | {name: parts[name] for name in sorted(used)},
    }
