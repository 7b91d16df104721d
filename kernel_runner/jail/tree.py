"""A pid goes in; the processes below it come out, or are killed until none is left.

Whoever loses its parent becomes a child of the nearest subreaper above, also after a double fork
and `setsid`, so nobody leaves the tree.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    import signal
    from typing import Final
else:
    import _signal as signal  # without the enums of `signal`, 2 ms

STAT_BYTES: Final = 2048
STOP_PASSES: Final = 20
PAUSE_SECONDS: Final = 0.005
SWEEP_SECONDS: Final = 10.0


def below(root: int) -> dict[int, tuple[int, bytes]]:
    """The living processes below `root`: the number of threads and the start time of each."""
    children: dict[int, list[int]] = {}
    found: dict[int, tuple[int, bytes]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(name))
            found[int(name)] = (int(fields[17]), fields[19])
    inside: dict[int, tuple[int, bytes]] = {}
    parents = [root]
    for parent in parents:
        for pid in children.get(parent, ()):
            inside[pid] = found[pid]
            parents.append(pid)
    return inside


def quick_count(root: int) -> tuple[int, int] | None:
    """The processes below `root` and their threads; None where the kernel keeps no such lists."""
    processes = threads = 0
    parents = [str(root)]
    for parent in parents:
        try:
            tasks = os.listdir(f"/proc/{parent}/task")
            for task in tasks:
                with open(f"/proc/{parent}/task/{task}/children", "rb") as file:
                    parents += file.read().decode().split()
        except FileNotFoundError:
            if parent == str(root):
                return None
            continue  # it has ended
        except ProcessLookupError:
            continue
        if parent != str(root):
            processes += 1
            threads += len(tasks)
    return processes, threads


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the state on; None when it has ended."""
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
    fields = line[line.rindex(b")") + 2 :].split()
    # a main thread that has ended shows as Z while other threads of the process go on
    return None if fields[0] in b"ZX" and int(fields[17]) <= 1 else fields


def name_of(pid: int) -> str:
    """What the process calls itself; it may have written anything there."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read(64).decode(errors="replace").rstrip("\n")
    except OSError:
        return ""


def strike(root: int) -> int:
    """SIGKILL all below `root`; returns how many it hit.

    All are stopped first, until no new one shows up: those that start others while the rest is
    killed would win otherwise.
    """
    stopped: dict[int, bytes] = {}
    for _ in range(STOP_PASSES):
        fresh = {pid: one[1] for pid, one in below(root).items() if pid not in stopped}
        reached = [pid for pid, start in fresh.items() if _send(pid, start, signal.SIGSTOP)]
        if not reached:
            break
        stopped.update((pid, fresh[pid]) for pid in reached)
    for pid, start in stopped.items():
        _send(pid, start, signal.SIGKILL)
    return len(stopped)


def _send(pid: int, start: bytes, number: int) -> bool:
    """Signal this very process, never another one that got its pid."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        fields = _stat(pid)
        if fields is None or fields[19] != start:
            return False
        signal.pidfd_send_signal(pidfd, number)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def sweep() -> bool:
    """Kill and reap all below this process; False when some could not be killed in time."""
    give_up_at = time.monotonic() + SWEEP_SECONDS
    while reap():
        if time.monotonic() > give_up_at:
            return False
        strike(os.getpid())
        time.sleep(PAUSE_SECONDS)  # a killed process ends when the kernel gets to it
    return True


def reap() -> bool:
    """Bury the children that have ended; False when there is none any more."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
