"""One program's description and descriptors come in; its start, its end and its usage go out.

The messages are described in `guardian.py`.  A keeper is a process of its own, forked from the
guardian: a subreaper, so that every orphan of the program belongs to exactly this program.
"""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import resource
import select
import signal
import socket
import termios
import time

from kernel_runner import process_tree
from kernel_runner.cgroup import Cgroup
from kernel_runner.confined import Confined
from kernel_runner.meter import Meter, go_before_others
from kernel_runner.program_start import start
from kernel_runner.soft_limits import SoftLimits
from kernel_runner.waiting import Input

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, TypeAlias

    from kernel_runner.program_start import Spec
    from kernel_runner.waiting import Answer

    Word: TypeAlias = str | float | bool | list[str] | None
    Farewell: TypeAlias = tuple[Word, ...]

MESSAGE_BYTES: Final = 65_536
MAX_DESCRIPTORS: Final = 64
MAX_NAMES: Final = 20
FIRST_PAUSE_SECONDS: Final = 0.005
LAST_PAUSE_SECONDS: Final = 0.2
EMPTY_ROUNDS: Final = 5
MAX_BURIED: Final = 64
ALL_BUT_CHILDREN: Final = signal.valid_signals() - {signal.SIGCHLD}


def serve_orders(orders: socket.socket, ignored_signals: Sequence[int]) -> None:
    """Start the program of each order, and stay with it until no process of it is left.

    Comes with all signals blocked.  An order is any message with these descriptors: the socket to
    the runner, the payload, and those for the program.  It is answered when the next may come; at
    the end of file none will.  `ignored_signals` are set back to their default in programs.
    """
    os.setsid()
    process_tree.become_subreaper()
    wake_fd = _watch_children()
    is_free = True
    while is_free:
        try:
            _, fds, _, _ = socket.recv_fds(
                orders, MESSAGE_BYTES, MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:  # the other end left with an answer of ours unread
            return
        if not fds:
            return
        with socket.socket(fileno=fds[0]) as runner:
            keeper = _Keeper(runner, wake_fd)
            farewell = keeper.carry_out(fds[1:], ignored_signals)
            is_free = keeper.is_free and _tell_free(orders)
            keeper.say(*farewell)


def _tell_free(orders: socket.socket) -> bool:
    """Before the runner is told: its next program shall find this keeper."""
    try:
        orders.send(b"free")
    except OSError:  # the guardian has gone, or another keeper is free already
        return False
    return True


def _watch_children() -> int:
    """Returns a descriptor that is readable after a child has ended."""
    wake_fd, wake_write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write_fd, warn_on_full_buffer=False)
    # the guardian's handler for SIGCHLD is still in place; all else stays blocked for ever
    signal.pthread_sigmask(signal.SIG_SETMASK, ALL_BUT_CHILDREN)
    return wake_fd


def _let_go_of_terminal() -> bool:
    """The next program may have another one; False when that cannot be."""
    try:
        terminal_fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        return error.errno == errno.ENXIO  # there is none, or none any more
    try:
        fcntl.ioctl(terminal_fd, termios.TIOCNOTTY)
    except OSError:
        return False
    finally:
        os.close(terminal_fd)
    return True


def _input_of(spec: Spec, fds: Sequence[int]) -> Input | None:
    if 0 not in spec["targets"]:
        return None
    return Input.of_descriptor(fds[spec["targets"].index(0)])


def _start(
    spec: Spec, fds: Sequence[int], ignored_signals: Sequence[int], entrance_fd: int | None
) -> int | Farewell:
    """The pid of the program, or what is told when there is none."""
    if spec["jail"] is None:
        started = start(spec, fds, ignored_signals, entrance_fd)
    else:
        from kernel_runner.jail.errors import JailError  # late: most programs are in none

        *fds, records_fd, warden_fd = fds
        try:
            confined = Confined(spec["jail"], records_fd, warden_fd)
        except JailError as error:
            return "refused", str(error)
        started = start(spec, fds, ignored_signals, entrance_fd, confined)
        confined.close()
    return started if isinstance(started, int) else ("failed", *started)


class _Keeper:
    def __init__(self, runner: socket.socket, wake_fd: int) -> None:
        self._runner = runner
        self._wake_fd = wake_fd
        self._input: Input | None = None
        self.is_free = True
        self._cpu_seconds = 0.0
        self._max_rss_bytes = 0
        self._program = 0
        self._wait_status: int | None = None
        self._is_sweeping = False
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._strike_at = 0.0
        self._empty_rounds = 0
        self._are_more_dead = False
        self._struck: set[int] = set()
        self._names: list[str] = []
        self._cgroup: Cgroup | None = None
        self._meter: Meter | None = None
        self._soft_limits = SoftLimits()

    def carry_out(self, fds: Sequence[int], ignored_signals: Sequence[int]) -> Farewell:
        """Start a program and serve the runner until none of its processes is left."""
        spec: Spec = marshal.loads(os.pread(fds[0], os.fstat(fds[0]).st_size, 0))
        self._input = _input_of(spec, fds[1:])
        self._floor_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        entrance_fd = self._make_cgroup(spec)
        started = _start(spec, fds[1:], ignored_signals, entrance_fd)
        for fd in [*fds, *([entrance_fd] if entrance_fd is not None else [])]:
            os.close(fd)
        farewell = self._keep(started, spec["limits"]) if isinstance(started, int) else started
        if self._cgroup is not None:
            self._cgroup.remove()
        if spec["terminal"] is not None:
            self.is_free &= _let_go_of_terminal()
        return farewell

    def _make_cgroup(self, spec: Spec) -> int | None:
        """The way into it; None when there is to be none, or none can be made."""
        if spec["cgroup"] is None:
            return None
        try:
            self._cgroup = Cgroup(f"{spec['cgroup']}/{os.getpid()}", spec["limits"] or {})
            return self._cgroup.open_entrance()
        except OSError:  # then the tree is only watched
            self._cgroup = None
            return None

    def _keep(self, program: int, limits: dict[str, float] | None) -> Farewell:
        self._program = program
        if limits:
            go_before_others()
        if limits is not None:
            self._meter = Meter(os.getpid(), program, limits, self._cgroup)
        self._poll = select.poll()
        self._poll.register(self._runner, select.POLLIN)
        self._poll.register(self._wake_fd, select.POLLIN)
        self.say("started", program)
        while is_anybody_left := self._bury():
            if self._empty_rounds == EMPTY_ROUNDS:
                break
            if self._is_sweeping and time.monotonic() >= self._strike_at:
                self._strike()
            elif self._meter is not None and time.monotonic() >= self._meter.look_at:
                self._look_at_limits(self._meter)
            self._hear()
        self.is_free = not is_anybody_left
        return self._farewell()

    def _farewell(self) -> Farewell:
        refused: list[str] = []
        meter = self._meter
        if meter is not None and meter.present:
            # it was watched when it died: what it took since then
            for name in meter.look(self._cpu_seconds):
                self.say("limit", name)
            self._cpu_seconds, self._max_rss_bytes = meter.cpu_seconds, meter.peak_bytes
        elif meter is not None:
            for name in meter.end(self._cpu_seconds, self._max_rss_bytes, self._floor_bytes):
                self.say("limit", name)
            refused = meter.refused()
            self._cpu_seconds = max(self._cpu_seconds, meter.cpu_seconds)
            self._max_rss_bytes = max(self._max_rss_bytes, meter.peak_bytes)
        return "ended", self._names, self._cpu_seconds, self._max_rss_bytes, refused

    def say(self, *message: Word) -> None:
        try:
            self._runner.send(marshal.dumps(message))
        except OSError:
            self._lose_runner()

    def _lose_runner(self) -> None:
        # nobody reads any more, so only one thing is left to do
        self._is_sweeping = True

    def _bury(self) -> bool:
        """Reap the dead and report the program's end; False when no process is left."""
        wait_status = None
        is_anybody_left = True
        self._are_more_dead = True
        for _ in range(MAX_BURIED):  # a fork bomb dies faster than we can bury
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                is_anybody_left = False
                break
            if pid == 0:
                self._are_more_dead = False
                break
            if os.WIFSTOPPED(status):
                if pid == self._program:
                    self.say("stopped", os.WSTOPSIG(status))
                continue
            self._cpu_seconds += usage.ru_utime + usage.ru_stime
            self._max_rss_bytes = max(self._max_rss_bytes, usage.ru_maxrss * 1024)
            if pid == self._program:
                wait_status = status
        if wait_status is not None:
            self._wait_status = wait_status
            self.say("exited", wait_status, is_anybody_left)
        return is_anybody_left

    def _look_at_limits(self, meter: Meter) -> None:
        """Tell which limits are passed; memory and processes cannot wait until the runner acts."""
        passed = meter.look(self._cpu_seconds)
        for name in passed:
            self.say("limit", name)
        if meter.present:
            # of a kept interpreter only what it has started since is killed: the state is its own
            if passed:
                process_tree.strike(os.getpid(), kept=meter.present, sessions=meter.sessions)
        elif passed and passed != ["cpu_s"]:
            self._is_sweeping = True

    def _watch(self, limits: dict[str, float], soft_limits: dict[int, int]) -> None:
        """Measure what the program takes from now on, and lower what its processes may."""
        self._meter = Meter(
            os.getpid(), self._program, limits, reaped_seconds=self._cpu_seconds, growth=True
        )
        self._soft_limits.lower(self._meter.present, soft_limits)
        self.say("watched")

    def _unwatch(self) -> None:
        """Tell what it took; its processes may again what they might before."""
        meter, self._meter = self._meter, None
        self._soft_limits.restore()
        if meter is None:
            self.say("used", 0.0, 0)
            return
        for name in meter.look(self._cpu_seconds):
            self.say("limit", name)
        self.say("used", meter.cpu_seconds, meter.peak_bytes)

    def _strike(self) -> None:
        if self._cgroup is not None:
            self._cgroup.kill()
        hit = process_tree.strike(os.getpid(), sessions=(os.getpid(), self._program))
        if self._wait_status is not None:
            fresh = [one for one in hit if one.pid not in self._struck]
            self._names += [f"{one.name} ({one.pid})" for one in fresh]
            del self._names[MAX_NAMES:]
        self._struck.update(one.pid for one in hit)
        # Only waitpid proves that none is left: /proc changes while it is read.  But processes
        # of another user cannot be killed, and nobody shall wait for those.
        self._empty_rounds = 0 if hit else self._empty_rounds + 1
        self._strike_at = time.monotonic() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, LAST_PAUSE_SECONDS)

    def _hear(self) -> None:
        """Wait for the end of a child, a message, or the time of the next strike or look."""
        pause_ms: float | None = None
        next_at = self._meter.look_at if self._meter is not None else None
        if self._is_sweeping:
            next_at = self._strike_at
        if self._are_more_dead:
            pause_ms = 0.0
        elif next_at is not None:
            pause_ms = max(0.0, next_at - time.monotonic()) * 1000 + 1
        ready = dict(self._poll.poll(pause_ms))
        if self._wake_fd in ready:
            os.read(self._wake_fd, MESSAGE_BYTES)
        if self._runner.fileno() in ready:
            self._obey()

    def _obey(self) -> None:
        try:
            message = self._runner.recv(MESSAGE_BYTES)
        except OSError:
            message = b""
        if not message:
            self._poll.unregister(self._runner)
            self._lose_runner()
            return
        match marshal.loads(message):
            case ("signal", number, scope):
                self._signal(number, scope)
            case ("sweep",):
                self._is_sweeping = True
            case ("look",):
                self.say("waiting", self._look())
            case ("watch", limits, soft_limits):
                self._watch(limits, soft_limits)
            case ("unwatch",):
                self._unwatch()

    def _look(self) -> Answer | None:
        if self._input is None:
            return None
        return self._input.awaited_by(process_tree.descendants(os.getpid()))

    def _signal(self, number: int, scope: str) -> None:
        if scope == "tree":
            targets = process_tree.descendants(os.getpid())
        elif self._wait_status is None:
            # not reaped yet, so the pid is still the program's
            _signal_at_least(self._program, number, scope)
            return
        elif scope == "group":
            below = process_tree.descendants(os.getpid())
            targets = [one for one in below if one.group == self._program]
        else:
            return
        for process in targets:
            process_tree.send_signal(process, number)


def _signal_at_least(program: int, number: int, scope: str) -> None:
    """Signal the group of `program`, or itself: it may have left for another group."""
    for send in (os.killpg, os.kill) if scope == "group" else (os.kill,):
        try:
            send(program, number)
        except OSError:  # there is no such group, or it has become another user
            continue
        return
