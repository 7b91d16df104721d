"""The test double of a channel: says commands and hears events in the runner's own process."""

import asyncio
from collections.abc import Mapping

from kernel_runner.channels import Receiver
from kernel_runner.messages.commands import Command
from kernel_runner.messages.events import AnyEvent
from kernel_runner.messages.request import Envelope, PeerGone, Request

HEAR_SECONDS = 10.0


class MemoryChannel:
    """One client without a wire.  `reading = False` makes it a client that has stopped reading."""

    builtin_session = "memory"

    def __init__(self) -> None:
        self.reading = True
        self.gone = False
        self._heard: asyncio.Queue[Envelope] = asyncio.Queue()

    def open(self, receiver: Receiver) -> Mapping[str, str]:
        self._receiver = receiver
        receiver.attach(self)
        return {}

    def close(self, linger_ms: int) -> None:
        self.gone = True

    def send(self, envelope: Envelope) -> bool:
        if self.gone:
            raise PeerGone
        if self.reading:
            self._heard.put_nowait(envelope)
        return self.reading

    def read_on(self) -> None:
        self.reading = True
        self._receiver.writable()

    def say(self, command: Command, identity: str) -> None:
        self._receiver.receive(Request(command, identity, self))

    async def hear(self) -> Envelope:
        """The next event; the time limit is for failures."""
        async with asyncio.timeout(HEAR_SECONDS):
            return await self._heard.get()

    async def hear_until(self, kind: str, identity: str | None = None) -> list[AnyEvent]:
        """All events up to the first of this type (and id), that one included."""
        heard: list[AnyEvent] = []
        while True:
            envelope = await self.hear()
            if identity is None or envelope.id == identity:
                heard.append(envelope.event)
                if envelope.event.type == kind:
                    return heard
