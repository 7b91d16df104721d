"""One program's description and descriptors come in; its start, its end and its usage go out.

The messages are described in `guardian.py`.  A keeper is a process of its own, forked from the
guardian: a subreaper, so that every orphan of the program belongs to exactly this program.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import marshal
import os
import resource
import select
import signal
import socket
import termios
import time

from kernel_runner import process_tree
from kernel_runner.waiting import Input

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, NoReturn, TypedDict

    from kernel_runner.waiting import Answer

    class Spec(TypedDict):
        """What the payload of a spawn holds."""

        argv: list[str]
        env: dict[str, str]  # the complete environment; PATH is searched for argv[0]
        cwd: str
        targets: list[int]  # for each descriptor passed, its number in the program
        terminal: int | None  # which of these numbers becomes the controlling terminal
        rlimits: dict[int, int]  # soft and hard at once, at most what is allowed now


MESSAGE_BYTES: Final = 65_536
MAX_NAMES: Final = 20
MAX_NAME: Final = 4096
FIRST_PAUSE_SECONDS: Final = 0.005
LAST_PAUSE_SECONDS: Final = 0.2
EMPTY_ROUNDS: Final = 5
ALL_BUT_CHILDREN: Final = signal.valid_signals() - {signal.SIGCHLD}


def keep(fds: Sequence[int], ignored_signals: Sequence[int]) -> None:
    """Start a program and stay until no process of it is left.

    Comes with all signals blocked.  `fds`: the socket to the runner, the payload, and the
    descriptors for the program.  `ignored_signals` are set back to their default in it.
    """
    os.setsid()
    process_tree.become_subreaper()
    wake_fd = _watch_children()
    with socket.socket(fileno=fds[0]) as runner:
        spec: Spec = marshal.loads(os.pread(fds[1], os.fstat(fds[1]).st_size, 0))
        program_input = _input_of(spec, fds[2:])
        started = _start(spec, fds[2:], ignored_signals)
        for fd in fds[1:]:
            os.close(fd)
        keeper = _Keeper(runner, wake_fd, program_input)
        if isinstance(started, int):
            keeper.keep(started)
        else:
            keeper.say("failed", *started)


def _watch_children() -> int:
    """Returns a descriptor that is readable after a child has ended."""
    wake_fd, wake_write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write_fd, warn_on_full_buffer=False)
    # the guardian's handler for SIGCHLD is still in place; all else stays blocked for ever
    signal.pthread_sigmask(signal.SIG_SETMASK, ALL_BUT_CHILDREN)
    return wake_fd


def _input_of(spec: Spec, fds: Sequence[int]) -> Input | None:
    if 0 not in spec["targets"]:
        return None
    return Input.of_descriptor(fds[spec["targets"].index(0)])


def _start(spec: Spec, fds: Sequence[int], ignored_signals: Sequence[int]) -> int | tuple[int, str]:
    """Returns the pid of the program, or the error number and what it could not use."""
    keeper = os.getpid()
    failure_fd, failure_write_fd = os.pipe2(os.O_CLOEXEC)
    what = "terminal"
    try:
        if spec["terminal"] is not None:
            # The keeper leads the session: if the program did, the kernel would hang up on all
            # that it leaves behind.
            fcntl.ioctl(fds[spec["targets"].index(spec["terminal"])], termios.TIOCSCTTY, 0)
        what = "fork"
        program = os.fork()
    except OSError as error:
        return error.errno or errno.EAGAIN, what
    if program == 0:
        _become_program(spec, fds, ignored_signals, keeper, failure_write_fd)
    os.close(failure_write_fd)
    failure = os.read(failure_fd, MESSAGE_BYTES)
    os.close(failure_fd)
    if not failure:
        return program
    os.waitpid(program, 0)
    code, what = marshal.loads(failure)
    return code, what


def _become_program(
    spec: Spec, fds: Sequence[int], ignored_signals: Sequence[int], keeper: int, failure_fd: int
) -> NoReturn:
    """Between fork and exec; errors are written to `failure_fd`, which closes at exec."""
    what = "descriptors"
    try:
        failure_fd = _place_descriptors(fds, spec["targets"], failure_fd)
        what = "terminal"
        if spec["terminal"] is not None:
            os.setpgid(0, 0)
            os.tcsetpgrp(spec["terminal"], os.getpid())
        else:
            os.setsid()
        what = spec["cwd"]
        os.chdir(what)
        what = "signals"
        process_tree.die_with_parent(keeper, signal.SIGKILL)
        for number in ignored_signals:
            signal.signal(number, signal.SIG_DFL)
        what = "limits"
        _limit(spec["rlimits"])
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        what = spec["argv"][0]
        _execute(spec["argv"], spec["env"])
    except OSError as error:
        os.write(failure_fd, marshal.dumps((error.errno or errno.EIO, what[:MAX_NAME])))
    except (ValueError, TypeError, LookupError):
        # a NUL in a string, an unknown limit, an empty argv
        os.write(failure_fd, marshal.dumps((errno.EINVAL, what[:MAX_NAME])))
    finally:
        os._exit(127)


def _place_descriptors(fds: Sequence[int], targets: Sequence[int], failure_fd: int) -> int:
    """Give each descriptor its number, close all others; returns the moved `failure_fd`."""
    wanted = dict(zip(targets, fds, strict=True))
    missing = {0, 1, 2} - wanted.keys()
    if missing:
        null = os.open(os.devnull, os.O_RDWR)
        wanted.update(dict.fromkeys(missing, null))
    # out of the way first, so that no source is overwritten before it is used
    above = max(wanted) + 1
    moved = {target: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for target, fd in wanted.items()}
    failure_fd = fcntl.fcntl(failure_fd, fcntl.F_DUPFD_CLOEXEC, above)
    for target, fd in moved.items():
        os.dup2(fd, target)
    kept = sorted([*wanted, failure_fd])
    for below, next_kept in itertools.pairwise(kept):
        os.closerange(below + 1, next_kept)
    os.closerange(failure_fd + 1, os.sysconf("SC_OPEN_MAX"))
    return failure_fd


def _limit(rlimits: dict[int, int]) -> None:
    for which, value in rlimits.items():
        _, allowed = resource.getrlimit(which)
        if allowed != resource.RLIM_INFINITY and not 0 <= value <= allowed:
            value = allowed
        resource.setrlimit(which, (value, value))


def _execute(argv: list[str], env: dict[str, str]) -> None:
    """Never returns; `os.execvpe` would import a module, which small limits do not allow."""
    name = argv[0]
    if "/" in name:
        os.execve(name, argv, env)
    refusal: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    for folder in env.get("PATH", os.defpath).split(":"):
        try:
            os.execve(f"{folder or '.'}/{name}", argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            refusal = error
    raise refusal


class _Keeper:
    def __init__(self, runner: socket.socket, wake_fd: int, program_input: Input | None) -> None:
        self._runner = runner
        self._wake_fd = wake_fd
        self._input = program_input
        self._program = 0
        self._wait_status: int | None = None
        self._is_sweeping = False
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._strike_at = 0.0
        self._empty_rounds = 0
        self._struck: set[int] = set()
        self._names: list[str] = []

    def keep(self, program: int) -> None:
        """Serve the runner until no process of the program is left."""
        self._program = program
        self._poll = select.poll()
        self._poll.register(self._runner, select.POLLIN)
        self._poll.register(self._wake_fd, select.POLLIN)
        self.say("started", program)
        while self._bury() and self._empty_rounds < EMPTY_ROUNDS:
            if self._is_sweeping and time.monotonic() >= self._strike_at:
                self._strike()
            self._hear()
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_seconds = usage.ru_utime + usage.ru_stime
        self.say("ended", self._names, cpu_seconds, usage.ru_maxrss * 1024)

    def say(self, *message: str | float | bool | list[str] | None) -> None:
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
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                is_anybody_left = False
                break
            if pid == 0:
                is_anybody_left = True
                break
            if pid == self._program and os.WIFSTOPPED(status):
                self.say("stopped", os.WSTOPSIG(status))
            elif pid == self._program:
                wait_status = status
        if wait_status is not None:
            self._wait_status = wait_status
            self.say("exited", wait_status, is_anybody_left)
        return is_anybody_left

    def _strike(self) -> None:
        hit = process_tree.strike(os.getpid())
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
        """Wait for the end of a child, a message, or the time of the next strike."""
        pause_ms = None
        if self._is_sweeping:
            pause_ms = max(0.0, self._strike_at - time.monotonic()) * 1000 + 1
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
