"""A program's description and descriptors come in; its pid goes out, or what it could not use."""

from __future__ import annotations

import errno
import fcntl
import itertools
import marshal
import os
import resource
import signal
import termios

from kernel_runner import process_tree

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, NoReturn, TypedDict

    from kernel_runner.confined import Confined, Place

    class Spec(TypedDict):
        """What the payload of a spawn holds."""

        argv: list[str]
        env: dict[str, str]  # the complete environment; PATH is searched for argv[0]
        cwd: str
        targets: list[int]  # for each descriptor passed, its number in the program
        terminal: int | None  # which of these numbers becomes the controlling terminal
        rlimits: dict[int, int]  # soft and hard at once, at most what is allowed now
        limits: dict[str, float] | None  # see `meter.Meter`; None: not watched until asked for
        cgroup: str | None  # the folder in which it gets one of its own
        jail: Place | None


MESSAGE_BYTES: Final = 65_536
MAX_NAME: Final = 4096


def start(
    spec: Spec,
    fds: Sequence[int],
    ignored_signals: Sequence[int],
    entrance_fd: int | None,
    confined: Confined | None = None,
) -> int | tuple[int, str]:
    """Returns the pid of the program, or the error number and what it could not use.

    `entrance_fd` leads into its cgroup; it is closed here.
    """
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
        _become_program(spec, fds, ignored_signals, keeper, failure_write_fd, entrance_fd, confined)
    os.close(failure_write_fd)
    failure = os.read(failure_fd, MESSAGE_BYTES)
    os.close(failure_fd)
    if not failure:
        return program
    os.waitpid(program, 0)
    code, what = marshal.loads(failure)
    return code, what


def _become_program(
    spec: Spec,
    fds: Sequence[int],
    ignored_signals: Sequence[int],
    keeper: int,
    failure_fd: int,
    entrance_fd: int | None,
    confined: Confined | None,
) -> NoReturn:
    """Between fork and exec; errors are written to `failure_fd`, which closes at exec."""
    what = "limits"
    try:
        if entrance_fd is not None:
            os.write(entrance_fd, b"0")
        what = "descriptors"
        kept = [failure_fd, *(confined.descriptors if confined is not None else ())]
        failure_fd, *of_jail = _place_descriptors(fds, spec["targets"], kept)
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
            # a file that is too large is an error of the call, and not the end of the program
            if number != signal.SIGXFSZ or resource.RLIMIT_FSIZE not in spec["rlimits"]:
                signal.signal(number, signal.SIG_DFL)
        if confined is not None:
            what = "jail"
            confined.enter(*of_jail)
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


def _place_descriptors(
    fds: Sequence[int], targets: Sequence[int], until_exec: Sequence[int]
) -> list[int]:
    """Give each descriptor its number, close all others; returns those `until_exec`, moved."""
    wanted = dict(zip(targets, fds, strict=True))
    missing = {0, 1, 2} - wanted.keys()
    if missing:
        null = os.open(os.devnull, os.O_RDWR)
        wanted.update(dict.fromkeys(missing, null))
    # out of the way first, so that no source is overwritten before it is used
    above = max(wanted) + 1
    moved = {target: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for target, fd in wanted.items()}
    until_exec = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in until_exec]
    for target, fd in moved.items():
        os.dup2(fd, target)
    kept = sorted([*wanted, *until_exec])
    for below, next_kept in itertools.pairwise(kept):
        os.closerange(below + 1, next_kept)
    os.closerange(kept[-1] + 1, os.sysconf("SC_OPEN_MAX"))
    return until_exec


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
