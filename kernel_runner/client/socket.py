"""The client's end of the wire, of both dialects: commands in, the runner's messages out."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import zmq
from zmq.utils.monitor import parse_monitor_message

from kernel_runner.client.errors import BadAddress, ClientError, IncompatibleRunner, KeyRefused
from kernel_runner.errors import ProtocolError
from kernel_runner.keys import ClientKeys
from kernel_runner.messages.commands import Command
from kernel_runner.messages.session_wire import Frames, Received, decode_event, encode_command
from kernel_runner.zsocket import KEEPALIVE, ZSocket, end_context

RECONNECT: Final[Mapping[int, int]] = {zmq.RECONNECT_IVL: 10, zmq.RECONNECT_IVL_MAX: 1_000}
"""In milliseconds, twice as long each time; by itself libzmq waits 100 from the first time on."""
LAST_PORT: Final = 65_535
"""libzmq takes a larger one without a word."""
SETTLE_SECONDS: Final = 0.02
"""ZeroMQ tells of an end a moment before it hands over the last that was received."""
FAILED_HANDSHAKES: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
)
RECEIVE: Final[Mapping[int, int]] = {zmq.RCVHWM: 64}
"""Messages that libzmq holds while we take none, of up to 64 KiB: beside `max_unread_bytes`."""
WATCHED: Final = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | sum(FAILED_HANDSHAKES)
)


class ClientSocket:
    """The session dialect, over one DEALER.

    It connects at once, even when the runner is not there yet: ZeroMQ keeps trying.  A connection
    that worked and was lost is made again with a new socket: so nothing that was said to the former
    one arrives late, before the session is known again.

    Args:
        on_event: called with each event, in the order of arrival.
        on_cut: called when a connection was lost, after all that the runner still said.  What was
            not sent is dropped; what is sent from then on goes to the next connection.
        on_error: called when what arrives cannot be understood, or no key lets us in.
        keys: what the client and the runner prove themselves with; None where there are no keys.
    """

    def __init__(
        self,
        address: str,
        on_event: Callable[[Received], None],
        *,
        on_cut: Callable[[], None] = lambda: None,
        on_error: Callable[[ClientError], None] = lambda error: None,
        keys: ClientKeys | None = None,
    ) -> None:
        self.address = address
        self._keys = keys
        self.trouble = "nobody listens there"
        """Why there is no answer, as far as can be known."""
        self._on_event, self._on_cut, self._on_error = on_event, on_cut, on_error
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._unsent: deque[Frames] = deque()
        self._socket: ZSocket | None = None
        self._monitor: ZSocket | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._works = self._is_paused = False
        port = address.rpartition(":")[2]
        if address.startswith("tcp://") and port.isdecimal() and int(port) > LAST_PORT:
            raise BadAddress(address)
        try:
            self._open()
        except zmq.ZMQError as error:
            self.close()
            raise BadAddress(address) from error

    async def why_silent(self) -> str:
        """Why there is no answer, as far as can be known: `trouble`, or the host is not known."""
        host = self.address.removeprefix("tcp://").rpartition(":")[0].strip("[]")
        if self.address.startswith("tcp://"):
            try:
                await asyncio.get_running_loop().getaddrinfo(host, None)
            except (OSError, UnicodeError) as error:
                return f"{host} is not known as a host ({error})"
        return self.trouble

    def send(self, command: Command, request_id: str) -> None:
        """Send one command, or keep it until it can be sent."""
        self._unsent.append(encode_command(command, request_id=request_id))
        self._flush()

    def pause(self) -> None:
        """Take no events for now: they stay with the runner, and its program waits."""
        self._is_paused = True
        if self._socket is not None and self._settling is None:
            self._socket.pause()

    def resume(self) -> None:
        self._is_paused = False
        if self._socket is not None:
            self._socket.resume()

    def close(self) -> None:
        """Close it; what was sent has 200 ms to leave."""
        if self._settling is not None:
            self._settling.cancel()
        self._close_sockets(linger_ms=200)
        end_context(self._context)

    def _open(self) -> None:
        self._works, self._settling = False, None
        self._socket = ZSocket(
            self._context.socket(zmq.DEALER),
            on_frames=self._receive,
            on_writable=self._flush,
            options={**KEEPALIVE, **RECONNECT, **RECEIVE, **_protection(self._keys)},
        )
        monitor = self._socket.socket.get_monitor_socket(WATCHED)
        self._monitor = ZSocket(monitor, on_frames=self._watch)
        if self._is_paused:
            self._socket.pause()
        self._socket.connect(self.address)
        self._flush()

    def _close_sockets(self, linger_ms: int) -> None:
        if self._monitor is not None and self._socket is not None:
            # in this order: libzmq waits for ever to tell a monitor that is closed already
            self._socket.socket.disable_monitor()
            self._monitor.close()
        if self._socket is not None:
            self._socket.close(linger_ms)
        self._socket = self._monitor = None

    def _flush(self) -> None:
        if self._settling is not None or self._socket is None:
            return
        while self._unsent and self._socket.send(self._unsent[0]):
            self._unsent.popleft()

    def _receive(self, frames: list[bytes]) -> None:
        try:
            received = decode_event(frames)
        except ProtocolError as error:
            self._on_error(IncompatibleRunner(self.address, str(error)))
            return
        self._on_event(received)

    # The connection ---------------------------------------------------------------------------

    def _watch(self, frames: list[bytes]) -> None:
        message = parse_monitor_message(frames)
        match message["event"]:
            case zmq.EVENT_CONNECTED:
                self.trouble = self._trouble_of_strangers()
            case failure if failure in FAILED_HANDSHAKES:
                self._fail_handshake(failure, message["value"])
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._works = True
                self.trouble = "it is connected and does not answer"
            case _:
                if self._works and self._settling is None and self._socket is not None:
                    self._socket.resume()  # what it still holds would be lost with it
                    self._settle_later()

    def _trouble_of_strangers(self) -> str:
        if self._keys is None:
            return (
                "what listens there does not answer as a runner's session does; "
                "if it is one with keys, give it yours"
            )
        return (
            "what listens there is not the runner whose key is in "
            f"{self._keys.file}; it may have got new keys, or need none"
        )

    def _fail_handshake(self, event: int, value: int) -> None:
        """What libzmq does not try again is told; the rest may be somebody's bad moment."""
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            file = self._keys.file if self._keys is not None else "no file"
            reason = f"it does not know the key of {file}; its public key goes to --client-keys"
            self._on_error(KeyRefused(self.address, reason))
        elif value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            has_keys = self._keys is not None
            reason = "it has no keys, and we do" if has_keys else "it wants a key, and we gave none"
            self._on_error(KeyRefused(self.address, reason))

    def _settle(self) -> None:
        if self._socket is not None and self._socket.has_unread:
            self._settle_later()
            return
        self._close_sockets(linger_ms=0)
        self.trouble = "the connection was lost, and nobody listens there now"
        self._unsent.clear()
        self._open()
        self._on_cut()

    def _settle_later(self) -> None:
        self._settling = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._settle)


def _protection(keys: ClientKeys | None) -> Mapping[int, bytes]:
    if keys is None:
        return {}
    return {
        zmq.CURVE_SERVERKEY: keys.server,
        zmq.CURVE_PUBLICKEY: keys.public,
        zmq.CURVE_SECRETKEY: keys.secret,
    }


AGENT_EVENT_OPTIONS: Final[Mapping[int, int]] = {zmq.RCVHWM: 64, **KEEPALIVE}
AGENT_COMMAND_OPTIONS: Final[Mapping[int, int]] = {zmq.IMMEDIATE: 1, **KEEPALIVE}
"""What was meant for a runner that is gone is never sent to the next one."""


class AgentSockets:
    """The agent dialect: commands out, messages in, over two sockets that connect again for ever.

    Args:
        on_frames: called with each message, in the order of arrival.
        on_connected: called when both reach a runner.
        on_lost: called when one no longer does, after all that the runner still said.
    """

    def __init__(
        self,
        commands_at: str,
        events_at: str,
        *,
        on_frames: Callable[[list[bytes]], None],
        on_connected: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._on_connected, self._on_lost = on_connected, on_lost
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._unsent: deque[Sequence[bytes]] = deque()
        self._up: set[str] = set()
        self._is_connected = False
        self._is_paused = False
        self._settling: asyncio.TimerHandle | None = None
        push, pull = self._context.socket(zmq.PUSH), self._context.socket(zmq.PULL)
        self._commands = ZSocket(push, on_writable=self._flush, options=AGENT_COMMAND_OPTIONS)
        self._events = ZSocket(pull, on_frames=on_frames, options=AGENT_EVENT_OPTIONS)
        self._monitors = [self._monitor(socket) for socket in (self._commands, self._events)]
        for socket, address in ((self._commands, commands_at), (self._events, events_at)):
            try:
                socket.connect(address)
            except zmq.ZMQError as error:
                self.close()
                raise BadAddress(address) from error

    def send(self, frames: Sequence[bytes]) -> None:
        """Send one command, or keep it until there is room; it is lost with the connection."""
        self._unsent.append(frames)
        self._flush()

    def pause(self) -> None:
        """Take no events for now: they stay with the runner, and its program waits."""
        if not self._is_paused and self._settling is None:
            self._events.pause()
        self._is_paused = True

    def resume(self) -> None:
        if self._is_paused:
            self._events.resume()
        self._is_paused = False

    def close(self) -> None:
        """Close both; what was sent has 200 ms to leave."""
        if self._settling is not None:
            self._settling.cancel()
        for socket, monitor in zip((self._commands, self._events), self._monitors, strict=True):
            socket.socket.disable_monitor()
            monitor.close()
            socket.close(linger_ms=200)
        end_context(self._context)

    def _monitor(self, socket: ZSocket) -> ZSocket:
        watched = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        name = "commands" if socket is self._commands else "events"
        return ZSocket(
            socket.socket.get_monitor_socket(watched), on_frames=partial(self._watch, name)
        )

    def _watch(self, name: str, frames: list[bytes]) -> None:
        if parse_monitor_message(frames)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._up.add(name)
        elif name in self._up:  # one that has not got in loses nothing
            self._up.discard(name)
            if self._settling is None:
                self._events.resume()  # no more than the buffers hold can come
                self._settle_later()
        self._tell()

    def _settle_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._settling = loop.call_later(SETTLE_SECONDS, self._settle)

    def _settle(self) -> None:
        if self._events.has_unread and "events" not in self._up:
            self._settle_later()
            return
        self._settling = None
        if self._is_paused:
            self._events.pause()
        self._unsent.clear()
        if self._is_connected:
            self._is_connected = False
            self._on_lost()
        self._tell()

    def _tell(self) -> None:
        if len(self._up) == 2 and not self._is_connected and self._settling is None:
            self._is_connected = True
            self._on_connected()

    def _flush(self) -> None:
        while self._unsent and self._commands.send(self._unsent[0]):
            self._unsent.popleft()
