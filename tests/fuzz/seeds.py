"""The transcripts and the types come in; messages that a fuzzer begins with go out."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgpack
import msgspec

from kernel_runner.errors import ProtocolError
from kernel_runner.messages import agent_wire, commands, events, session_wire
from kernel_runner.messages.options import TaskOptions
from tests.transcripts import player

COMMANDS: tuple[commands.Command, ...] = (
    commands.Clean("*"),
    commands.Build("make", TaskOptions(run="a", env={"A": "b"}, cwd=".", tty=False)),
    commands.Execute("cat", TaskOptions(stdin_bytes=b"abc", args=("x",), sources=("a.c",))),
    commands.Query("1", TaskOptions(stdin="stream")),
    commands.Input(b"yes\n"),
    commands.EndOfInput(),
    commands.Complete("os.pa", 5),
    commands.Inspect("len", 3),
    commands.IsComplete("if x:"),
    commands.Interrupt("r1", True, True),
    commands.SendSignal("TERM", "r1"),
    commands.Resize(24, 80, "r1"),
    commands.Cancel("r1"),
    commands.GetStatus("echo"),
    commands.ListQueue(),
    commands.HostEvent("oom", {"a": [1, None, 2.5]}),
    commands.StartService("x", 1, (2, 3), "tcp", commands.ServiceOptions({"a": 1}, {"A": "b"})),
    commands.ShutdownService("x"),
    commands.ListServices("x"),
    commands.StartModelService("x", "/models", {"port": 1}),
    commands.Hello("name", 7),
    commands.Acknowledge(7),
    commands.Upload("a/b", b"content", True, 1, False, "0" * 64),
    commands.Download("a/b", 1, 2, True),
    commands.ListFiles("a"),
)
USAGE = events.Usage(1.5, 0.5, 1, 2, 3)
ERROR = events.ErrorDetails("ValueError", "x", [{"line": 1}])
DEEP: Final = 1_500
"""More than what reads them goes down; messages of this depth fit into what a fuzzer makes."""
EVENTS: tuple[events.AnyEvent, ...] = (
    events.Output("stdout", b"out\n"),
    events.Output("stderr", b"\xff"),
    events.Media({"text/html": "<b>"}),
    events.Media({"text/plain": "x", "image/png": b"\x89PNG"}, {"image/png": {"width": 1}}),
    events.Log("info", "2026-01-01T00:00:00.000+00:00", "kernel_runner", "x"),
    events.Accepted(3),
    events.ClearOutput(wait=True),
    events.Started(),
    events.Stopped("TSTP"),
    events.Finished(
        "finished",
        1,
        "error",
        USAGE,
        2,
        ("SIGINT",),
        ("open_files",),
        message="it failed",
        traceback=ERROR,
        files=("a",),
        files_note="more",
    ),
    events.Finished("build-finished", 0, "completed"),
    events.WaitingInput(is_password=True, certain=False),
    events.Completion(["path", "pardir"]),
    events.Inspection("len(obj)"),
    events.Completeness("complete"),
    events.Status(1.5, "busy", "python", "1", 1, "r1", 7, "echo"),
    events.QueueListing(events.QueueEntry("r1", "exec", "s"), []),
    events.ServiceResult("failed", "x"),
    events.AppsResult("done", [{"a": 1}]),
    events.ModelServiceResult("failed", "x"),
    events.Welcome("s", "python", "1", ["batch"], 9, 3, 1 << 20, 1 << 20),
    events.Superseded(),
    events.File("a", b"content", 1, 8, "0" * 64),
    events.Part("a", 7),
    events.Files(".", [events.FileEntry("a", "file", 1, 0o644, 1.5)]),
    events.Ok(),
    events.Refused("ack", "unknown-seq", "no", "wait"),
)


def session_requests() -> Iterator[bytes]:
    for command in COMMANDS:
        yield b"".join(session_wire.encode_command(command, request_id="r1"))
    for op, body, fields in _said("session"):
        yield msgpack.packb({"v": 2, "op": op, "id": "r1", **fields}) + body
    yield b"\x81\xa1v" + b"\x91" * DEEP + b"\xc0"


def session_events() -> Iterator[bytes]:
    for event in EVENTS:
        yield b"".join(session_wire.encode_event(event, request_id="r1", seq=1, t_ns=1))


def agent_commands() -> Iterator[bytes]:
    for command in COMMANDS:
        try:
            yield b"\n".join(agent_wire.encode_command(command))
        except ProtocolError:  # this dialect cannot say it
            continue
    for op, body, _ in _said("agent"):
        yield op.encode() + b"\n" + body
    yield b'event\n{"type": "x", "data": ' + b"[" * DEEP + b"]" * DEEP + b"}"


def agent_events() -> Iterator[bytes]:
    for event in EVENTS:
        if (frames := agent_wire.encode_event(event)) is not None:
            yield b"\n".join(frames)
    yield b'apps-result\n{"status": "done", "data": ' + b"[" * DEEP + b"]" * DEEP + b"}"


SEEDS: Final[dict[str, Callable[[], Iterator[bytes]]]] = {
    "session-request": session_requests,
    "session-event": session_events,
    "agent-command": agent_commands,
    "agent-event": agent_events,
}


def _said(dialect: str) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Op, body and fields of what the client says in the transcripts."""
    for path in sorted(player.FOLDER.glob("*.txt")):
        transcript = player.read(path.stem)
        if dialect not in transcript.dialects:
            continue
        for _, line in transcript.lines:
            if line.startswith("→ ") and not line.startswith("→ frames"):
                op, words, fields = player.said(line.removeprefix("→ "))
                body = words[0] if words else b""
                yield op, body.encode() if isinstance(body, str) else body, fields


def words() -> Iterator[bytes]:
    """What messages are made of: ops, types and names of fields, as msgpack and as JSON."""
    names = {*commands.COMMANDS, *events.EVENTS, *TaskOptions.__struct_fields__, "v", "id", "op"}
    kinds: set[type[msgspec.Struct]] = {*commands.COMMANDS.values(), *events.EVENTS.values()}
    names |= {name for kind in kinds for name in kind.__struct_encode_fields__}
    for name in sorted(names):
        yield msgpack.packb(name)
        yield f'"{name}":'.encode()
