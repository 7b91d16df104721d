"""The session dialect (v2): a msgpack header and a raw body, to commands and events and back.

Both ends of the wire use this file: the runner reads requests and writes events, the client the
other way round.
"""

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias, cast

import msgpack
import msgspec

from kernel_runner.errors import MalformedBody, MalformedFrames, UnknownCommand
from kernel_runner.messages import commands, events
from kernel_runner.messages.options import TaskOptions
from kernel_runner.messages.request import Envelope

Frames: TypeAlias = Sequence[bytes]
Header: TypeAlias = Mapping[str, Any]

VERSION: Final = 2
MAX_ID_CHARACTERS: Final = 64
_ENVELOPE_KEYS: Final = frozenset(("v", "op", "id"))


def parse_header(frames: Frames) -> tuple[Header, bytes]:
    """The header map and the body; raises `MalformedFrames`."""
    if len(frames) != 2:
        raise MalformedFrames(f"{len(frames)} frames instead of 2")
    try:
        # a header is JSON with bytes in it: 1 makes a time stamp a float
        header = msgpack.unpackb(frames[0], ext_hook=_refuse, timestamp=1)
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedFrames(f"the header is not msgpack: {error}") from error
    if not isinstance(header, dict) or not all(isinstance(key, str) for key in header):
        raise MalformedFrames("the header is not a map with text keys")
    return header, frames[1]


def _refuse(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"it has an extension type, {code}")


def id_of(header: Header) -> str:
    """The id that the client chose; raises `MalformedFrames` when it is none."""
    match header.get("id"):
        case str(text) if 0 < len(text) <= MAX_ID_CHARACTERS:
            return text
        case other:
            given = reprlib.repr(other)
            raise MalformedFrames(f"id has to be a text of 1 to 64 characters, not {given}")


def parse_command(header: Header, body: bytes) -> commands.Command:
    """Read one command; raises `UnknownCommand` or `MalformedBody`."""
    op = header.get("op")
    if header.get("v") != VERSION:
        version = reprlib.repr(header.get("v"))
        raise MalformedBody(reprlib.repr(op), f"v has to be {VERSION}, not {version}")
    kind = commands.COMMANDS.get(op) if isinstance(op, str) else None
    if kind is None:
        raise UnknownCommand(op if isinstance(op, str) else reprlib.repr(op))
    fields = {key: value for key, value in header.items() if key not in _ENVELOPE_KEYS}
    try:
        return _convert(kind, fields, body)
    except UnicodeDecodeError as error:
        raise MalformedBody(kind.op, f"the body is not UTF-8 at byte {error.start}") from error
    except ValueError as error:  # msgspec.ValidationError is one
        raise MalformedBody(kind.op, str(error)) from error


def _convert(kind: type[commands.Command], fields: dict[str, Any], body: bytes) -> commands.Command:
    if kind.body_field is not None:
        fields[kind.body_field] = body if kind.body_field == "data" else body.decode()
    if issubclass(kind, commands.QUEUED):
        text = fields.pop(cast(str, kind.body_field))
        if not fields:
            return kind(text)
        if isinstance(fields.get("stdin"), bytes):
            fields["stdin_bytes"] = fields.pop("stdin")
        return kind(text, msgspec.convert(fields, TaskOptions))
    if unknown := fields.keys() - set(kind.__struct_fields__):
        raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}")
    return msgspec.convert(fields, kind)


def encode_event(
    event: events.AnyEvent, *, request_id: str | None, seq: int | None, t_ns: int
) -> Frames:
    """Header and body of one event; `seq` is absent in answers to a connection."""
    header: dict[str, Any] = {"v": VERSION, "type": event.type, "t_ns": t_ns}
    if request_id is not None:
        header["id"] = request_id
    if seq is not None:
        header["seq"] = seq
    if isinstance(event, events.Output):
        return [msgpack.packb(header), event.data]
    try:
        return _encode(header, event)
    except (ValueError, RecursionError):  # nested too deeply, which only these two can be
        match event:
            case events.Media():
                return _encode(header, msgspec.structs.replace(event, metadata={}))
            case events.Finished():
                return _encode(header, msgspec.structs.replace(event, traceback=None))
        raise


def _encode(header: Header, event: events.AnyEvent) -> Frames:
    fields = msgspec.to_builtins(event, builtin_types=(bytes,))
    body = fields.pop(event.body_field) if event.body_field else b""
    return [_pack({**header, **fields}), body]


def _pack(header: Header) -> bytes:
    """What user code shows may hold lone surrogates and numbers of more than 64 bits."""
    packed: bytes = msgpack.packb(header, unicode_errors="backslashreplace", default=str)
    return packed


def encode_command(command: commands.Command, *, request_id: str) -> Frames:
    """Header and body of one command, as the client sends it."""
    fields = msgspec.to_builtins(command, builtin_types=(bytes,))
    options = fields.pop("options", {}) if isinstance(command, commands.QUEUED) else {}
    if "stdin_bytes" in options:
        options["stdin"] = options.pop("stdin_bytes")
    body = fields.pop(command.body_field) if command.body_field else b""
    header = {"v": VERSION, "op": command.op, "id": request_id, **fields, **options}
    return [msgpack.packb(header), body.encode() if isinstance(body, str) else body]


Received: TypeAlias = Envelope
"""One event as the client sees it: `seq` is None in answers to a connection."""


def decode_event(frames: Frames) -> Received:
    """Read one event; raises `MalformedFrames` or `MalformedBody`."""
    header, body = parse_header(frames)
    fields = dict(header)
    name, version = fields.pop("type", None), fields.pop("v", None)
    if version != VERSION:
        raise MalformedBody("event", f"v has to be {VERSION}, not {reprlib.repr(version)}")
    identity, seq, t_ns = fields.pop("id", None), fields.pop("seq", None), fields.pop("t_ns", 0)
    if not isinstance(identity, str | None) or not isinstance(seq, int | None):
        raise MalformedBody("event", "id has to be a text and seq a number")
    if not isinstance(t_ns, int):
        raise MalformedBody("event", f"t_ns has to be a number, not {reprlib.repr(t_ns)}")
    kind = events.EVENTS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise MalformedBody("event", f"unknown type {reprlib.repr(name)}")
    if kind.body_field is not None:
        fields[kind.body_field] = body
    if kind in (events.Output, events.Finished):
        fields["type"] = name
    try:
        event = _read_media(fields) if kind is events.Media else msgspec.convert(fields, kind)
    except ValueError as error:
        raise MalformedBody(str(name), str(error)) from error
    return Received(event, identity, seq, t_ns)


def _read_media(fields: Header) -> events.Media:
    """By hand: msgspec does not tell text and bytes apart in a union."""
    data, metadata = fields.get("data"), fields.get("metadata", {})
    if not isinstance(data, dict) or not isinstance(metadata, dict):
        raise ValueError("data and metadata have to be maps")
    if not all(isinstance(content, str | bytes) for content in data.values()):
        raise ValueError("each representation has to be text or bytes")
    display_id, update = fields.get("display_id"), fields.get("update", False)
    if not isinstance(display_id, str | None) or not isinstance(update, bool):
        raise ValueError("display_id has to be text, and update true or false")
    is_result = fields.get("is_result") is True
    return events.Media(data, metadata, display_id, update, is_result)
