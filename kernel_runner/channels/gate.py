"""Lets one puller at a time read a PUSH socket; a second one waits at the door for its turn.

PUSH shares its messages out among its peers, so a second puller would steal every other one.
The door is ZAP (ZeroMQ RFC 27): the handshake of whoever comes is held until it is his turn, and
libzmq tries again by itself when that takes longer than the handshake may.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import zmq
from zmq.utils.monitor import parse_monitor_message

from kernel_runner.channels.admission import Admission, Caller
from kernel_runner.zsocket import ZSocket

DOMAIN: Final = "events"
_FAILURES: Final = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
_EVENTS: Final = (
    zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | _FAILURES
)
ARRIVAL_SECONDS: Final = 1.0
"""The rest of a handshake takes milliseconds; who is not in by then will not come."""
LOOK_SECONDS: Final = 0.002
EMPTY_SECONDS: Final = 1.0
"""How long the next one waits for libzmq to let go of the one who left."""


class Gate:
    """Watches `socket`, and lets in who comes to it."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        admission: Admission,
        *,
        on_arrival: Callable[[], None],
        on_departure: Callable[[], None],
    ) -> None:
        socket.zap_domain = DOMAIN.encode()
        self._admission = admission
        self._on_arrival = on_arrival
        self._on_departure = on_departure
        self._asking: deque[Caller] = deque()
        self._is_taken = False  # somebody is inside, or was admitted and is on his way
        self._connections: set[int] = set()
        self._maybe_inside: set[int] = set()  # one of these is
        self._has_failed = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._empty_by = 0.0
        self._socket = socket
        admission.ask_at(DOMAIN, self._ask)
        self._monitor = ZSocket(socket.get_monitor_socket(_EVENTS), on_frames=self._watch)

    def close(self) -> None:
        self._stop_waiting()
        self._admission.forget(DOMAIN)
        self._socket.disable_monitor()
        self._monitor.close()

    def _ask(self, caller: Caller) -> None:
        self._asking.append(caller)
        self._admit_next()

    def _admit_next(self) -> None:
        if self._is_taken or not self._asking:
            return
        if self._has_reader() and self._loop.time() < self._empty_by:
            self._stop_waiting()
            self._timer = self._loop.call_later(LOOK_SECONDS, self._admit_next)
            return
        while self._asking and not self._is_taken:
            if self._asking.popleft().admit():
                self._is_taken = True
                # one who gave up a moment before is never heard of again
                self._timer = self._loop.call_later(ARRIVAL_SECONDS, self._give_up)

    def _has_reader(self) -> bool:
        """Whether libzmq would still send to somebody: it lets go of who left some steps later."""
        return bool(cast(int, self._socket.get(zmq.EVENTS)) & zmq.POLLOUT)

    def _give_up(self) -> None:
        self._is_taken = False
        self._admit_next()

    def _watch(self, frames: list[bytes]) -> None:
        message = parse_monitor_message(frames)
        connection = int(message["value"])
        match message["event"]:
            case zmq.EVENT_ACCEPTED:
                self._connections.add(connection)
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:  # does not tell whose
                self._maybe_inside = self._connections.copy()
                self._stop_waiting()
                self._on_arrival()
            case zmq.EVENT_DISCONNECTED:
                self._connections.discard(connection)
                self._end(connection)
        # told just before the end of a connection that has not got in
        self._has_failed = bool(message["event"] & _FAILURES)

    def _end(self, connection: int) -> None:
        """A connection has ended; if it is the one inside, or was on its way, the next comes in."""
        has_arrived = bool(self._maybe_inside)
        if has_arrived and (self._has_failed or connection not in self._maybe_inside):
            self._maybe_inside.discard(connection)
        elif has_arrived:
            self._maybe_inside.clear()
            self._is_taken = False
            self._empty_by = self._loop.time() + EMPTY_SECONDS
            self._on_departure()
        elif self._has_failed:
            self._stop_waiting()
            self._is_taken = False
        self._admit_next()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
