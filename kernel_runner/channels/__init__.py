"""Frames in, frames out: what the stages behind a channel see of it."""

from collections.abc import Mapping
from typing import Protocol

from kernel_runner.messages.request import BadRequest, Peer, Request


class Receiver(Protocol):
    """What a channel calls, always on the loop's thread; none of these waits."""

    def receive(self, request: Request | BadRequest) -> None:
        """A message came."""

    def attach(self, peer: Peer) -> None:
        """Somebody reads the events of this peer's built-in session now."""

    def detach(self, peer: Peer) -> None:
        """Nobody reads them any more."""

    def writable(self) -> None:
        """A peer that had no room may have some now."""


class Channel(Protocol):
    """One way for clients to reach the runner."""

    def open(self, receiver: Receiver) -> Mapping[str, str]:
        """Bind; the addresses by their option's name (``in``, ``out``, ``session``).

        Raises:
            ConfigError: an address cannot be bound.
        """

    def close(self, linger_ms: int) -> None:
        """Unbind; what was sent may still leave for `linger_ms`.  Fine to call twice."""
