"""The agent dialect (v1): two frames, op and body, to commands and events and back.

Both ends of the wire use this file: the runner reads commands and writes events, an agent's side
the other way round.
"""

import base64
import json
import reprlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgpack
import msgspec

from kernel_runner.errors import MalformedBody, MalformedFrames, UnknownCommand
from kernel_runner.messages import commands, events
from kernel_runner.messages.options import DEFAULT_OPTIONS

Frames: TypeAlias = Sequence[bytes]

MAX_ECHO_BYTES: Final = 64

MEDIA_PREFERENCE = (
    "text/html",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "image/gif",
    "application/pdf",
    "application/x-sorna-drawing",
    "text/latex",
    "text/markdown",
    "application/json",
    "text/plain",
)
"""Of several representations v1 gets the first of these that there is, else the first of all."""


def op_of(frames: Frames) -> str:
    """The op of a message; raises `MalformedFrames` when these are not two frames."""
    if len(frames) != 2:
        raise MalformedFrames(f"{len(frames)} frames instead of 2")
    try:
        return frames[0].decode("ascii")
    except UnicodeDecodeError:
        raise MalformedFrames(f"the op is not ASCII: {frames[0][:40]!r}") from None


def parse_command(op: str, body: bytes) -> commands.Command:
    """Read one command; raises `UnknownCommand` or `MalformedBody`."""
    if (parse := PARSERS.get(op)) is None:
        raise UnknownCommand(op)
    try:
        return parse(body)
    except UnicodeDecodeError as error:
        raise MalformedBody(op, f"the body is not UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:  # msgspec.ValidationError is a ValueError
        raise MalformedBody(op, str(error)) from error


class _CompletionRequest(msgspec.Struct):
    code: str = ""
    line: str = ""
    row: commands.Position = 0
    col: commands.Position = 0
    post: str = ""


def _parse_complete(body: bytes) -> commands.Complete:
    request = msgspec.json.decode(body, type=_CompletionRequest)
    lines = request.code.split("\n")
    if request.row >= len(lines) or not lines[request.row].startswith(request.line):
        return commands.Complete(request.line, min(request.col, len(request.line)))
    before = sum(len(line) + 1 for line in lines[: request.row])
    return commands.Complete(request.code, min(before + request.col, len(request.code)))


def _parse_status(body: bytes) -> commands.GetStatus:
    return commands.GetStatus(body[:MAX_ECHO_BYTES].decode(errors="replace") or None)


def _parse_input(body: bytes) -> commands.Input:
    body.decode()
    return commands.Input(body if body.endswith(b"\n") else body + b"\n")


PARSERS: dict[str, Callable[[bytes], commands.Command]] = {
    "clean": lambda body: commands.Clean(body.decode()),
    "build": lambda body: commands.Build(body.decode()),
    "exec": lambda body: commands.Execute(body.decode()),
    "code": lambda body: commands.Query(body.decode()),
    "input": _parse_input,
    "complete": _parse_complete,
    "interrupt": lambda body: commands.Interrupt(),
    "status": _parse_status,
    "event": lambda body: msgspec.json.decode(body, type=commands.HostEvent),
    "start-service": lambda body: msgspec.json.decode(body, type=commands.StartService),
    "shutdown-service": lambda body: commands.ShutdownService(msgspec.json.decode(body, type=str)),
    "get-apps": lambda body: commands.ListServices(body.decode()),
    "start-model-service": lambda body: msgspec.json.decode(body, type=commands.StartModelService),
}


def encode_event(event: events.AnyEvent) -> Frames | None:
    """The two frames of an event; None for one that this dialect does not have."""
    match event:
        case events.Output():
            return [event.type.encode(), event.data]
        case events.Media():
            return _encode_media(event)
        case events.Log():
            return _json("log", [event.level, event.time, event.logger, event.text])
        case events.Status():
            return [b"status", msgpack.packb(msgspec.to_builtins(event))]
        case events.Refused():
            return _encode_refusal(event)
        case (
            events.Finished()
            | events.WaitingInput()
            | events.Completion()
            | events.ServiceResult()
            | events.AppsResult()
            | events.ModelServiceResult()
        ):
            return _json(event.type, msgspec.to_builtins(event, str_keys=True))
        case _:
            return None


def _json(kind: str, body: object) -> Frames:
    text = json.dumps(_without_type(body), ensure_ascii=False)
    return [kind.encode(), text.encode(errors="backslashreplace")]


def _without_type(body: object) -> object:
    if isinstance(body, dict):
        return {key: value for key, value in body.items() if key != "type"}
    return body


def _encode_media(event: events.Media) -> Frames | None:
    if not event.data:
        return None
    mime = next((kind for kind in MEDIA_PREFERENCE if kind in event.data), next(iter(event.data)))
    data = event.data[mime]
    if mime == "text/html" and isinstance(data, str):
        return [b"html", data.encode(errors="backslashreplace")]
    if isinstance(data, bytes):
        data = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    return [b"media", json.dumps({"type": mime, "data": data}).encode()]


def _encode_refusal(event: events.Refused) -> Frames:
    """Whoever waits for a named answer gets one; for the rest there is the log."""
    match event.op:
        case "complete":
            return _json("completion", {"suggestions": []})
        case "start-service":
            return _json("service-result", {"status": "failed", "error": event.message})
        case "start-model-service":
            return _json("model-service-result", {"status": "failed", "error": event.message})
        case "get-apps":
            return _json("apps-result", {"status": "failed", "data": [], "error": event.message})
        case _:
            now = events.local_time(time.time())
            return _json("log", ["warning", now, "kernel_runner", event.message])


def encode_command(command: commands.Command) -> Frames:
    """Op and body of one command, as an agent sends it.

    Raises:
        MalformedBody: this dialect cannot say it.
    """
    if isinstance(command, commands.QUEUED) and command.options != DEFAULT_OPTIONS:
        raise MalformedBody(command.op, "the agent dialect has no options")
    try:
        return [command.op.encode(), _body_of(command)]
    except UnicodeEncodeError as error:
        what = f"character {error.start} is half of a surrogate pair"
        raise MalformedBody(command.op, what) from error


def _body_of(command: commands.Command) -> bytes:
    match command:
        case commands.Clean() | commands.Build() | commands.Execute():
            return command.script.encode()
        case commands.Query(code=code):
            return code.encode()
        case commands.Input(data=data):
            return data
        case commands.Complete():
            return _completion_body(command)
        case commands.Interrupt(target=None, force=False):
            return b""
        case commands.GetStatus(echo=echo):
            return (echo or "").encode()
        case commands.ListServices(name=name):
            return name.encode()
        case commands.ShutdownService(name=name):
            return json.dumps(name).encode()
        case commands.HostEvent() | commands.StartService() | commands.StartModelService():
            return json.dumps(msgspec.to_builtins(command)).encode()
        case _:
            raise MalformedBody(command.op, "the agent dialect has no such command")


def _completion_body(command: commands.Complete) -> bytes:
    before, after = command.code[: command.cursor], command.code[command.cursor :]
    start, post = before.rpartition("\n")[2], after.partition("\n")[0]
    row, col = before.count("\n"), len(start)
    line = start + post
    fields = {"code": command.code, "line": line, "row": row, "col": col, "post": post}
    return json.dumps(fields).encode()


def decode_event(frames: Frames) -> events.AnyEvent:
    """Read one event, as an agent does; raises `MalformedFrames` or `MalformedBody`."""
    op = op_of(frames)
    body = frames[1]
    try:
        match op:
            case "stdout" | "stderr":
                return events.Output(op, body)
            case "html":
                return events.Media({"text/html": body.decode()})
            case "media":
                shown = msgspec.json.decode(body, type=_Shown)
                return events.Media({shown.type: shown.data})
            case "log":
                level, time, logger, text = msgspec.json.decode(body, type=_LogFields)
                return events.Log(level, time, logger, text)
            case "status":
                return msgspec.convert(msgpack.unpackb(body), events.Status)
        return _decode_json(op, msgspec.json.decode(body, type=dict[str, Any]))
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedBody(op, str(error) or type(error).__name__) from error


class _Shown(msgspec.Struct):
    type: str
    data: str


_LogFields: TypeAlias = tuple[str, str, str, str]


def _decode_json(op: str, fields: Mapping[str, Any]) -> events.AnyEvent:
    kind = events.EVENTS.get(op)
    if kind is None:
        raise ValueError(f"unknown event {reprlib.repr(op)}")
    return msgspec.convert({**fields, "type": op}, kind)
