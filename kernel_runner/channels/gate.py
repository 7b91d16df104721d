"""Lets one puller at a time read a PUSH socket; a second one waits at the door for its turn.

PUSH shares its messages out among its peers, so a second puller would steal every other one.
The door is ZAP (ZeroMQ RFC 27): the handshake of whoever comes is held until it is his turn, and
libzmq tries again by itself when that takes longer than the handshake may.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import zmq
from zmq.utils.monitor import parse_monitor_message

from kernel_runner.zsocket import ZSocket

ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
_FAILURES: Final = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
_EVENTS: Final = (
    zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _FAILURES
)


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
        self._has_arrived = False
        self._has_failed = False
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
        self._catch_up()
        connection = self._at_the_door.pop(0) if self._at_the_door else -1
        self._held[connection] = request
        self._admit_next()

    def _catch_up(self) -> None:
        """Hear of everybody who was accepted before the question that is being read."""
        with suppress(zmq.Again):
            while True:
                self._watch(self._monitor.socket.recv_multipart(zmq.NOBLOCK))

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
                self._has_arrived = True
                self._on_arrival()
            case zmq.EVENT_DISCONNECTED:
                if self._has_failed and self._has_arrived and connection == self._inside:
                    self._correct(connection)
                else:
                    self._leave(connection)
        # told just before the end of a connection that has not got in
        self._has_failed = bool(message["event"] & _FAILURES)

    def _correct(self, silent: int) -> None:
        """The one inside never asked: whoever was accepted after it did, so all move up."""
        labels = [*self._held, *self._at_the_door]
        if not labels:
            self._leave(silent)
            return
        self._inside, *labels = labels
        self._held = dict(zip(labels, self._held.values(), strict=False))
        self._at_the_door = labels[len(self._held) :]

    def _leave(self, connection: int) -> None:
        self._held.pop(connection, None)
        if connection in self._at_the_door:
            self._at_the_door.remove(connection)
        if connection == self._inside:
            self._inside, self._has_arrived = None, False
            self._on_departure()
            self._admit_next()
