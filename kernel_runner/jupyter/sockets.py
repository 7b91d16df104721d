"""The connection file of a kernel in; messages of Jupyter's clients in, answers out.

Signing and packing are those of jupyter_client's `Session`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, get_args

import msgspec
import zmq
from jupyter_client.session import Session

from kernel_runner.errors import ClientError
from kernel_runner.jupyter.requests import Channel, Message
from kernel_runner.zsocket import KEEPALIVE, Unreachable, ZSocket, end_context

MAX_WAITING_BYTES: Final = 8 << 20
"""When so much waits for slow readers of what is published, `on_full` is called."""
LINGER_MS: Final = 1_000
FIND_SECONDS: Final = 0.05
FIND_TIMES: Final = 100
"""How often a client is looked for that has not connected yet, or is gone."""

log = logging.getLogger(__name__)


class BadConnectionFile(ClientError):
    """What Jupyter gave us to bind cannot be read or bound."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"connection file {file}: {reason}; Jupyter writes one for each kernel")


class Connection(msgspec.Struct, frozen=True):
    """What a connection file says."""

    shell_port: int
    control_port: int
    stdin_port: int
    iopub_port: int
    hb_port: int
    ip: str = "127.0.0.1"
    transport: str = "tcp"
    key: str = ""
    signature_scheme: str = "hmac-sha256"

    def address(self, port: int) -> str:
        between = ":" if self.transport == "tcp" else "-"
        return f"{self.transport}://{self.ip}{between}{port}"


def read_connection(file: Path) -> Connection:
    """Raises `BadConnectionFile`."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Connection)
    except OSError as error:
        raise BadConnectionFile(file, error.strerror or str(error)) from error
    except ValueError as error:
        raise BadConnectionFile(file, str(error)) from error


class Sockets:
    """The five sockets of a kernel, from construction to `close`.

    What is published waits for readers that are slow, instead of being dropped as is usual for
    Jupyter's kernels: `on_full` asks for less, `on_room` for more.

    Args:
        on_message: called with each message of a client whose signature is right.
    """

    def __init__(
        self,
        file: Path,
        *,
        on_message: Callable[[Message], None],
        on_full: Callable[[], None],
        on_room: Callable[[], None],
    ) -> None:
        connection = read_connection(file)
        self._on_message, self._on_full, self._on_room = on_message, on_full, on_room
        self._session = Session(
            key=connection.key.encode(),
            signature_scheme=connection.signature_scheme,
            username="kernel",
        )
        self._unpublished: deque[Sequence[bytes]] = deque()
        self._waiting_bytes = 0
        self._is_full = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: list[ZSocket] = []
        try:
            self._open(connection)
        except zmq.ZMQError as error:
            self.close()
            raise BadConnectionFile(file, f"cannot be bound: {error}") from error

    def _open(self, connection: Connection) -> None:
        ports: Mapping[Channel, int] = {
            "shell": connection.shell_port,
            "control": connection.control_port,
            "stdin": connection.stdin_port,
        }
        self._routers = {
            channel: self._bind(
                zmq.ROUTER, connection.address(ports[channel]), self._receiver(channel)
            )
            for channel in get_args(Channel)
        }
        self._iopub = self._bind(
            zmq.XPUB, connection.address(connection.iopub_port), lambda _: None
        )
        self._heartbeat = self._bind(
            zmq.ROUTER, connection.address(connection.hb_port), lambda frames: self._beat(frames)
        )

    def _bind(self, kind: int, address: str, on_frames: Callable[[list[bytes]], None]) -> ZSocket:
        options = dict(KEEPALIVE)
        if kind == zmq.XPUB:
            options[zmq.XPUB_NODROP] = 1
        else:  # answers are few
            options |= {zmq.SNDHWM: 0, zmq.ROUTER_HANDOVER: 1, zmq.ROUTER_MANDATORY: 1}
        socket = ZSocket(
            self._context.socket(kind),
            on_frames=on_frames,
            on_writable=self._flush if kind == zmq.XPUB else lambda: None,
            options=options,
        )
        self._sockets.append(socket)
        socket.bind(address)
        return socket

    def close(self) -> None:
        """What was sent may still leave, within `LINGER_MS`."""
        for socket in self._sockets:
            socket.close(LINGER_MS)
        end_context(self._context)

    # What arrives -----------------------------------------------------------------------------

    def _receiver(self, channel: Channel) -> Callable[[list[bytes]], None]:
        return lambda frames: self._receive(channel, frames)

    def _receive(self, channel: Channel, frames: list[bytes]) -> None:
        try:
            identities, rest = self._session.feed_identities(frames)
            read = self._session.deserialize(rest)
            message = Message(channel, identities, read["header"], read["content"])
        except (ValueError, TypeError, LookupError) as error:
            log.warning("a message on %s is dropped: %s", channel, error)
            return
        self._on_message(message)

    def _beat(self, frames: list[bytes]) -> None:
        with suppress(Unreachable):  # it has left
            self._heartbeat.send(frames)

    # What leaves ------------------------------------------------------------------------------

    def answer(
        self,
        message: Message,
        kind: str,
        content: Mapping[str, object],
        *,
        channel: Channel | None = None,
    ) -> None:
        """Send to whoever sent `message`, on the same channel unless another is named."""
        frames = self._packed(kind, content, message, message.identities)
        self._send(self._routers[channel or message.channel], frames, FIND_TIMES)

    def _send(self, router: ZSocket, frames: Sequence[bytes], times: int) -> None:
        """Clients connect their sockets one by one: the one of questions may come last."""
        if router.socket.closed:
            return
        try:
            router.send(frames)
        except Unreachable:
            if times:
                loop = asyncio.get_running_loop()
                loop.call_later(FIND_SECONDS, self._send, router, frames, times - 1)

    def publish(self, kind: str, content: Mapping[str, object], parent: Message | None) -> None:
        """Send to all clients; never waits."""
        topic = f"kernel.{self._session.session}.{kind}".encode()
        frames = self._packed(kind, content, parent, [topic])
        self._unpublished.append(frames)
        self._waiting_bytes += _size(frames)
        self._flush()
        if not self._is_full and self._waiting_bytes > MAX_WAITING_BYTES:
            self._is_full = True
            self._on_full()

    def _packed(
        self,
        kind: str,
        content: Mapping[str, object],
        parent: Message | None,
        identities: list[bytes],
    ) -> Sequence[bytes]:
        header = None if parent is None else parent.header
        message = self._session.msg(kind, content=dict(content), parent=header)
        return self._session.serialize(message, identities)

    def _flush(self) -> None:
        while self._unpublished and self._iopub.send(self._unpublished[0]):
            self._waiting_bytes -= _size(self._unpublished.popleft())
        if self._is_full and self._waiting_bytes < MAX_WAITING_BYTES // 2:
            self._is_full = False
            self._on_room()


def _size(frames: Sequence[bytes]) -> int:
    return sum(map(len, frames))
