"""Bytes of any kind come in; a parser reads them as a message, or says `ProtocolError`.

What it reads can be written, and reads the same again: in words, since there are numbers that do
not equal themselves.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import msgpack

from kernel_runner.errors import ProtocolError
from kernel_runner.messages import agent_wire, commands, events, session_wire

Target: TypeAlias = Callable[[bytes], None]


def session_frames(data: bytes) -> list[bytes]:
    """The first msgpack value is the header, the rest the body."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    try:
        unpacker.skip()
    except (ValueError, msgpack.UnpackException):
        return [data, b""]
    return [data[: unpacker.tell()], data[unpacker.tell() :]]


def agent_frames(data: bytes) -> list[bytes]:
    """The first line is the op, the rest the body."""
    op, _, body = data.partition(b"\n")
    return [op, body]


def session_request(data: bytes) -> None:
    try:
        identity, command = _request(session_frames(data))
    except ProtocolError:
        return
    sent = session_wire.encode_command(command, request_id=identity)
    assert repr(_request(sent)) == repr((identity, command))


def _request(frames: session_wire.Frames) -> tuple[str, commands.Command]:
    header, body = session_wire.parse_header(frames)
    return session_wire.id_of(header), session_wire.parse_command(header, body)


def session_event(data: bytes) -> None:
    try:
        received = session_wire.decode_event(session_frames(data))
    except ProtocolError:
        return
    assert isinstance(received.id, str | None)
    assert isinstance(received.seq, int | None)
    assert isinstance(received.t_ns, int)
    sent = session_wire.encode_event(
        received.event, request_id=received.id, seq=received.seq, t_ns=received.t_ns
    )
    assert repr(session_wire.decode_event(sent)) == repr(received)


def agent_command(data: bytes) -> None:
    frames = agent_frames(data)
    try:
        command = agent_wire.parse_command(agent_wire.op_of(frames), frames[1])
    except ProtocolError:
        return
    if isinstance(command, commands.GetStatus) and len((command.echo or "").encode()) > 64:
        return  # what is no text comes back longer, as the marks that stand for it
    op, body = agent_wire.encode_command(command)
    assert repr(agent_wire.parse_command(op.decode(), body)) == repr(command)


def agent_event(data: bytes) -> None:
    try:
        event = agent_wire.decode_event(agent_frames(data))
    except ProtocolError:
        return
    frames = agent_wire.encode_event(event)
    if frames is None or isinstance(event, events.Refused):
        return  # an event that this dialect does not have, or writes as another one
    assert repr(agent_wire.decode_event(frames)) == repr(event)


TARGETS: Final[dict[str, Target]] = {
    "session-request": session_request,
    "session-event": session_event,
    "agent-command": agent_command,
    "agent-event": agent_event,
}
