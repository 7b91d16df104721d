"""Requests of the runner come in; programs start, and nothing of them is left at the end.

Four kinds of processes:

* The **guardian** forks the runner (`main`), has a keeper for each program the runner asks for
  (`keepers.py`), passes SIGTERM, SIGINT, SIGHUP and SIGQUIT on to the runner, waits for it, kills
  whatever is left below itself, removes the paths registered with it, and leaves with the runner's
  exit code (128+n when signal n ended the runner).  When the guardian itself is killed, the runner
  gets SIGTERM.
* A **keeper** (`keeper.py`) starts one program at a time, reports its end and sweeps its process
  tree.  When nothing of it is left, the keeper is free for another.
* The **warden** (`warden_post.py`) answers for all programs that are in a jail; there is none where
  no jail was asked for.
* The **program** leads a process group, and a session where it has no terminal; with one, its
  keeper does, so that the kernel does not hang up on what the program leaves behind.

The runner is a process group of its own: a Ctrl-C in the terminal reaches the guardian, which
passes it on once.  Standard input of both is /dev/null.

Wire
====

Each message is `marshal.dumps` of one tuple, in one SOCK_SEQPACKET message.

Runner to guardian, on the control socket:

`("spawn", n_fds)`
    with SCM_RIGHTS `[keeper_socket, payload_memfd, *fds]`; `n_fds` counts all of them.  The
    memfd holds `marshal.dumps(spec)`; see `program_start.Spec`.  The answer comes on the keeper's
    socket.
`("jail", policy)`
    with SCM_RIGHTS `[plan_memfd]`, which holds the policy as `jail.plan` has compiled it.  From
    now on each spawn has a jail in its `Spec`, and one descriptor more, the last one: what the
    jail refuses is written there, as JSON lines.
`("remove", path)`
    removes this file or folder, with all that is in it, when the runner has ended, however.
`("forget", path)`
    takes that back.

End of file on the control socket is harmless while the runner lives.

Keeper to runner, on the keeper's socket:

`("started", pid)`
    the program was executed.
`("failed", errno, what)`
    it was not: `what` is the program or folder that could not be used, or `"fork"`, `"terminal"`,
    `"descriptors"`, `"signals"`, `"limits"`, `"jail"`.  The last message.
`("refused", sentence)`
    the jail that it is to be in cannot be made.  The last message.
`("stopped", number)`
    this signal stopped the first process, as Ctrl-Z does; SIGCONT lets it go on.
`("exited", wait_status, background)`
    the first process ended; the status is that of `os.waitpid`.  `background`: others live on.
`("waiting", answer)`
    the answer to `look`: None when nobody waits for the input of the program, `"certain"` when
    somebody reads it, `"maybe"` when an event loop has it among others.
`("limit", name)`
    the program went beyond this one of its limits; once for each.
`("watched",)`, `("used", cpu_seconds, peak_bytes)`
    the answers to `watch` and `unwatch`.
`("ended", names, cpu_seconds, max_rss_bytes, refused)`
    no process of the program is left.  `names` has up to 20 `"name (pid)"` of those that a sweep
    killed after the first process had ended.  `max_rss_bytes` is the most that was seen of the
    whole tree, never less than the largest of its processes had, nor than the 10 MB that each
    has between fork and exec.  `refused` names the limits that made calls fail.  The last message.

Runner to keeper:

`("signal", number, scope)`
    scope `"program"` is the first process, `"group"` its process group, `"tree"` all.  Never an
    error when nobody is left.
`("sweep",)`
    kills all, again and again, until none is left.
`("look",)`
    asks who waits for input.
`("watch", limits, soft_limits)`
    has a program measured from now on that had no limits from its start: `limits` as of a
    `Spec`, for what it takes from now on, and soft resource limits for its processes, of which
    RLIMIT_DATA comes on top of what each has.
`("unwatch",)`
    ends that, and asks what it took.

End of file on a keeper's socket means that the runner is gone: the keeper kills all.
When a keeper itself was killed there is an end of file without `ended`; its program dies with it
and the guardian kills what that leaves behind.
"""

from __future__ import annotations

import errno
import gc
import marshal
import os
import select
import signal
import socket
import sys
import time

from kernel_runner import process_tree
from kernel_runner.keeper import MAX_DESCRIPTORS
from kernel_runner.keepers import EVERY_SIGNAL, Keepers, flush, flush_and_leave
from kernel_runner.warden_post import WardenPost

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Final, NoReturn

FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
MESSAGE_BYTES: Final = 65_536
SWEEP_SECONDS: Final = 10.0
SWEEP_PAUSE_SECONDS: Final = 0.02


def main(run: Callable[[socket.socket], int]) -> int:
    """Fork; the child calls `run(control_socket)` and leaves with its result.

    The parent guards to the end and returns the exit code.  The child never returns: it
    flushes its standard streams and skips all other clean-up.
    """
    guardian = os.getpid()
    process_tree.become_subreaper()
    _replace_standard_input()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    flush()  # or both would print what waits in the buffers
    # a signal that comes between here and `serve` stays pending until it can be passed on
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [*FORWARDED, signal.SIGCHLD])
    runner = os.fork()
    if runner == 0:
        ours.close()
        os.setpgid(0, 0)
        process_tree.die_with_parent(guardian, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _leave_with_result(run, theirs)
    theirs.close()
    with ours:
        return serve(ours, runner)


def fork() -> socket.socket:
    """The control socket of a guardian that is a child of this process, which is the runner.

    The guardian leaves at the end of file on it, once nothing is left of what it started.  Keys
    of the terminal do not reach it.  Programs cannot read the memory of either.
    """
    process_tree.hide()
    os.close(_fill_standard_streams())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    flush()
    if os.fork() == 0:
        ours.close()
        os.setpgid(0, 0)
        _replace_standard_input()
        _leave_with_result(lambda control: serve(control, None), theirs)
    theirs.close()
    return ours


def _replace_standard_input() -> None:
    """Nothing is read from descriptor 0."""
    null = _fill_standard_streams()
    os.dup2(null, 0)
    os.close(null)


def _fill_standard_streams() -> int:
    """Where 0, 1 or 2 were closed, nothing else takes their number; a descriptor of /dev/null.

    libuv ends the process that closes a socket of such a number.
    """
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        null = os.dup(null)
    return null


def _leave_with_result(run: Callable[[socket.socket], int], control: socket.socket) -> NoReturn:
    code = 1
    try:
        code = run(control)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        flush_and_leave(code)


def serve(control: socket.socket, runner_pid: int | None) -> int:
    """Guard until the runner ends; without a runner, until end of file on `control`.

    Returns the exit code of the runner, or 0.  Nothing below this process is left.
    """
    return _Guardian(control, runner_pid).serve()


class _Guardian:
    def __init__(self, control: socket.socket, runner_pid: int | None) -> None:
        self._control = control
        self._runner_pid = runner_pid
        self._exit_code: int | None = None
        self._to_remove: dict[str, None] = {}
        self._has_strays = False
        self._is_listening = True
        self._wake_fd, self._wake_write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._warden = WardenPost(self._poll)

    def serve(self) -> int:
        process_tree.become_subreaper()
        gc.disable()  # a collection would write to every page that forks have in common with us
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._wake_fd, select.POLLIN)
        self._keepers = Keepers(self._poll, self._watch_signals())
        while self._exit_code is None:
            self._turn()
        while self._is_listening and self._obey():
            pass  # a runner that died may have registered a path a moment before
        self._stop_listening()
        self._keepers.let_go()
        self._warden.let_go()
        self._sweep_everything()
        remove_paths(self._to_remove)
        os.close(self._wake_fd)
        os.close(self._wake_write_fd)
        return self._exit_code

    def _watch_signals(self) -> list[int]:
        """Have signals written to the wake pipe; returns those that programs must not inherit."""
        signal.set_wakeup_fd(self._wake_write_fd, warn_on_full_buffer=False)
        # what was ignored from the start (`nohup`, a job in the background) stays ignored
        heard = [one for one in FORWARDED if signal.getsignal(one) != signal.SIG_IGN]
        for number in [*heard, signal.SIGCHLD]:
            signal.signal(number, lambda _number, _frame: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [*FORWARDED, signal.SIGCHLD])
        return [one for one in EVERY_SIGNAL if signal.getsignal(one) == signal.SIG_IGN]

    def _turn(self) -> None:
        """Wait for one thing to happen and do what it asks for."""
        pause_ms = SWEEP_PAUSE_SECONDS * 1000 if self._has_strays else None
        ready = dict(self._poll.poll(pause_ms))
        if self._wake_fd in ready:
            self._pass_signals_on()
            self._reap()
        self._keepers.hear(ready.keys())
        self._warden.hear(ready.keys())
        if self._control.fileno() in ready:
            self._obey()
        if self._has_strays:
            self._strike_strays()

    def _pass_signals_on(self) -> None:
        for number in os.read(self._wake_fd, MESSAGE_BYTES):
            if number in FORWARDED and self._runner_pid is not None:
                # not reaped yet, so the pid is still the runner's
                os.kill(self._runner_pid, number)

    def _reap(self) -> bool:
        """Bury the dead; False when there is no child at all."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if os.WIFSTOPPED(status):
                if pid in self._keepers.pids:  # a program did it; its keeper has to serve on
                    os.kill(pid, signal.SIGCONT)
                continue
            if pid == self._runner_pid:
                self._runner_pid = None
                code = os.waitstatus_to_exitcode(status)
                self._exit_code = code if code >= 0 else 128 - code
            elif pid in self._keepers.pids:
                self._keepers.pids.remove(pid)
                self._has_strays |= status != 0
            else:
                self._warden.bury(pid)

    def _strike_strays(self) -> None:
        """Kill what a dead keeper has left behind."""
        spared = {*self._keepers.pids, self._runner_pid or 0, self._warden.pid or 0}
        self._has_strays = bool(process_tree.strike(os.getpid(), spared))

    def _obey(self) -> bool:
        """Read one message and do what it says; False when there is none."""
        try:
            message, fds, _, _ = socket.recv_fds(
                self._control,
                MESSAGE_BYTES,
                MAX_DESCRIPTORS,
                socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT,
            )
        except BlockingIOError:
            return False
        except ConnectionResetError:
            message, fds = b"", []
        try:
            return self._carry_out(message, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _carry_out(self, message: bytes, fds: list[int]) -> bool:
        if not message:
            self._stop_listening()
            return False
        match marshal.loads(message):
            case ("spawn", n_fds) if n_fds == len(fds) and self._exit_code is None:
                self._spawn(message, fds)
            case ("jail", policy) if len(fds) == 1:
                plan = marshal.loads(os.pread(fds[0], os.fstat(fds[0]).st_size, 0))
                self._warden.prepare(policy, plan)
            case ("remove", path):
                self._to_remove[path] = None
            case ("forget", path):
                self._to_remove.pop(path, None)
        return True

    def _stop_listening(self) -> None:
        if self._is_listening:
            self._is_listening = False
            self._poll.unregister(self._control)
        if self._runner_pid is None and self._exit_code is None:
            self._exit_code = 0

    def _spawn(self, message: bytes, fds: list[int]) -> None:
        try:
            way = self._warden.way()
            self._keepers.order(message, fds if way is None else [*fds, way])
        except OSError as error:
            message = marshal.dumps(("failed", error.errno or errno.EAGAIN, "fork"))
            with socket.socket(fileno=os.dup(fds[0])) as runner:
                runner.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def _sweep_everything(self) -> None:
        """End all that is left; the keepers with it, for nobody listens to them any more."""
        give_up_at = time.monotonic() + SWEEP_SECONDS
        while self._reap() and time.monotonic() < give_up_at:
            process_tree.strike(os.getpid())
            if self._poll.poll(SWEEP_PAUSE_SECONDS * 1000):
                os.read(self._wake_fd, MESSAGE_BYTES)


def remove_paths(paths: Collection[str]) -> None:
    """Remove these files and folders, with all that is in them; what cannot be removed stays."""
    for path in paths:
        try:
            os.unlink(path)  # noqa: PTH108  pathlib would cost the guardian 10 ms
        except IsADirectoryError:
            _remove_folder(path)
        except OSError:
            continue


def _remove_folder(path: str) -> None:
    try:
        os.rmdir(path)  # noqa: PTH106
    except OSError:
        import shutil  # late: it costs 10 ms, and most have nothing to be removed

        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(serve(socket.socket(fileno=int(sys.argv[1])), None))
