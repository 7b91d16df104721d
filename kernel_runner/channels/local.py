"""A client in the runner's own process: commands and events pass as objects, without a wire."""

from collections.abc import Callable, Mapping
from typing import Final

from kernel_runner.channels import Receiver
from kernel_runner.messages.commands import Command
from kernel_runner.messages.request import Envelope, PeerGone, Request


class LocalChannel:
    """One client with the built-in session ``local``.

    Args:
        on_event: called with each event while `reading`; without reading, events wait in the
            runner and at last its program does.
    """

    builtin_session: Final = "local"
    address: Final = "this process"

    def __init__(self, on_event: Callable[[Envelope], None]) -> None:
        self._on_event = on_event
        self.reading = True
        self.gone = False

    def open(self, receiver: Receiver) -> Mapping[str, str]:
        self._receiver = receiver
        receiver.attach(self)
        return {}

    def close(self, linger_ms: int = 0) -> None:
        self.gone = True

    def send(self, envelope: Envelope) -> bool:
        if self.gone:
            raise PeerGone
        if self.reading:
            self._on_event(envelope)
        return self.reading

    def say(self, command: Command, identity: str) -> None:
        """Give the runner a command."""
        self._receiver.receive(Request(command, identity, self))

    def read_on(self) -> None:
        """Take events again, those that waited first."""
        self.reading = True
        self._receiver.writable()
