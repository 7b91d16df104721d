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
from kernel_runner.jail.census import Census

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final, Protocol, TypeAlias

    from kernel_runner.jail.connector import Connector
    from kernel_runner.jail.plan import Plan
    from kernel_runner.jail.report import Reporter

    Fork: TypeAlias = tuple[int, int, int, list[int], str]  # id, pid, number, arguments, rule

    class Places(Protocol):
        """What a `launch.Jail` says of its paths."""

        @property
        def write_roots(self) -> Sequence[str]: ...
        @property
        def sockets(self) -> Sequence[str]: ...
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


class Supervisor:
    """Answers for all processes under one listener.

    Args:
        root: its descendants are counted.
        jail: what the program is in.

    Attributes:
        killed: a violation is to end the program.
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
        self._jail = jail
        self._roots: Mapping[str, Sequence[str]] = {}
        self._learner = learner
        self._arch = AUDIT_ARCHES[os.uname().machine]
        self._names: Mapping[int, str] = {}
        self._kills = plan["on_violation"] == "kill"
        self._census = Census(root, plan["max_processes"], plan["max_threads"])
        self._forks: list[Fork] = []
        self._late: list[tuple[float, int, int]] = []
        self._slot = 0.0
        self._connector: Connector | None = None
        self.killed = False
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
            self._decide_fork((ident, pid, number, args, rule))
        elif kind == "own" and os.path.exists(f"/proc/{pid}/task/{target.signed(args[0])}"):
            self._answer(ident, 0)
        elif kind == "metadata":
            self._broker(ident, pid, number, args)
        elif kind == "socket":
            self._connect(ident, pid, number, args)
        elif kind in ("path", "port", "watch"):
            self._tell(ident, pid, number, args, kind)
            self._answer(ident, 0)
        else:
            self._refuse(ident, pid, number, args, code, rule, kills=kind == "kill")

    def pause_seconds(self) -> float | None:
        """How long nothing is to be done for answers that wait; None: there are none."""
        times = [one[0] for one in self._late[:1]]
        if self._forks:
            times.append(self._census.due_at)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def answer_late(self) -> None:
        """Send the answers whose time has come."""
        now = time.monotonic()
        if self._forks and self._census.due_at <= now:
            self._decide_late_forks()
        while self._late and self._late[0][0] <= now:
            _, ident, code = self._late.pop(0)
            if self._connector is not None and self._connector.is_asked(ident):
                self._try_to_connect(ident, self._connector)
            else:
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

    def _decide_fork(self, fork: Fork) -> None:
        is_thread = fork[-1] == "process.max_threads"
        if self._census.has_room(for_thread=is_thread):
            self._census.add(thread=is_thread)
            self._answer(fork[0], 0)
        else:
            self._forks.append(fork)

    def _decide_late_forks(self) -> None:
        """Count, and decide those that came while there was no room."""
        self._census.count()
        forks, self._forks = self._forks, []
        for fork in forks:
            self._decide_fork(fork)
        refused, self._forks = self._forks, []
        for ident, pid, number, args, rule in refused:
            most, what = self._plan["max_processes"], "processes"
            if rule == "process.max_threads":
                most, what = self._plan["max_threads"], "threads"
            sentence = f"{self._name(number)}: more than {most} {what}"
            self._say(pid, number, args, rule, errno.EAGAIN, sentence)
            self._answer_late(ident, errno.EAGAIN)

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

    def _connect(self, ident: int, pid: int, number: int, args: list[int]) -> None:
        from kernel_runner.jail.connector import Connector  # late: most programs need none

        try:
            path = target.socket_path_of(pid, args)
        except OSError as error:
            self._answer(ident, error.errno or errno.EFAULT)
            return
        if path is None or path not in self._jail.sockets:
            what = f"{self._name(number)} {path or 'to no path'}: not in network.sockets"
            self._refuse_with(ident, pid, number, args, errno.EACCES, "network.sockets", what, path)
            return
        if self._connector is None:
            self._connector = Connector(self._listener)
        self._connector.ask(ident, target.signed(args[0]), path)
        self._try_to_connect(ident, self._connector)

    def _try_to_connect(self, ident: int, connector: Connector) -> None:
        code = connector.carry_out(ident)
        if code == errno.EAGAIN:
            self._answer_late(ident, code)
        elif code:
            self._answer(ident, code)
        else:
            self._send(struct.pack(ANSWER, ident, 0, 0, 0))

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
        allowed = self._plan["listen" if key == "listen" else "connect"]
        if self._learner is None and allowed is not None and port not in allowed:
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
    for name in ("broker", "connector", "report", "syscalls"):
        __import__(f"kernel_runner.jail.{name}")


def _wake_on_same_processor(listener: int) -> None:
    """The caller waits for the supervisor anyway: that saves waking another processor."""
    try:
        fcntl.ioctl(listener, SET_FLAGS, SYNC_WAKE_UP)
    except OSError:  # before Linux 6.6
        return
