"""A plan and a command come in; the command runs in a jail, and its exit code goes out.

    front ──fork──▶ supervisor ──fork──▶ the program and all that it starts

The front is the process that the caller sees: it passes signals on.  The supervisor answers the
listener and reaps orphans.  Both adopt what loses its parent, so that whichever of them is killed,
the other ends the tree.
"""

from __future__ import annotations

import os
import sys

from kernel_runner.jail import kernel, places, tree
from kernel_runner.jail.errors import JailError
from kernel_runner.jail.launch import drop_capabilities
from kernel_runner.jail.report import printable
from kernel_runner.jail.start import make_folder, remove_folder
from kernel_runner.jail.supervision import NOT_SET_UP, PASSED_ON, Supervision

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
    from typing import Final, NoReturn

    from kernel_runner.jail.start import Start
else:
    import _signal as signal  # without the enums of `signal`, 2 ms

FROM_KERNEL: Final = 0  # an si_code above it: the terminal sent it to the whole group


def run(start: Start) -> int:
    """Run the command to its end, and end whatever it leaves behind.

    Raises:
        JailError: nothing was started.
    """
    program = places.find_program(
        start.command[0], os.environ.get("PATH", os.defpath), start.work_dir
    )
    tmp = make_folder()
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
        remove_folder(tmp)
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
        code = Supervision(start, program, variables, front, alive_fd).carry_out(mask)
    except JailError as error:
        _tell(str(error))
        code = error.exit_code
    except OSError as error:
        _tell(f"the jail could not be set up: {error}")
    finally:
        tree.sweep()
        remove_folder(variables["tmp"][0])
        os._exit(code)
