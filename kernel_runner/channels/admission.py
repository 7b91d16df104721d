"""Who wants to come in to a socket is asked about here; whoever answers for that socket says it.

ZeroMQ has one place for this in each context (ZAP, RFC 27).  A handshake stands still until its
question is answered, and libzmq itself does what the answer says.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import zmq

from kernel_runner.zsocket import Unreachable, ZSocket

ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
ADMITTED: Final = (b"200", b"OK", b"", b"")
REFUSED: Final = (b"400", b"not known here", b"", b"")


class Caller:
    """One who waits at the door; `key` is the public one that he has proved to own, if any."""

    def __init__(self, door: ZSocket, request: list[bytes]) -> None:
        *self._return_path, domain, address, _identity, _mechanism = request[:8]
        self._door = door
        self.domain = domain.decode(errors="replace")
        self.address = address.decode(errors="replace")
        self.key = request[8] if len(request) > 8 else None

    def admit(self) -> bool:
        """Let him in; False when he has given up."""
        return self._answer(ADMITTED)

    def refuse(self) -> None:
        """Send him away for good: libzmq does not try again by itself."""
        self._answer(REFUSED)

    def _answer(self, answer: tuple[bytes, ...]) -> bool:
        try:
            return self._door.send([*self._return_path, *answer])
        except Unreachable:
            return False


Judge: TypeAlias = Callable[[Caller], None]


class Admission:
    """Passes each question on by its domain; one for each context."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._context = context
        self._judges: dict[str, Judge] = {}
        self._door: ZSocket | None = None

    def ask_at(self, domain: str, judge: Judge) -> None:
        """From now on `judge` answers for the sockets with this ZAP domain, at once or later."""
        self._judges[domain] = judge
        if self._door is None:
            door = self._context.socket(zmq.ROUTER)
            door.bind(ZAP_ENDPOINT)
            self._door = ZSocket(door, on_frames=self._ask, options={zmq.ROUTER_MANDATORY: 1})

    def forget(self, domain: str) -> None:
        """Its socket ends: who asks there is not answered, and may try at the next one."""
        self._judges.pop(domain, None)

    def close(self) -> None:
        """Nobody is let in any more.  Fine to call twice."""
        if self._door is not None:
            self._door.close()
            self._door = None

    def _ask(self, request: list[bytes]) -> None:
        assert self._door is not None, "frames come only while it is open"
        caller = Caller(self._door, request)
        if (judge := self._judges.get(caller.domain)) is not None:
            judge(caller)
