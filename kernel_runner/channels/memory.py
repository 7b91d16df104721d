"""The test double of a client: says commands and hears events in the runner's own process."""

import asyncio

from kernel_runner.channels.local import LocalChannel
from kernel_runner.messages.events import AnyEvent
from kernel_runner.messages.request import Envelope

HEAR_SECONDS = 10.0


class MemoryChannel(LocalChannel):
    """Keeps what it hears.  `reading = False` makes it a client that has stopped reading."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[Envelope] = asyncio.Queue()
        super().__init__(self._heard.put_nowait)

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
