"""Listeners come in over a socket, one for each program; their calls are answered until the end.

One warden stands beside a spawner and serves all its programs.  A program, between fork and exec:

    listener = jail.enter()
    announce(warden_fd, listener, records_fd, message)      # `message` was made before the fork

What is refused is written to `records_fd` as JSON lines, and that is closed when no process of
the program is left.  A record with the action "kill" means that its tree is to be ended: the call
stays unanswered until then.

The warden is no ancestor of the programs, and Yama lets nobody else read their memory.  So an
ancestor reads it for the warden (`READING` and `answer`), where it cannot itself.
"""

from __future__ import annotations

import _socket  # `socket` costs each start 5 ms
import errno
import marshal
import os
import select
import struct

from kernel_runner.jail import plan as plans
from kernel_runner.jail import target
from kernel_runner.jail.report import Reporter
from kernel_runner.jail.supervisor import Supervisor, load_all

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from kernel_runner.jail.launch import Jail

MESSAGE_BYTES: Final = 65_536
DESCRIPTORS: Final = 2
READING: Final = b"reading"
"""Comes with the socket on which an ancestor answers."""
QUESTION: Final = "=iQQ"


def message_for(policy: str, jail: Jail, root: int) -> bytes:
    """What a program in this jail announces; `root` is the process whose descendants are counted.

    It has to be at most 64 KiB, which some hundred paths are.
    """
    return marshal.dumps((policy, root, jail.write_roots, jail.roots(), jail.sockets))


def announce(warden_fd: int, listener: int, records_fd: int, message: bytes) -> None:
    """Hand the listener over; for the child of a fork, with the filter upon it."""
    warden = _socket.socket(fileno=warden_fd)
    rights = struct.pack("=2i", listener, records_fd)
    warden.sendmsg([message], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    warden.detach()
    os.close(listener)


def answer(questions: _socket.socket) -> bool:
    """For the ancestor: read what the warden asks for; False when it has gone."""
    question = questions.recv(struct.calcsize(QUESTION))
    if not question:
        return False
    try:
        words = b"+" + target.read_own(*struct.unpack(QUESTION, question))
    except OSError:
        words = b"-"
    questions.send(words)
    return True


def asking(ancestor: _socket.socket) -> Callable[[int, int, int], bytes]:
    """Reads memory by asking there."""

    def read(pid: int, address: int, size: int) -> bytes:
        ancestor.send(struct.pack(QUESTION, pid, address, size))
        words = ancestor.recv(MESSAGE_BYTES)
        if words[:1] != b"+":
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return words[1:]

    return read


class _Announced:
    """The places of a jail that another process made."""

    def __init__(
        self, write_roots: list[str], roots: dict[str, list[str]], sockets: list[str]
    ) -> None:
        self.write_roots = write_roots
        self.sockets = sockets
        self._roots = roots

    def roots(self) -> dict[str, list[str]]:
        return self._roots


class Warden:
    """Serves until the other end of `orders` is closed and no program is left.

    Args:
        orders: a SOCK_SEQPACKET socket; its other end is what programs announce themselves on.
    """

    def __init__(self, orders: _socket.socket) -> None:
        load_all()
        self._orders = orders
        self._poll = select.poll()
        self._poll.register(orders.fileno(), select.POLLIN)
        self._is_open = True
        self._programs: dict[int, tuple[Supervisor, Reporter, int]] = {}

    def serve(self) -> None:
        while self._is_open or self._programs:
            for fd, event in self._poll.poll(self._pause_ms()):
                if fd == self._orders.fileno():
                    self._take()
                elif event & select.POLLIN:
                    self._programs[fd][0].serve()
                else:
                    self._leave(fd)
            for supervisor, _, _ in self._programs.values():
                supervisor.answer_late()

    def _pause_ms(self) -> float | None:
        pauses = [one.pause_seconds() for one, _, _ in self._programs.values()]
        known = [one for one in pauses if one is not None]
        return min(known) * 1000 + 1 if known else None

    def _take(self) -> None:
        message, ancillary, _, _ = self._orders.recvmsg(
            MESSAGE_BYTES, _socket.CMSG_SPACE(4 * DESCRIPTORS), _socket.MSG_CMSG_CLOEXEC
        )
        if not message:
            self._poll.unregister(self._orders.fileno())
            self._is_open = False
            return
        ((_, _, rights),) = ancillary
        if message == READING:
            ancestor = _socket.socket(fileno=struct.unpack("=i", rights)[0])
            target.read_for_us = asking(ancestor)
            return
        listener, records_fd = struct.unpack("=2i", rights)
        policy, root, write_roots, roots, sockets = marshal.loads(message)
        plan = plans.load_once(policy)
        reporter = Reporter(plan["policy"], None, records_fd)
        places = _Announced(write_roots, roots, sockets)
        supervisor = Supervisor(plan, listener, reporter, root=root, jail=places)
        self._programs[listener] = supervisor, reporter, records_fd
        self._poll.register(listener, select.POLLIN)

    def _leave(self, listener: int) -> None:
        """Nobody is under this filter any more."""
        _, reporter, records_fd = self._programs.pop(listener)
        reporter.finish()
        self._poll.unregister(listener)
        os.close(listener)
        os.close(records_fd)
