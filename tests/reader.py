"""Envelopes come in until there is no room; what was taken is kept for the test."""

from kernel_runner.messages import events
from kernel_runner.messages.request import Envelope, PeerGone


class Reader:
    """One connection: it takes events while there is `room`, until it is gone."""

    def __init__(self, builtin_session: str | None = None) -> None:
        self.builtin_session = builtin_session
        self.room = 1_000_000
        self.gone = False
        self.taken: list[Envelope] = []

    def send(self, envelope: Envelope) -> bool:
        if self.gone:
            raise PeerGone
        if self.room <= 0:
            return False
        self.room -= 1
        self.taken.append(envelope)
        return True

    @property
    def kinds(self) -> list[str]:
        return [envelope.event.type for envelope in self.taken]


def stdout(text: str) -> events.Output:
    return events.Output("stdout", text.encode())
