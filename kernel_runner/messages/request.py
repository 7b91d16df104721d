"""A command with its id and sender on the way in, a numbered event on the way out."""

from typing import Protocol

import msgspec

from kernel_runner.messages.commands import Command
from kernel_runner.messages.events import AnyEvent


class Envelope(msgspec.Struct, frozen=True):
    """One event as it is handed to a channel.  `seq` is None where events are not numbered."""

    event: AnyEvent
    id: str | None
    seq: int | None
    t_ns: int


class Peer(Protocol):
    """One connection of a client, as the channel knows it; hashable."""

    @property
    def builtin_session(self) -> str | None:
        """The session that this peer has without asking for one."""

    def send(self, envelope: Envelope) -> bool:
        """Hand over one event; False when it has to wait for `on_writable`.

        Raises:
            PeerGone: nobody will read what is sent to this peer.
        """


class PeerGone(Exception):
    """The connection has ended."""


class Request(msgspec.Struct, frozen=True):
    """One command, the id its events carry, and the connection it came from."""

    command: Command
    id: str
    peer: Peer


class BadRequest(msgspec.Struct, frozen=True):
    """What arrived cannot be carried out; it is answered all the same."""

    op: str
    id: str | None
    peer: Peer
    code: str
    message: str
    hint: str
