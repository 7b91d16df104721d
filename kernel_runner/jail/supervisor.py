"""Calls that wait for a decision come in from a listener; answers and reports go out.

A call is let go on only for what registers and counters say.  What was read from memory leads to a
refusal, to a report, or to a call that the supervisor makes itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time

from kernel_runner.jail import target, tree
from kernel_runner.jail.bpf import verdict_of

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final, Protocol

    from kernel_runner.jail.plan import Plan
    from kernel_runner.jail.report import Reporter

    class Places(Protocol):
        """What a `launch.Jail` says of its paths."""

        @property
        def write_roots(self) -> Sequence[str]: ...
        def roots(self) -> Mapping[str, Sequence[str]]: ...

    class Learner(Protocol):
        """Is told what a program uses that nobody restricts."""

        def saw_path(self, right: str, path: str) -> None: ...
        def saw_port(self, call: str, port: int) -> None: ...
        def saw_call(self, call: str, args: Sequence[int]) -> None: ...


RECEIVE: Final = 0xC0502100
SEND: Final = 0xC0182101
ID_VALID: Final = 0x40082102
SET_FLAGS: Final = 0x40082104
SYNC_WAKE_UP: Final = 1
CONTINUE: Final = 1
NOTIFICATION: Final = "=QIIiIQ6Q"  # id, pid, flags, number, arch, address, arguments
NOTIFICATION_BYTES: Final = 80
ANSWER: Final = "=QqiI"
AUDIT_ARCHES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT: Final = 0x40000000

LATE_SECONDS: Final = 0.02
SLOT_SECONDS: Final = 0.002
RECOUNT_SECONDS: Final = 0.01
RECOUNT_SHARE: Final = 50
"""A count is at most one part in 50 of the time: a bomb must not cost a whole processor."""


class Supervisor:
    """Answers for all processes under one listener.

    Args:
        root: its descendants are counted.
        jail: what the program is in.

    Attributes:
        killed: a violation is to end the program.
        is_ending: nobody may start another process.
    """

    def __init__(
        self,
        plan: Plan,
        listener: int,
        reporter: Reporter,
        *,
        root: int,
        jail: Places,
        learner: Learner | None = None,
    ) -> None:
        self._plan = plan
        self._listener = listener
        self._reporter = reporter
        self._root = root
        self._jail = jail
        self._roots: Mapping[str, Sequence[str]] = {}
        self._learner = learner
        self._arch = AUDIT_ARCHES[os.uname().machine]
        self._names: Mapping[int, str] = {}
        self._kills = plan["on_violation"] == "kill"
        self._processes = self._threads = 1
        self._recount_at = 0.0
        self._late: list[tuple[float, int, int]] = []
        self._slot = 0.0
        self.killed = False
        self.is_ending = False
        _wake_on_same_processor(listener)

    def serve(self) -> None:
        """Take one call and answer it, now or later."""
        buffer = bytearray(NOTIFICATION_BYTES)
        try:
            fcntl.ioctl(self._listener, RECEIVE, buffer)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return  # it was killed meanwhile
            raise
        ident, pid, _, number, arch, _, *args = struct.unpack(NOTIFICATION, buffer)
        if arch != self._arch or number & X32_BIT:
            self._report_foreign(pid, number, args)
            return  # without an answer: it waits until it is killed
        kind, code, rule = verdict_of(self._plan["clauses"][number], args)
        if kind in ("fork", "thread"):
            self._decide_fork(ident, pid, number, args, rule)
        elif kind == "own" and os.path.exists(f"/proc/{pid}/task/{target.signed(args[0])}"):
            self._answer(ident, 0)
        elif kind == "metadata":
            self._broker(ident, pid, number, args)
        elif kind in ("path", "port", "watch"):
            self._tell(ident, pid, number, args, kind)
            self._answer(ident, 0)
        else:
            self._refuse(ident, pid, number, args, code, rule, kills=kind == "kill")

    def pause_seconds(self) -> float | None:
        """How long nothing is to be done for answers that wait; None: there are none."""
        return max(0.0, self._late[0][0] - time.monotonic()) if self._late else None

    def answer_late(self) -> None:
        """Send the answers whose time has come."""
        now = time.monotonic()
        while self._late and (self._late[0][0] <= now or self.is_ending):
            _, ident, code = self._late.pop(0)
            self._answer(ident, code)

    def _answer(self, ident: int, code: int) -> None:
        """The call fails with `code`; with 0 it is made."""
        answer = struct.pack(ANSWER, ident, 0, -code, 0 if code else CONTINUE)
        self._send(answer)

    def _send(self, answer: bytes) -> None:
        try:
            fcntl.ioctl(self._listener, SEND, answer)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINPROGRESS):  # it was killed meanwhile
                raise

    def _answer_late(self, ident: int, code: int) -> None:
        """Whoever repeats it has to wait, so that it costs the supervisor little."""
        self._slot = max(time.monotonic() + LATE_SECONDS, self._slot + SLOT_SECONDS)
        self._late.append((self._slot, ident, code))

    def _is_waiting(self, ident: int) -> bool:
        try:
            fcntl.ioctl(self._listener, ID_VALID, struct.pack("=Q", ident))
        except OSError:
            return False
        return True

    def _name(self, number: int) -> str:
        if not self._names:
            from kernel_runner.jail.syscalls import this_machine  # late: for reports only

            machine = this_machine()
            self._names = machine.names if machine else {}
        return self._names.get(number, f"call {number}")

    # processes -----------------------------------------------------------------------------

    def _decide_fork(self, ident: int, pid: int, number: int, args: list[int], rule: str) -> None:
        is_thread = rule == "process.max_threads"
        if not self.is_ending and (self._has_room(is_thread) or self._recount(is_thread)):
            self._threads += 1
            self._processes += not is_thread
            self._answer(ident, 0)
            return
        if not self.is_ending:
            most = self._plan["max_threads" if is_thread else "max_processes"]
            what = (
                f"{self._name(number)}: more than {most} {'threads' if is_thread else 'processes'}"
            )
            self._say(pid, number, args, rule, errno.EAGAIN, what)
        self._answer_late(ident, errno.EAGAIN)

    def _has_room(self, is_thread: bool) -> bool:
        most_processes, most_threads = self._plan["max_processes"], self._plan["max_threads"]
        if most_threads is not None and self._threads >= most_threads:
            return False
        return is_thread or most_processes is None or self._processes < most_processes

    def _recount(self, is_thread: bool) -> bool:
        """The counters only rise; at the limit they are set right, but not too often."""
        start = time.monotonic()
        if start < self._recount_at:
            return False
        found = tree.below(self._root)
        self._processes = len(found)
        self._threads = sum(threads for threads, _ in found.values())
        end = time.monotonic()
        self._recount_at = end + max(RECOUNT_SECONDS, RECOUNT_SHARE * (end - start))
        return self._has_room(is_thread)

    # files ---------------------------------------------------------------------------------

    def _broker(self, ident: int, pid: int, number: int, args: list[int]) -> None:
        from kernel_runner.jail.broker import Broker  # late: most programs need none

        call = self._name(number)
        broker = Broker(self._jail.write_roots)
        code, path = broker.carry_out(pid, call, args, lambda: self._is_waiting(ident))
        if code == 0:
            self._send(struct.pack(ANSWER, ident, 0, 0, 0))
        elif path:
            what = f"{call} {path}: not in files.write"
            self._refuse_with(ident, pid, number, args, code, "files.metadata", what, path)
        else:
            self._answer(ident, code)  # as the call would fail without a jail

    def _tell(self, ident: int, pid: int, number: int, args: list[int], kind: str) -> None:
        """Report what Landlock is going to refuse, or learn what is used."""
        call = self._name(number)
        try:
            if kind == "watch":
                self._tell_watched(pid, number, args)
            elif kind == "port":
                self._tell_port(pid, number, call, args)
            else:
                for right, path in target.uses(pid, call, args):
                    self._tell_path(pid, number, args, right, path)
        except OSError:  # it has ended, or what it points to is nothing: the kernel will say so
            return

    def _tell_watched(self, pid: int, number: int, args: list[int]) -> None:
        call = self._name(number)
        if self._learner is not None:
            self._learner.saw_call(call, args)
            return
        from kernel_runner.jail.report import described

        self._say(pid, number, args, "syscalls.watch", 0, f"{described(call, args)}: watched")

    def _tell_port(self, pid: int, number: int, call: str, args: list[int]) -> None:
        port = target.port_of(pid, args)
        if port is None:
            return
        if self._learner is not None:
            self._learner.saw_port(call, port)
        key = "listen" if call == "bind" else "connect"
        if (
            self._learner is None
            and port not in self._plan["listen" if key == "listen" else "connect"]
        ):
            what = f"{call} to TCP port {port}: not in network.{key}"
            self._say(pid, number, args, f"network.{key}", errno.EACCES, what)

    def _tell_path(self, pid: int, number: int, args: list[int], right: str, path: str) -> None:
        if self._learner is not None:
            self._learner.saw_path(right, path)
            return
        if right == target.WRITE:
            exists = os.path.lexists(os.path.dirname(path))
        else:
            exists = os.path.exists(path)
        if not exists or self._is_allowed(right, path):
            return
        verb = {"read": "for reading", "write": "for writing", "execute": "for execution"}[right]
        what = f"{self._name(number)} {path} {verb}: not in files.{right}"
        self._say(pid, number, args, f"files.{right}", errno.EACCES, what, path)

    def _is_allowed(self, right: str, path: str) -> bool:
        from kernel_runner.jail.places import is_below

        self._roots = self._roots or self._jail.roots()
        lists = {"read": ("read", "write", "device"), "write": ("write", "device")}
        roots = [one for name in lists.get(right, ("execute",)) for one in self._roots[name]]
        real = os.path.realpath(path)
        # a pipe or a socket of its own, by way of /proc/self/fd
        return is_below(real, roots) or not real.startswith("/") or ":[" in real

    # violations ----------------------------------------------------------------------------

    def _refuse(
        self,
        ident: int,
        pid: int,
        number: int,
        args: list[int],
        code: int,
        rule: str,
        *,
        kills: bool,
    ) -> None:
        from kernel_runner.jail.report import why

        what = why(self._name(number), args, rule)
        self._refuse_with(ident, pid, number, args, code, rule, what, kills=kills)

    def _refuse_with(
        self,
        ident: int,
        pid: int,
        number: int,
        args: list[int],
        code: int,
        rule: str,
        what: str,
        path: str | None = None,
        *,
        kills: bool = False,
    ) -> None:
        kills = kills or self._kills
        is_new = self._say(pid, number, args, rule, None if kills else code, what, path)
        self.killed |= kills
        if kills:
            return  # without an answer: it waits until it is killed
        if is_new:
            self._answer(ident, code)
        else:
            self._answer_late(ident, code)

    def _say(
        self,
        pid: int,
        number: int,
        args: list[int],
        rule: str,
        code: int | None,
        what: str,
        path: str | None = None,
    ) -> bool:
        """`code` is the errno, 0 when it is allowed, None when it ends the program."""
        action = "kill" if code is None else errno.errorcode.get(code, "allowed")
        return self._reporter.violation(
            rule=rule,
            call=self._name(number),
            args=args,
            pid=pid,
            comm=tree.name_of(pid),
            action=action,
            what=what,
            path=path,
        )

    def _report_foreign(self, pid: int, number: int, args: list[int]) -> None:
        what = f"call {number & ~X32_BIT} of another architecture: 32-bit and x32 calls are refused"
        self._say(pid, number, args, "syscalls", None, what)
        self.killed = True


def load_all() -> None:
    """What is otherwise loaded when it is first needed, while a program may write where it is."""
    for name in ("json", "shutil"):
        __import__(name)
    for name in ("broker", "report", "syscalls"):
        __import__(f"kernel_runner.jail.{name}")


def _wake_on_same_processor(listener: int) -> None:
    """The caller waits for the supervisor anyway: that saves waking another processor."""
    try:
        fcntl.ioctl(listener, SET_FLAGS, SYNC_WAKE_UP)
    except OSError:  # before Linux 6.6
        return
