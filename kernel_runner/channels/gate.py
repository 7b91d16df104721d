"""Lets one puller at a time read a PUSH socket; a second one waits at the door for its turn.

PUSH shares its messages out among its peers, so a second puller would steal every other one.
The door is ZAP (ZeroMQ RFC 27): the handshake of whoever comes is held until it is his turn, and
libzmq tries again by itself when that takes longer than the handshake may.
"""

from collections.abc import Callable
from typing import Final

import zmq
from zmq.utils.monitor import parse_monitor_message

from kernel_runner.zsocket import ZSocket

ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
_EVENTS: Final = zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class Gate:
    """Watches `socket` and answers the ZAP requests; the context has no other ZAP handler."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        *,
        on_arrival: Callable[[], None],
        on_departure: Callable[[], None],
    ) -> None:
        socket.zap_domain = b"kernel-runner"
        self._on_arrival = on_arrival
        self._on_departure = on_departure
        self._at_the_door: list[int] = []  # connections that have not asked yet, oldest first
        self._held: dict[int, list[bytes]] = {}  # who has asked and waits, with the request
        self._inside: int | None = None
        self._socket = socket
        door = socket.context.socket(zmq.ROUTER)
        door.bind(ZAP_ENDPOINT)
        self._door = ZSocket(door, on_frames=self._ask)
        self._monitor = ZSocket(socket.get_monitor_socket(_EVENTS), on_frames=self._watch)

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close()
        self._door.close()

    def _ask(self, request: list[bytes]) -> None:
        # one I/O thread serves all connections, so they ask in the order they were accepted
        connection = self._at_the_door.pop(0) if self._at_the_door else -1
        self._held[connection] = request
        self._admit_next()

    def _admit_next(self) -> None:
        if self._inside is not None or not self._held:
            return
        self._inside = next(iter(self._held))
        sender, delimiter, version, request_id, *_ = self._held.pop(self._inside)
        self._door.send([sender, delimiter, version, request_id, b"200", b"OK", b"", b""])

    def _watch(self, frames: list[bytes]) -> None:
        message = parse_monitor_message(frames)
        connection = int(message["value"])
        match message["event"]:
            case zmq.EVENT_ACCEPTED:
                self._at_the_door.append(connection)
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._on_arrival()
            case zmq.EVENT_DISCONNECTED:
                self._leave(connection)

    def _leave(self, connection: int) -> None:
        self._held.pop(connection, None)
        if connection in self._at_the_door:
            self._at_the_door.remove(connection)
        if connection == self._inside:
            self._inside = None
            self._on_departure()
            self._admit_next()
