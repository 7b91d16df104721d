"""The client's end of the wire: commands in, the runner's events out, over one DEALER socket."""

from collections import deque
from collections.abc import Callable

import zmq

from kernel_runner.client.errors import BadAddress
from kernel_runner.messages.commands import Command
from kernel_runner.messages.session_wire import Frames, Received, decode_event, encode_command
from kernel_runner.zsocket import KEEPALIVE, ZSocket


class ClientSocket:
    """Connects at once, even when the runner is not there yet: ZeroMQ keeps trying.

    Args:
        on_event: called with each event, in the order of arrival.
    """

    def __init__(self, address: str, on_event: Callable[[Received], None]) -> None:
        self.address = address
        self._on_event = on_event
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._unsent: deque[Frames] = deque()
        self._socket = ZSocket(
            self._context.socket(zmq.DEALER),
            on_frames=self._receive,
            on_writable=self._flush,
            options=KEEPALIVE,
        )
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            self.close()
            raise BadAddress(address) from error

    def send(self, command: Command, request_id: str) -> None:
        """Send one command, or keep it until it can be sent."""
        self._unsent.append(encode_command(command, request_id=request_id))
        self._flush()

    def close(self) -> None:
        """Close it; what was sent has 200 ms to leave."""
        self._socket.close(linger_ms=200)
        self._context.term()

    def _flush(self) -> None:
        while self._unsent and self._socket.send(self._unsent[0]):
            self._unsent.popleft()

    def _receive(self, frames: list[bytes]) -> None:
        self._on_event(decode_event(frames))
