"""A folder of cgroup v2 comes in; a cgroup for one program goes out, and what its programs took.

What a program leaves behind cannot leave its cgroup, so its figures are exact.  Which controllers
there are depends on the machine: processor time is counted everywhere, memory and processes only
where these were delegated.
"""

from __future__ import annotations

import os

from kernel_runner.process_tree import read_process

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

    from kernel_runner.process_tree import Process

CONTROLLERS: Final = ("memory", "pids")
READ_BYTES: Final = 1 << 20


def own_folder() -> str | None:
    """The folder of the cgroup v2 that this process is in; None where that is not mounted."""
    for line in _read("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup2 "):
            own = [one for one in _read("/proc/self/cgroup").splitlines() if one.startswith("0::")]
            mount = left.split()[4]
            folder = os.path.join(mount, own[0].removeprefix("0::/")) if own else mount  # noqa: PTH118
            return folder.rstrip("/") if os.path.isdir(folder) else mount  # noqa: PTH112
    return None


def make_parent(folder: str, name: str) -> str:
    """A cgroup for those of programs, with all controllers that can be had.

    Raises:
        OSError: none can be made there.
    """
    parent = f"{folder}/{name}"
    os.mkdir(parent)  # noqa: PTH102  pathlib would cost the guardian 10 ms
    for controller in CONTROLLERS:
        for one in (folder, parent):
            try:
                _write(f"{one}/cgroup.subtree_control", f"+{controller}")
            except OSError:  # there is none, or it is not ours to use
                break
    return parent


class Cgroup:
    """Made for one program; `remove` it when none of its processes is left.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: str, limits: Mapping[str, float]) -> None:
        self._folder = folder
        os.mkdir(folder)  # noqa: PTH102
        self.controllers = frozenset(_read(f"{folder}/cgroup.controllers").split())
        try:
            if "memory" in self.controllers and "memory_bytes" in limits:
                _write(f"{folder}/memory.max", str(int(limits["memory_bytes"])))
                _write(f"{folder}/memory.oom.group", "1")
                if os.path.exists(f"{folder}/memory.swap.max"):  # noqa: PTH110
                    _write(f"{folder}/memory.swap.max", "0")
            if "pids" in self.controllers and "processes" in limits:
                _write(f"{folder}/pids.max", str(int(limits["processes"])))
        except OSError:
            self.remove()
            raise

    def open_entrance(self) -> int:
        """A descriptor; whoever writes ``0`` to it is in, with all that it forks from then on."""
        return os.open(f"{self._folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

    def processes(self) -> list[Process]:
        """Those that live in it now."""
        pids = _read(f"{self._folder}/cgroup.procs").split()
        return [one for pid in pids if (one := read_process(int(pid))) is not None]

    def tasks(self) -> int:
        """How many processes and threads are in it now."""
        return len(_read(f"{self._folder}/cgroup.threads").split())

    def kill(self) -> bool:
        """Kill all that are in it, and those that they are just about to fork.

        False where the kernel cannot (before Linux 5.14).
        """
        try:
            _write(f"{self._folder}/cgroup.kill", "1")
        except OSError:
            return False
        return True

    def cpu_seconds(self) -> float:
        return self._count("cpu.stat", "usage_usec") / 1e6

    def peak_bytes(self) -> int:
        """The most memory that it had at a time; 0 when it is not counted."""
        text = _read(f"{self._folder}/memory.peak").strip()
        return int(text) if text.isdecimal() else 0

    def was_out_of_memory(self) -> bool:
        return self._count("memory.events", "oom_kill") > 0

    def refused_forks(self) -> bool:
        return self._count("pids.events", "max") > 0

    def remove(self) -> None:
        """Nobody is in it any more; what is, keeps it."""
        try:
            os.rmdir(self._folder)  # noqa: PTH106
        except OSError:
            return

    def _count(self, file: str, key: str) -> int:
        for line in _read(f"{self._folder}/{file}").splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
        return 0


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _read(path: str) -> str:
    """What a file of the kernel holds; nothing where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    pieces: list[bytes] = []
    try:
        while piece := os.read(fd, READ_BYTES):
            pieces.append(piece)
    except OSError:
        return ""
    finally:
        os.close(fd)
    return b"".join(pieces).decode(errors="replace")
