"""A pid goes in; the processes below it come out, and signals go to exactly these.

The guardian and each keeper are subreapers: whoever loses its parent stays below them, also
after a double fork and `setsid`.  `/proc/PID/task/TID/children` is missing on many kernels, so
the tree is found by reading every `/proc/PID/stat`.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal

TYPE_CHECKING = False  # `typing` costs the guardian 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_CHILD_SUBREAPER: Final = 36
STOP_PASSES: Final = 20
STAT_BYTES: Final = 2048
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Process:
    """One living process, as it was when /proc was read."""

    __slots__ = (
        "cpu_ticks",
        "group",
        "name",
        "own_ticks",
        "parent",
        "pid",
        "resident_pages",
        "session",
        "start_ticks",
        "terminal",
        "threads",
    )

    def __init__(self, pid: int, name: str, fields: list[bytes]) -> None:
        self.pid = pid
        self.name = name
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        self.terminal = int(fields[4])
        self.own_ticks = int(fields[11]) + int(fields[12])
        self.cpu_ticks = self.own_ticks + int(fields[13]) + int(fields[14])  # with those waited for
        self.threads = int(fields[17])
        self.start_ticks = fields[19]
        self.resident_pages = int(fields[21])


def become_subreaper() -> None:
    """From now on orphans below this process become its children."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def hide() -> None:
    """Programs of the same user can no longer read or trace this process, nor those it forks.

    Their `exec` ends it for them: a program is as open as its user is used to.
    """
    _prctl(PR_SET_DUMPABLE, 0)


def die_with_parent(parent: int, number: int) -> None:
    """This process gets signal `number` when `parent` ends; at once if it has ended already."""
    _prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def descendants(
    root: int, spared: Collection[int] = (), sessions: Collection[int] = ()
) -> list[Process]:
    """The living processes below `root`, parents first, without `spared` and what is below them.

    Where parents die while /proc is read, their children are missed; those of `sessions` are not.
    """
    children: dict[int, list[Process]] = {}
    with os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit() and (process := read_process(int(entry.name))) is not None:
                children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    parents = [root]
    for parent in parents:
        for process in children.get(parent, ()):
            if process.pid not in spared:
                found.append(process)
                parents.append(process.pid)
    if sessions:
        known = {root, *parents}
        everyone = itertools.chain.from_iterable(children.values())
        found += [one for one in everyone if one.session in sessions and one.pid not in known]
    return found


def read_process(pid: int) -> Process | None:
    """What /proc says of `pid`; None when there is no such process or only its zombie."""
    try:
        stat_fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        line = os.read(stat_fd, STAT_BYTES)
    except OSError:
        return None
    finally:
        os.close(stat_fd)
    # the name may hold spaces and parentheses
    name_end = line.rindex(b")")
    fields = line[name_end + 2 :].split()
    # a main thread that has ended shows as Z while other threads of the process go on
    if fields[0] in b"ZX" and int(fields[17]) <= 1:
        return None
    name = line[line.index(b"(") + 1 : name_end].decode(errors="replace")
    return Process(pid, name, fields)


def send_signal(process: Process, number: int) -> bool:
    """Signal this very process, never another one that got its pid.

    False when it has ended, or belongs to another user.
    """
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        now = read_process(process.pid)
        if now is None or now.start_ticks != process.start_ticks:
            return False
        signal.pidfd_send_signal(pidfd, number)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def strike(
    root: int,
    spared: Collection[int] = (),
    kept: Collection[int] = (),
    sessions: Collection[int] = (),
) -> list[Process]:
    """SIGKILL everything below `root` and in `sessions`; returns whom it hit.

    `spared` live, and all that is below them; `kept` live, and what is below them does not.

    All are stopped first, until no new one shows up: those that start others while the rest
    is killed would win otherwise.  Call again until nobody is left to wait for.
    """
    stopped: dict[int, Process] = {}
    for _ in range(STOP_PASSES):
        below = descendants(root, spared, sessions)
        fresh = [one for one in below if one.pid not in stopped and one.pid not in kept]
        reached = [one for one in fresh if send_signal(one, signal.SIGSTOP)]
        if not reached:
            break
        stopped.update((one.pid, one) for one in reached)
    for process in stopped.values():
        send_signal(process, signal.SIGKILL)
    return list(stopped.values())
