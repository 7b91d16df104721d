"""The agent dialect (v1): a PULL socket for commands, a PUSH socket for events."""

import itertools
from collections.abc import Mapping

import msgspec
import zmq

from kernel_runner.channels import Receiver
from kernel_runner.channels.admission import Admission
from kernel_runner.channels.binding import bind
from kernel_runner.channels.gate import Gate
from kernel_runner.errors import BodyTooLarge, ProtocolError
from kernel_runner.messages import commands
from kernel_runner.messages.agent_wire import Frames, encode_event, op_of, parse_command
from kernel_runner.messages.options import TaskOptions
from kernel_runner.messages.request import BadRequest, Envelope, Request
from kernel_runner.supervision import attempt_now
from kernel_runner.zsocket import KEEPALIVE, ZSocket

# What ZeroMQ and the kernel hold for a reader is lost when the reader goes, so they hold little.
EVENT_OPTIONS = {zmq.SNDHWM: 1, zmq.SNDBUF: 65_536, **KEEPALIVE}


class AgentChannel:
    """Binds both sockets; whoever sends commands and whoever reads events is the one agent."""

    builtin_session = "agent"

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        admission: Admission,
        addresses: tuple[str, str],
        max_body_bytes: int,
    ) -> None:
        self._context = context
        self._admission = admission
        self._addresses = addresses
        self._max_body_bytes = max_body_bytes
        self._runs = RunNames()
        self._ids = itertools.count(1)
        self._sockets: list[ZSocket] = []
        self._gate: Gate | None = None

    def open(self, receiver: Receiver) -> Mapping[str, str]:
        self._receiver = receiver
        commands_in = ZSocket(
            self._context.socket(zmq.PULL), on_frames=self._receive, options=KEEPALIVE
        )
        events_out = ZSocket(
            self._context.socket(zmq.PUSH), on_writable=receiver.writable, options=EVENT_OPTIONS
        )
        self._sockets += [commands_in, events_out]
        self._events_out = events_out
        self._gate = Gate(
            events_out.socket,
            self._admission,
            on_arrival=lambda: receiver.attach(self),
            on_departure=lambda: receiver.detach(self),
        )
        commands_at, events_at = self._addresses
        return {"in": bind(commands_in, commands_at), "out": bind(events_out, events_at)}

    def close(self, linger_ms: int) -> None:
        if self._gate is not None:
            self._gate.close()
        for socket in self._sockets:
            socket.close(linger_ms)
        self._gate, self._sockets = None, []

    def send(self, envelope: Envelope) -> bool:
        """Hand over one event; one that this dialect does not have counts as handed over."""
        frames = encode_event(envelope.event)
        return frames is None or self._events_out.send(frames)

    def _receive(self, frames: Frames) -> None:
        attempt_now(lambda: self._receiver.receive(self._read(frames)), "a message")

    def _read(self, frames: Frames) -> Request | BadRequest:
        identity = f"agent-{next(self._ids)}"
        op = ""
        try:
            op = op_of(frames)
            if len(frames[1]) > self._max_body_bytes:
                raise BodyTooLarge(len(frames[1]), self._max_body_bytes)
            command = self._runs.assign(parse_command(op, frames[1]))
        except ProtocolError as error:
            return BadRequest(op, identity, self, error.code, str(error), error.hint)
        return Request(command, identity, self)


class RunNames:
    """Gives the steps of one run its name: this dialect does not carry one.

    A run begins at `clean`, or at a `build` when none is open; `exec` or `code` ends it.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._open: str | None = None

    def assign(self, command: commands.Command) -> commands.Command:
        match command:
            case commands.Clean():
                self._open = f"agent-run-{next(self._numbers)}"
            case commands.Build() if self._open is None:
                self._open = f"agent-run-{next(self._numbers)}"
            case commands.Build() | commands.Execute():
                pass
            case commands.Query():
                self._open = None
                return command
            case _:
                return command
        named = msgspec.structs.replace(command, options=TaskOptions(run=self._open))
        if isinstance(command, commands.Execute):
            self._open = None
        return named
