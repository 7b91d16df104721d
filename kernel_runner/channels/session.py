"""The session dialect (v2): one ROUTER socket, a msgpack header and a raw body in each message.

With keys it speaks CURVE: what passes is encrypted, and only the clients whose public key is known
get through the handshake.
"""

import logging
from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import msgspec
import zmq

from kernel_runner.channels import Receiver
from kernel_runner.channels.admission import Admission, Caller
from kernel_runner.channels.binding import bind
from kernel_runner.errors import BodyTooLarge, ProtocolError
from kernel_runner.keys import ServerKeys
from kernel_runner.messages.request import BadRequest, Envelope, PeerGone, Request
from kernel_runner.messages.session_wire import (
    Frames,
    encode_event,
    id_of,
    parse_command,
    parse_header,
)
from kernel_runner.supervision import attempt_now
from kernel_runner.zsocket import KEEPALIVE, Unreachable, ZSocket

# The runner keeps what a slow client has not read; ZeroMQ itself holds only a little for each.
OPTIONS = {zmq.ROUTER_MANDATORY: 1, zmq.SNDHWM: 32, **KEEPALIVE}
DOMAIN = "session"

log = logging.getLogger(__name__)


class SessionPeer(msgspec.Struct, frozen=True):
    """One connection to the ROUTER; equal for all messages of that connection."""

    builtin_session: ClassVar[str | None] = None

    routing_id: bytes
    socket: ZSocket

    def __hash__(self) -> int:
        return hash(self.routing_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SessionPeer) and other.routing_id == self.routing_id

    def send(self, envelope: Envelope) -> bool:
        header, body = encode_event(
            envelope.event, request_id=envelope.id, seq=envelope.seq, t_ns=envelope.t_ns
        )
        try:
            return self.socket.send([self.routing_id, header, body])
        except Unreachable:
            raise PeerGone from None


class SessionChannel:
    """Binds the ROUTER and tells its connections apart."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        admission: Admission,
        address: str,
        keys: ServerKeys | None,
        max_body_bytes: int,
    ) -> None:
        self._context = context
        self._admission = admission
        self._address = address
        self._keys = keys
        self._max_body_bytes = max_body_bytes
        self._socket: ZSocket | None = None

    def open(self, receiver: Receiver) -> Mapping[str, str]:
        self._receiver = receiver
        socket = ZSocket(
            self._context.socket(zmq.ROUTER),
            on_frames=self._receive,
            on_writable=receiver.writable,
            options={**OPTIONS, **self._protection()},
        )
        self._socket = socket
        return {"session": bind(socket, self._address)}

    def close(self, linger_ms: int) -> None:
        if self._socket is not None:
            self._socket.close(linger_ms)
            self._socket = None

    def _protection(self) -> Mapping[int, int | bytes]:
        if self._keys is None:
            return {}
        self._admission.ask_at(DOMAIN, self._judge)
        return {
            zmq.CURVE_SERVER: 1,
            zmq.CURVE_SECRETKEY: self._keys.secret,
            zmq.ZAP_DOMAIN: DOMAIN.encode(),
            zmq.ZAP_ENFORCE_DOMAIN: 1,  # else everybody came in while nobody answers for it
        }

    def _judge(self, caller: Caller) -> None:
        if self._keys is not None and caller.key in self._keys.clients:
            caller.admit()
        else:
            log.debug("a client from %s with an unknown key was turned away", caller.address)
            caller.refuse()

    def _receive(self, frames: Frames) -> None:
        attempt_now(partial(self._hand_over, frames), "a message")

    def _hand_over(self, frames: Frames) -> None:
        assert self._socket is not None, "frames come only while the socket is open"
        routing_id, *message = frames
        peer = SessionPeer(routing_id, self._socket)
        self._receiver.receive(self._read(peer, message))

    def _read(self, peer: SessionPeer, frames: Frames) -> Request | BadRequest:
        op, identity = "", None
        try:
            header, body = parse_header(frames)
            op = name[:80] if isinstance(name := header.get("op"), str) else ""
            identity = id_of(header)
            if len(body) > self._max_body_bytes:
                raise BodyTooLarge(len(body), self._max_body_bytes)
            return Request(parse_command(header, body), identity, peer)
        except ProtocolError as error:
            return BadRequest(op, identity, peer, error.code, str(error), error.hint)
