"""A policy comes in; the way to the warden of programs under it goes out.

The warden is a child of the guardian, beside the keepers: it answers what programs in a jail ask
for, and says what they are refused.  It is there only where programs are put into a jail.
"""

from __future__ import annotations

import os
import select
import socket

from kernel_runner.keepers import fork_server

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Collection

    from kernel_runner.jail.plan import Plan


class WardenPost:
    """The warden of the guardian, which is this process; `pid` while there is one.

    Args:
        poll: what is ready there goes to `hear`: the warden asks for memory of programs.
    """

    def __init__(self, poll: select.poll) -> None:
        self.pid: int | None = None
        self._poll = poll
        self._questions: socket.socket | None = None
        self._is_needed = False
        self._orders: socket.socket | None = None

    def prepare(self, policy: str, compiled: Plan) -> None:
        """Load what programs under this policy need, so that no fork has to."""
        from kernel_runner.jail import plan  # late: most guardians guard no jail

        plan.know(policy, compiled)
        self._is_needed = True
        self._stand()

    def way(self) -> int | None:
        """What programs announce themselves on; None where there is no jail.

        Raises:
            OSError: there is no warden, and none can be forked.
        """
        if not self._is_needed:
            return None
        if self.pid is None:
            self._stand()
        return None if self._orders is None else self._orders.fileno()

    def hear(self, ready: Collection[int]) -> None:
        """Answer, if one of these descriptors is where the warden asks."""
        if self._questions is not None and self._questions.fileno() in ready:
            from kernel_runner.jail.warden import answer

            try:
                is_there = answer(self._questions)
            except OSError:  # killed while it asked
                is_there = False
            if not is_there:
                self._stop_answering()

    def bury(self, pid: int) -> None:
        """A child has ended; if it was the warden, the next program gets another."""
        if pid == self.pid:
            self.pid = None
            self.let_go()

    def let_go(self) -> None:
        """It leaves when no program is left."""
        self._stop_answering()
        if self._orders is not None:
            self._orders.close()
            self._orders = None

    def _stop_answering(self) -> None:
        if self._questions is not None:
            self._poll.unregister(self._questions)
            self._questions.close()
            self._questions = None

    def _stand(self) -> None:
        from kernel_runner.jail.warden import READING

        self._stop_answering()
        self.pid, self._orders = fork_server(_guard)
        self._questions, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(self._orders, [READING], [theirs.fileno()])
        self._poll.register(self._questions, select.POLLIN)


def _guard(orders: socket.socket) -> None:
    from kernel_runner.jail.warden import Warden

    os.setsid()  # keys of the terminal are not for it
    Warden(orders).serve()
