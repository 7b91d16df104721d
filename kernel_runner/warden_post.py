"""A policy comes in; the way to the warden of programs under it goes out.

The warden is a child of the guardian, beside the keepers: it answers what programs in a jail ask
for, and says what they are refused.  It is there only where programs are put into a jail.
"""

from __future__ import annotations

from kernel_runner.keepers import fork_server

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    import socket


class WardenPost:
    """The warden of the guardian, which is this process; `pid` while there is one."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self._policy: str | None = None
        self._orders: socket.socket | None = None

    def prepare(self, policy: str) -> None:
        """Load what programs under this policy need, so that no fork has to.

        A policy that cannot be used is told by whoever starts a program under it.
        """
        from kernel_runner.jail import plan  # late: most guardians guard no jail
        from kernel_runner.jail.errors import JailError

        self._policy = policy
        try:
            plan.load_once(policy)
        except JailError:
            return
        self._stand()

    def way(self) -> int | None:
        """What programs announce themselves on; None where there is no jail.

        Raises:
            OSError: there is no warden, and none can be forked.
        """
        if self._policy is None:
            return None
        if self.pid is None:
            self._stand()
        return None if self._orders is None else self._orders.fileno()

    def bury(self, pid: int) -> None:
        """A child has ended; if it was the warden, the next program gets another."""
        if pid == self.pid:
            self.pid = None
            self.let_go()

    def let_go(self) -> None:
        """It leaves when no program is left."""
        if self._orders is not None:
            self._orders.close()
            self._orders = None

    def _stand(self) -> None:
        self.pid, self._orders = fork_server(_guard)


def _guard(orders: socket.socket) -> None:
    import os

    from kernel_runner.jail.warden import Warden

    os.setsid()  # keys of the terminal are not for it
    Warden(orders).serve()
