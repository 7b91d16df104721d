"""One ZeroMQ socket on the running loop: frames come by callback, frames go without waiting.

ZeroMQ tells of activity by an edge on one descriptor, which a send may swallow; so after each
send and each batch of receives the socket is asked again (see the ZeroMQ manual, ZMQ_FD).
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

import zmq

RECEIVE_BATCH: Final = 64
"""Messages handed over in one turn of the loop, so that a flood delays nobody else for long."""
FIRST_RETRY_SECONDS: Final = 0.001
LAST_RETRY_SECONDS: Final = 0.05
"""A send that had no room is tried again by itself: any call into ZeroMQ may swallow the edge that
tells of room, and a ROUTER does not say which peer has some."""


# A peer whose machine is gone is noticed by the kernel.  ZeroMQ's own heartbeats would also cut off
# a reader that is only slow: libzmq answers them no more once its receive queue is full.
KEEPALIVE: Final[Mapping[int, int]] = {
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
}


# as enumerations they are slow to combine
POLLIN, POLLOUT = int(zmq.POLLIN), int(zmq.POLLOUT)
LAST_FRAME, MORE_FRAMES = int(zmq.NOBLOCK), int(zmq.NOBLOCK) | int(zmq.SNDMORE)


TERM_SECONDS: Final = 1.0


def end_context(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Let go of a context whose sockets are closed.

    libzmq 4.3.5 was seen to wait here for ever, once, after a peer had left at the same moment;
    then it waits without us.
    """
    ending = threading.Thread(target=context.term, daemon=True, name="end of ZeroMQ")
    ending.start()
    ending.join(TERM_SECONDS)


class Unreachable(Exception):
    """A ROUTER has no such peer (any more)."""


class ZSocket:
    """Owns the socket from construction to `close`.

    Args:
        on_frames: called with each message, in order.
        on_writable: called when a send that returned False may succeed now.
        options: socket options, set before anything is bound or connected.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        *,
        on_frames: Callable[[list[bytes]], None] | None = None,
        on_writable: Callable[[], None] | None = None,
        options: Mapping[int, int | bytes] | None = None,
    ) -> None:
        self.socket = socket
        self._on_frames = on_frames
        self._on_writable = on_writable
        self._loop = asyncio.get_running_loop()
        self._is_paused = False
        self._turn: asyncio.Handle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._retry_seconds = FIRST_RETRY_SECONDS
        for option, value in (options or {}).items():
            socket.set(option, value)
        self._fd = socket.FD
        # a ROUTER is writable as soon as any of its peers is, which tells nothing of the one
        self._telling = POLLIN if socket.type == zmq.ROUTER else POLLIN | POLLOUT
        self._loop.add_reader(self._fd, self._take_turn)
        # an inproc peer wakes only a socket that has looked before and found nothing
        self._look_again()

    def bind(self, address: str) -> str:
        """The address that was bound: a port of 0 is replaced by the one chosen.

        Raises:
            zmq.ZMQError: the address is taken, malformed or not ours.
        """
        self._allow_family(address)
        self.socket.bind(address)
        self._look_again()
        return cast(bytes, self.socket.last_endpoint).rstrip(b"\0").decode()

    def connect(self, address: str) -> None:
        self._allow_family(address)
        self.socket.connect(address)
        self._look_again()

    def _allow_family(self, address: str) -> None:
        if address.startswith("tcp://["):
            self.socket.set(zmq.IPV6, 1)  # without it libzmq knows IPv4 only

    def send(self, frames: Sequence[bytes]) -> bool:
        """Hand over one message; False when ZeroMQ has no room for it now.

        Raises:
            Unreachable: the socket is a ROUTER and the peer is gone.
        """
        try:
            for frame in frames[:-1]:
                self.socket.send(frame, MORE_FRAMES)
            self.socket.send(frames[-1], LAST_FRAME)
        except zmq.Again:
            self._retry_later()
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            raise Unreachable from error
        finally:
            self._look_again()
        self._retry_seconds = FIRST_RETRY_SECONDS
        return True

    def pause(self) -> None:
        """Take no messages until `resume`: they stay with ZeroMQ, and then with their sender."""
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self._look_again()

    @property
    def has_unread(self) -> bool:
        """Whether a message has arrived that was not taken yet."""
        has_unread = bool(cast(int, self.socket.get(zmq.EVENTS)) & POLLIN)
        self._look_again()
        return has_unread

    def close(self, linger_ms: int = 0) -> None:
        """Close it; `linger_ms` is how long what was sent may still leave."""
        for handle in (self._turn, self._retry):
            if handle is not None:
                handle.cancel()
        self._loop.remove_reader(self._fd)
        self.socket.close(linger_ms)

    def _look_again(self) -> None:
        if self._turn is not None or self.socket.closed:
            return
        wanted = POLLIN if self._retry is None else self._telling
        if self._is_paused:
            wanted &= ~POLLIN
        if cast(int, self.socket.get(zmq.EVENTS)) & wanted:
            self._turn = self._loop.call_soon(self._take_turn)

    def _retry_later(self) -> None:
        if self._retry is None and not self.socket.closed:
            self._retry = self._loop.call_later(self._retry_seconds, self._take_turn)
            self._retry_seconds = min(self._retry_seconds * 2, LAST_RETRY_SECONDS)

    def _take_turn(self) -> None:
        self._turn = None
        try:
            self._exchange()
        finally:
            self._look_again()  # what waits behind a message that raised is not forgotten

    def _exchange(self) -> None:
        for _ in range(RECEIVE_BATCH):
            if self._on_frames is None or self._is_paused or self.socket.closed:
                break
            try:
                frames = self.socket.recv_multipart(LAST_FRAME)
            except zmq.Again:
                break
            self._on_frames(frames)
        if self._retry is not None and self._on_writable is not None and not self.socket.closed:
            self._retry.cancel()
            self._retry = None
            self._on_writable()
