"""Processes come in; whether one of them waits for a certain input, as /proc shows it, goes out.

No language has to help: a thread that waits stands in a system call, and its arguments name the
descriptors it waits for.  What counts is the terminal or pipe behind a descriptor, never its
number: Node opens the terminal anew, `getpass` opens /dev/tty.
"""

from __future__ import annotations

import os
import select
import stat
import struct

TYPE_CHECKING = False  # `typing` costs the guardian 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final, Literal, TypeAlias

    from kernel_runner.process_tree import Process

    Answer: TypeAlias = Literal["certain", "maybe"]

CONTROLLING_TERMINAL: Final = os.makedev(5, 0)
READABLE: Final = select.POLLIN | select.POLLRDNORM
POLL_ENTRY: Final = struct.Struct("=ihh")
INT_BITS: Final = 0xFFFF_FFFF  # the upper half of the register of an int holds anything
MAX_POLLED: Final = 4096
READ_BYTES: Final = 65_536

# number of the system call → the kind of wait
SYSTEM_CALLS: Final = {
    "x86_64": {
        **dict.fromkeys((0, 17, 19, 295, 327), "read"),  # read, pread64, readv, preadv, preadv2
        **dict.fromkeys((232, 281, 441), "epoll"),  # epoll_wait, epoll_pwait, epoll_pwait2
        **dict.fromkeys((7, 271), "poll"),  # poll, ppoll
        **dict.fromkeys((23, 270), "select"),  # select, pselect6
    },
    "aarch64": {
        **dict.fromkeys((63, 65, 67, 69, 286), "read"),  # read, readv, pread64, preadv, preadv2
        **dict.fromkeys((22, 441), "epoll"),  # epoll_pwait, epoll_pwait2
        73: "poll",  # ppoll
        72: "select",  # pselect6
    },
}.get(os.uname().machine, {})


class Input:
    """The terminal, pipe or socket that a program was given as its standard input."""

    def __init__(self, status: os.stat_result) -> None:
        self._is_terminal = stat.S_ISCHR(status.st_mode)
        self._identity = _identity(status)
        self._device = status.st_rdev

    @classmethod
    def of_descriptor(cls, fd: int) -> Input | None:
        """None for a file or /dev/null: nobody ever waits for those."""
        status = os.fstat(fd)
        is_terminal = stat.S_ISCHR(status.st_mode) and os.isatty(fd)
        if is_terminal or stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            return cls(status)
        return None

    def awaited_by(self, processes: Iterable[Process]) -> Answer | None:
        """`"certain"` when a thread reads this input, `"maybe"` when it has it among others."""
        answer: Answer | None = None
        for process in processes:
            for wait, arguments in _waits(process.pid):
                if wait == "read":
                    if self._is_behind(process, arguments[0] & INT_BITS):
                        return "certain"
                elif answer is None:
                    watched = _watched(process.pid, wait, arguments)
                    if any(self._is_behind(process, fd) for fd in watched):
                        answer = "maybe"
        return answer

    def _is_behind(self, process: Process, fd: int) -> bool:
        try:
            # follows the link without opening; noqa because pathlib costs the guardian 10 ms
            status = os.stat(f"/proc/{process.pid}/fd/{fd}")  # noqa: PTH116
        except OSError:
            return False
        if self._is_terminal and status.st_rdev == CONTROLLING_TERMINAL:
            return process.terminal == self._device
        return _identity(status) == self._identity


def _identity(status: os.stat_result) -> tuple[int, int]:
    """Equal for two descriptors of the same terminal, pipe or socket."""
    if stat.S_ISCHR(status.st_mode):
        return status.st_rdev, 0
    return status.st_dev, status.st_ino


def _waits(pid: int) -> Iterator[tuple[str, list[int]]]:
    """The kind of wait, and the arguments, of each thread that stands in such a system call."""
    try:
        threads = os.scandir(f"/proc/{pid}/task")
    except OSError:
        return
    with threads:
        for thread in threads:
            # "running", "-1 sp pc", or the number, six arguments, sp and pc
            fields = _read(f"/proc/{pid}/task/{thread.name}/syscall").split()
            if len(fields) == 9 and (wait := SYSTEM_CALLS.get(int(fields[0]))) is not None:
                yield wait, [int(field, 16) for field in fields[1:7]]


def _watched(pid: int, wait: str, arguments: list[int]) -> Iterator[int]:
    """The descriptors that a thread waits to read from, with others."""
    if wait == "epoll":
        return _watched_by_epoll(pid, arguments[0] & INT_BITS)
    if wait == "poll":
        return _watched_by_poll(pid, arguments[0], arguments[1] & INT_BITS)
    return _watched_by_select(pid, arguments[0] & INT_BITS, arguments[1])


def _watched_by_epoll(pid: int, epoll_fd: int) -> Iterator[int]:
    for line in _read(f"/proc/{pid}/fdinfo/{epoll_fd}").splitlines():
        # tfd:        0 events:       19 data:  … pos:0 ino:1f sdev:d
        if line.startswith(b"tfd:"):
            fields = line.split()
            if int(fields[3], 16) & READABLE:
                yield int(fields[1])


def _watched_by_poll(pid: int, address: int, count: int) -> Iterator[int]:
    memory = _read_memory(pid, address, min(count, MAX_POLLED) * POLL_ENTRY.size)
    whole = len(memory) - len(memory) % POLL_ENTRY.size
    for fd, events, _ in POLL_ENTRY.iter_unpack(memory[:whole]):
        if fd >= 0 and events & READABLE:
            yield fd


def _watched_by_select(pid: int, count: int, address: int) -> Iterator[int]:
    if address == 0:
        return
    # an array of long, little endian on both machines, so byte n holds the bits 8n to 8n+7
    bits = int.from_bytes(_read_memory(pid, address, (min(count, MAX_POLLED) + 7) // 8), "little")
    for fd in range(bits.bit_length()):
        if bits >> fd & 1:
            yield fd


def _read_memory(pid: int, address: int, size_bytes: int) -> bytes:
    try:
        memory_fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(memory_fd, size_bytes, address)
    except (OSError, OverflowError):
        return b""
    finally:
        os.close(memory_fd)


def _read(path: str) -> bytes:
    """What a file of /proc holds; nothing when the process has ended or hides it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, READ_BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)
