"""What is to be run comes in; it runs below this process, and its exit code goes out.

This is the process that answers the listener, reaps orphans, keeps the time, and ends the tree.
"""

from __future__ import annotations

import _socket  # `socket` costs each start 5 ms
import errno
import os
import select
import struct
import time

from kernel_runner.jail import kernel, places, tree
from kernel_runner.jail.errors import JailError, NotExecutable
from kernel_runner.jail.launch import Jail, drop_capabilities, environment_of
from kernel_runner.jail.report import Reporter

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    import signal
    from typing import Final, NoReturn

    from kernel_runner.jail.start import Start
    from kernel_runner.jail.supervisor import Supervisor
else:
    import _signal as signal  # without the enums of `signal`, 2 ms

TIMED_OUT: Final = 124
NOT_SET_UP: Final = 125
VIOLATION: Final = 159
ENTERED: Final = b"entered"
CHANNEL_BYTES: Final = 4096
WAKE_BYTES: Final = 512
STOPS: Final = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
PASSED_ON: Final = signal.valid_signals() - {
    signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, *STOPS, signal.SIGSEGV, signal.SIGBUS,
    signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGPIPE, signal.SIGSYS, signal.SIGTRAP,
}  # fmt: skip
OF_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTOU)
"""Ignored by this process, which a program must not inherit."""


class Supervision:
    """One program from its start to its end.

    Args:
        front: the process that the caller sees.
        alive_fd: is at its end when the front is gone.
    """

    def __init__(
        self,
        start: Start,
        program: str,
        variables: dict[str, list[str]],
        front: int,
        alive_fd: int,
    ) -> None:
        self._start = start
        self._program_path = program
        self._variables = variables
        self._front = front
        self._alive_fd = alive_fd
        self._program = 0
        self._exit_code: int | None = None
        self._failure: JailError | None = None
        self._supervisor: Supervisor | None = None
        plan = start.plan
        self._reporter = Reporter(plan["policy"], 2 if start.sentences else None, start.records_fd)

    def carry_out(self, mask: set[int | signal.Signals]) -> int:
        """Start the program and serve it to its end; its exit code."""
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        plan = self._start.plan
        self._jail = Jail(
            plan,
            self._variables,
            guarded=(self._front, os.getpid()),
            max_abi=self._start.max_abi,
            listens=not self._start.is_static,
            contain=self._start.learner is None,
        )
        self._warn()
        self._env = environment_of(plan, self._variables)
        self._channel, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        self._wake_fd = _watch_signals()
        self._program = os.fork()
        if self._program == 0:
            self._become_program(theirs, mask)
        theirs.close()
        os.setpgid(0, 0)  # what the terminal sends to the group is for the program
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        drop_capabilities()
        self._serve(self._receive_listener())
        tree.sweep()
        self._reporter.finish()
        if self._start.at_end is not None:
            self._start.at_end()
        if self._failure is not None:
            raise self._failure
        return NOT_SET_UP if self._exit_code is None else self._exit_code

    def _warn(self) -> None:
        policy = self._start.plan["policy"]
        if self._jail.lacking:
            self._reporter.note(f"{policy}: not enforced here: {'; '.join(self._jail.lacking)}")
        if places.is_below(self._start.plan["file"], self._jail.write_roots):
            self._reporter.note(f"the program can write to {policy}: keep policies elsewhere")

    # the program ---------------------------------------------------------------------------

    def _become_program(self, channel: _socket.socket, mask: set[int | signal.Signals]) -> NoReturn:
        """Between fork and exec; what fails is told through the channel, which closes at exec."""
        try:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            if self._jail.abi < 6:
                os.setsid()  # there a signal to the own group would reach the front
            signal.set_wakeup_fd(-1)
            for number in (*PASSED_ON, signal.SIGCHLD, *OF_PYTHON):
                if callable(signal.getsignal(number)) or number in OF_PYTHON:
                    signal.signal(number, signal.SIG_DFL)
            os.chdir(self._start.work_dir)
            self._enter(channel)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.execve(self._program_path, list(self._start.command), self._env)
        except OSError as error:
            channel.send(struct.pack("=i", error.errno or errno.EIO) + str(error).encode())
        finally:
            os._exit(NOT_SET_UP)

    def _enter(self, channel: _socket.socket) -> None:
        """Put this process into the jail, hand the listener over, close all but 0, 1, 2."""
        listener = self._jail.enter()
        rights = []
        if listener is not None:
            rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("=i", listener))]
        channel.sendmsg([ENTERED], rights)
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, os.sysconf("SC_OPEN_MAX"))

    def _receive_listener(self) -> int | None:
        """None where there is none, or the program could not be put under the plan."""
        data, ancillary, _, _ = self._channel.recvmsg(
            CHANNEL_BYTES, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC
        )
        if data != ENTERED:
            reason = data[4:].decode(errors="replace") if data else "it was killed"
            self._failure = JailError(f"the jail could not be set up: {reason}")
        for _, _, content in ancillary:
            return int(struct.unpack("=i", content[:4])[0])
        return None

    # serving -------------------------------------------------------------------------------

    def _serve(self, listener: int | None) -> None:
        poll = select.poll()
        for fd in (self._wake_fd, self._alive_fd, self._channel.fileno()):
            poll.register(fd, select.POLLIN)
        if listener is not None:
            poll.register(listener, select.POLLIN)
            self._supervisor = self._make_supervisor(listener)
        wall_seconds = self._start.plan["wall_seconds"]
        end_at = None if wall_seconds is None else time.monotonic() + wall_seconds
        while self._exit_code is None and self._failure is None:
            if end_at is not None and time.monotonic() >= end_at:
                policy = self._start.plan["policy"]
                self._reporter.note(f"ended after {wall_seconds:g} s, limits.wall of {policy}")
                self._exit_code = TIMED_OUT
                return
            for fd, event in poll.poll(self._pause_ms(end_at)):
                if fd == listener:
                    self._hear_listener(poll, listener, event)
                elif fd == self._wake_fd:
                    self._hear_signals()
                elif fd == self._alive_fd:
                    self._exit_code = 128 + signal.SIGKILL  # the front has gone
                else:
                    self._hear_channel(poll)
            if self._supervisor is not None:
                self._supervisor.answer_late()
                if self._supervisor.killed:
                    self._exit_code = VIOLATION

    def _make_supervisor(self, listener: int) -> Supervisor:
        from kernel_runner.jail.supervisor import Supervisor  # late: the program starts meanwhile

        return Supervisor(
            self._start.plan,
            listener,
            self._reporter,
            root=os.getpid(),
            jail=self._jail,
            learner=self._start.learner,
        )

    def _hear_listener(self, poll: select.poll, listener: int, event: int) -> None:
        if event & select.POLLIN and self._supervisor is not None:
            self._supervisor.serve()
        else:
            poll.unregister(listener)  # nobody is under the filter any more

    def _pause_ms(self, end_at: float | None) -> float | None:
        pauses = [self._supervisor.pause_seconds()] if self._supervisor else []
        if end_at is not None:
            pauses.append(max(0.0, end_at - time.monotonic()))
        known = [one for one in pauses if one is not None]
        return min(known) * 1000 + 1 if known else None

    def _hear_channel(self, poll: select.poll) -> None:
        data = self._channel.recv(CHANNEL_BYTES)
        poll.unregister(self._channel.fileno())
        if data:
            (code,) = struct.unpack("=i", data[:4])
            self._failure = NotExecutable(self._start.command[0], os.strerror(code))

    def _hear_signals(self) -> None:
        for number in os.read(self._wake_fd, WAKE_BYTES):
            if number == signal.SIGCHLD:
                self._reap()
            else:
                try:
                    os.kill(self._program, number)
                except OSError:  # it has ended
                    continue

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid != self._program:
                continue
            if os.WIFSTOPPED(status):
                os.kill(self._front, signal.SIGSTOP)  # so that the caller's shell sees it
            elif os.WIFSIGNALED(status):
                self._exit_code = 128 + os.WTERMSIG(status)
            else:
                self._exit_code = os.WEXITSTATUS(status)


def _watch_signals() -> int:
    """Returns a descriptor that gives the number of each signal as a byte."""
    wake_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    for number in (*PASSED_ON, signal.SIGCHLD):
        if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGCHLD:
            signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    return wake_fd
