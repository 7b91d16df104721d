"""Orders of programs come in; each goes to the keeper that is free, or to a new one.

A keeper that has nothing left of its program can keep another: most of what a program costs would
else be the start of its keeper.  One free keeper is held, since programs mostly come one by one.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys

from kernel_runner.keeper import serve_orders

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Final, NoReturn

EVERY_SIGNAL: Final = signal.valid_signals()
MESSAGE_BYTES: Final = 65_536


class Keepers:
    """The keepers of the guardian, which is this process.

    Args:
        poll: the sockets of all keepers are registered there; what is ready goes to `hear`.
        ignored_signals: set back to their default in programs.
    """

    def __init__(self, poll: select.poll, ignored_signals: Sequence[int]) -> None:
        self.pids: set[int] = set()
        self._poll = poll
        self._ignored_signals = ignored_signals
        self._sockets: dict[int, socket.socket] = {}
        self._free: socket.socket | None = None

    def order(self, message: bytes, fds: Sequence[int]) -> None:
        """Have a program kept; raises `OSError` when no keeper is free and none can be forked."""
        free, self._free = self._free, None
        if free is None or not _hand_over(free, message, fds):
            _hand_over(self._fork(), message, fds)

    def hear(self, ready: Collection[int]) -> None:
        """Of these descriptors, those of keepers: each is free for a program, or has ended."""
        for fd in ready & self._sockets.keys():
            keeper = self._sockets[fd]
            try:
                is_free = bool(keeper.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT))
            except OSError:
                is_free = False
            if is_free and self._free is None:
                self._free = keeper
            else:
                self._let_go(keeper)

    def let_go(self) -> None:
        """Each leaves as soon as nothing of its program is left."""
        for keeper in [*self._sockets.values()]:
            self._let_go(keeper)

    def _let_go(self, keeper: socket.socket) -> None:
        if self._free is keeper:
            self._free = None
        del self._sockets[keeper.fileno()]
        self._poll.unregister(keeper)
        keeper.close()

    def _fork(self) -> socket.socket:
        pid, ours = fork_server(lambda orders: serve_orders(orders, self._ignored_signals))
        self.pids.add(pid)
        self._sockets[ours.fileno()] = ours
        self._poll.register(ours, select.POLLIN)
        return ours


def _hand_over(keeper: socket.socket, message: bytes, fds: Sequence[int]) -> bool:
    """False when the keeper has ended."""
    try:
        socket.send_fds(keeper, [message], fds)
    except BrokenPipeError:
        return False
    return True


def fork_server(serve: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
    """A child that serves the other end of this socket, and ends when it has; raises `OSError`."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # It starts with all signals blocked, so none reaches the handlers and the wake pipe that it
    # has in common with us.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, EVERY_SIGNAL)
    try:
        pid = os.fork()
        if pid == 0:
            _become_server(theirs, serve)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid, ours


def _become_server(orders: socket.socket, serve: Callable[[socket.socket], None]) -> NoReturn:
    code = 1
    try:
        # others wait for the end of what is open here
        os.closerange(3, orders.fileno())
        os.closerange(orders.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        serve(orders)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        flush_and_leave(code)


def flush_and_leave(code: int) -> NoReturn:
    """The end of a forked process, which has no right to the clean-up of the first one."""
    try:
        flush()
    finally:
        os._exit(code)


def flush() -> None:
    """Write what was printed here; a forked process would print it again."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # the descriptor was closed from the start
            stream.flush()
