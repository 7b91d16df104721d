"""A plan and a command come in; the command runs in a jail, and its exit code goes out.

    front ──fork──▶ supervisor ──fork──▶ the program and all that it starts

The front is the process that the caller sees: it passes signals on.  The supervisor answers the
listener and reaps orphans.  Both adopt what loses its parent, so that whichever of them is killed,
the other ends the tree.
"""

from __future__ import annotations

import _socket  # `socket` costs each start 5 ms
import errno
import os
import select
import struct
import sys
import time

from kernel_runner.jail import kernel, places, tree
from kernel_runner.jail.errors import JailError, NotExecutable
from kernel_runner.jail.launch import Jail, drop_capabilities, environment_of
from kernel_runner.jail.report import Reporter, printable

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence
    from typing import Final, NoReturn

    from kernel_runner.jail.plan import Plan
    from kernel_runner.jail.supervisor import Learner, Supervisor
else:
    import _signal as signal  # without the enums of `signal`, 2 ms

TIMED_OUT: Final = 124
NOT_SET_UP: Final = 125
VIOLATION: Final = 159
FROM_KERNEL: Final = 0  # an si_code above it: the terminal sent it to the whole group
STOPS: Final = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
PASSED_ON: Final = signal.valid_signals() - {
    signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, *STOPS, signal.SIGSEGV, signal.SIGBUS,
    signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGPIPE, signal.SIGSYS, signal.SIGTRAP,
}  # fmt: skip
CHANNEL_BYTES: Final = 4096
WAKE_BYTES: Final = 512


class Start:
    """What is to be run and how.

    Args:
        max_abi: use no newer Landlock than this.
        sentences: tell violations on standard error.
        records_fd: gets them as JSON lines.
        learner: learn what the program uses instead of containing it.
        at_end: called by the supervisor when nothing of the program is left.
    """

    def __init__(
        self,
        plan: Plan,
        command: Sequence[str],
        *,
        work_dir: str | None = None,
        max_abi: int | None = None,
        sentences: bool = True,
        records_fd: int | None = None,
        learner: Learner | None = None,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        self.plan = plan
        self.command = command
        self.work_dir = os.path.realpath(work_dir or ".")
        self.max_abi = max_abi
        self.sentences = sentences
        self.records_fd = records_fd
        self.learner = learner
        self.at_end = at_end


def run(start: Start) -> int:
    """Run the command to its end, and end whatever it leaves behind.

    Raises:
        JailError: nothing was started.
    """
    program = places.find_program(
        start.command[0], os.environ.get("PATH", os.defpath), start.work_dir
    )
    tmp = _make_tmp()
    variables = places.variables(work_dir=start.work_dir, tmp=tmp, program=program)
    if start.learner is None:
        allowed = places.put_in(start.plan["places"]["execute"], variables)
        try:
            places.check_executable(start.command[0], program, allowed, start.plan["policy"])
        except JailError:
            os.rmdir(tmp)
            raise
    _close_module_paths(places.put_in(start.plan["places"]["write"], variables))
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})
    alive_fd, front_fd = os.pipe2(os.O_CLOEXEC)
    front = os.getpid()
    supervisor = os.fork()
    if supervisor == 0:
        os.close(front_fd)
        _become_supervisor(start, program, variables, front, alive_fd, mask)
    os.close(alive_fd)
    drop_capabilities()
    code = _wait_for(supervisor)
    if code is None:
        tree.sweep()
        _remove(tmp)
        _tell("the supervisor was killed, so the program was ended")
        return 128 + signal.SIGKILL
    return code


def _close_module_paths(writable: Sequence[str]) -> None:
    """What is loaded later must not come from where the program can write."""
    roots = [os.path.realpath(path) for path in writable]
    safe = [
        path for path in sys.path if path and not places.is_below(os.path.realpath(path), roots)
    ]
    if len(safe) == len(sys.path) and not places.is_below(os.path.realpath(__file__), roots):
        return
    sys.path[:] = safe
    from kernel_runner.jail.supervisor import load_all

    load_all()
    if places.is_below(os.path.realpath(__file__), roots):
        _tell("the program can write to the jail's own code: choose another work directory")


def _make_tmp() -> str:
    folder = f"{os.environ.get('TMPDIR', '/tmp')}/kernel-jail-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        os.mkdir(folder, 0o700)
    except OSError as error:
        raise JailError(f"{folder}: {error.strerror}") from error
    return os.path.realpath(folder)


def _remove(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        import shutil  # late: most programs leave nothing there

        for path, names, _ in os.walk(folder):
            for name in names:
                if not os.path.islink(f"{path}/{name}"):
                    os.chmod(f"{path}/{name}", 0o700)  # the program may have locked us out
        shutil.rmtree(folder, ignore_errors=True)


def _tell(sentence: str) -> None:
    os.write(2, f"kernel-jail: {printable(sentence)}\n".encode())


def _wait_for(supervisor: int) -> int | None:
    """Pass signals on until the supervisor has ended; its exit code, None when it was killed."""
    while True:
        info = signal.sigwaitinfo(PASSED_ON | {signal.SIGCHLD})
        if info.si_signo != signal.SIGCHLD:
            if info.si_code <= FROM_KERNEL or info.si_signo == signal.SIGCONT:
                os.kill(supervisor, info.si_signo)
            continue
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == supervisor:
                return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
            if pid == 0:
                break


def _become_supervisor(
    start: Start,
    program: str,
    variables: dict[str, list[str]],
    front: int,
    alive_fd: int,
    mask: set[int | signal.Signals],
) -> NoReturn:
    code = NOT_SET_UP
    try:
        code = _Supervision(start, program, variables, front, alive_fd).carry_out(mask)
    except JailError as error:
        _tell(str(error))
        code = error.exit_code
    except OSError as error:
        _tell(f"the jail could not be set up: {error}")
    finally:
        tree.sweep()
        _remove(variables["tmp"][0])
        os._exit(code)


class _Supervision:
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
        listener = self._receive_listener()
        if listener is not None:
            self._supervisor = _supervisor_class()(
                plan,
                listener,
                self._reporter,
                root=os.getpid(),
                jail=self._jail,
                learner=self._start.learner,
            )
            self._serve(listener)
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
            for number in (*PASSED_ON, signal.SIGCHLD, signal.SIGPIPE, signal.SIGTTOU):
                if signal.getsignal(number) not in (signal.SIG_DFL, None):
                    signal.signal(number, signal.SIG_DFL)
            os.chdir(self._start.work_dir)
            fd = channel.fileno()
            listener = self._jail_in(fd)
            rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("=i", listener))
            channel.sendmsg([b"listener"], [rights])
            os.close(listener)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.execve(self._program_path, list(self._start.command), self._env)
        except OSError as error:
            channel.send(struct.pack("=i", error.errno or errno.EIO) + str(error).encode())
        finally:
            os._exit(NOT_SET_UP)

    def _jail_in(self, channel_fd: int) -> int:
        listener = self._jail.enter()
        assert listener is not None, "somebody listens"
        os.set_inheritable(channel_fd, False)
        first, second = sorted((channel_fd, listener))
        os.closerange(3, first)
        os.closerange(first + 1, second)
        os.closerange(second + 1, os.sysconf("SC_OPEN_MAX"))
        return listener

    def _receive_listener(self) -> int | None:
        """None: the program could not be put under the plan, and `_failure` says why."""
        data, ancillary, _, _ = self._channel.recvmsg(
            CHANNEL_BYTES, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC
        )
        for _, kind, content in ancillary:
            if kind == _socket.SCM_RIGHTS:
                return int(struct.unpack("=i", content[:4])[0])
        reason = data[4:].decode(errors="replace") if data else "it was killed"
        self._failure = JailError(f"the jail could not be set up: {reason}")
        return None

    # serving -------------------------------------------------------------------------------

    def _serve(self, listener: int) -> None:
        poll = select.poll()
        for fd in (listener, self._wake_fd, self._alive_fd, self._channel.fileno()):
            poll.register(fd, select.POLLIN)
        wall_seconds = self._start.plan["wall_seconds"]
        end_at = None if wall_seconds is None else time.monotonic() + wall_seconds
        supervisor = self._supervisor
        while self._exit_code is None and self._failure is None:
            if end_at is not None and time.monotonic() >= end_at:
                policy = self._start.plan["policy"]
                self._reporter.note(f"ended after {wall_seconds:g} s, limits.wall of {policy}")
                self._exit_code = TIMED_OUT
                break
            for fd, event in poll.poll(self._pause_ms(end_at)):
                if fd == listener:
                    if event & select.POLLIN:
                        supervisor.serve()
                    else:
                        poll.unregister(listener)  # nobody is under the filter any more
                elif fd == self._wake_fd:
                    self._hear_signals()
                elif fd == self._alive_fd:
                    self._exit_code = 128 + signal.SIGKILL  # the front has gone
                else:
                    self._hear_channel(poll)
            supervisor.answer_late()
            if supervisor.killed:
                self._exit_code = VIOLATION

    def _pause_ms(self, end_at: float | None) -> float | None:
        pauses = [self._supervisor.pause_seconds()]
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


def _supervisor_class() -> type[Supervisor]:
    from kernel_runner.jail.supervisor import Supervisor  # late: the program starts meanwhile

    return Supervisor


def _watch_signals() -> int:
    """Returns a descriptor that gives the number of each signal as a byte."""
    wake_fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    for number in (*PASSED_ON, signal.SIGCHLD):
        if signal.getsignal(number) != signal.SIG_IGN or number == signal.SIGCHLD:
            signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    return wake_fd
