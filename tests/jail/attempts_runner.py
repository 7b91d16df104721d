"""The runner's processes, sockets and folder come in; what of them could be touched is printed.

It is run inside of a jail, by any Python, as a program and as a query.
"""

import ctypes
import json
import os
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)


def call(function: Callable[..., int], *arguments: Any) -> None:
    if function(*arguments) == -1:
        raise OSError(ctypes.get_errno(), "refused")


def touch(path: str, flags: int) -> None:
    os.close(os.open(path, flags))


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def read_remote(pid: int) -> None:
    vector = (ctypes.c_size_t * 2)(id(0), 8)
    call(libc.process_vm_readv, pid, vector, 1, vector, 1, 0)


def take_descriptor(pid: int) -> None:
    call(libc.syscall, 438, os.pidfd_open(pid), 0, 0)


WAYS: dict[str, Callable[[int], object]] = {
    "signal": lambda pid: os.kill(pid, 0),
    "signal to its group": lambda pid: os.killpg(os.getpgid(pid), 0),
    "signal by pidfd": lambda pid: signal.pidfd_send_signal(os.pidfd_open(pid), 0),
    "attach": lambda pid: call(libc.ptrace, 16, pid, 0, 0),
    "seize": lambda pid: call(libc.ptrace, 0x4206, pid, 0, 0),
    "memory": lambda pid: touch(f"/proc/{pid}/mem", os.O_RDONLY),
    "write memory": lambda pid: touch(f"/proc/{pid}/mem", os.O_RDWR),
    "environment": lambda pid: Path(f"/proc/{pid}/environ").read_bytes(),
    "maps": lambda pid: Path(f"/proc/{pid}/maps").read_bytes(),
    "descriptors": lambda pid: Path(f"/proc/{pid}/fd/1").readlink(),
    "working folder": lambda pid: [*Path(f"/proc/{pid}/cwd").iterdir()],
    "root": lambda pid: [*Path(f"/proc/{pid}/root").iterdir()],
    "read its memory": read_remote,
    "take a descriptor": take_descriptor,
    "priority": lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19),
    "processors": lambda pid: os.sched_setaffinity(pid, {0}),
    "limits": lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE, (10, 10)),
}


def main(pids: list[int], sockets: list[str], folder: str) -> None:
    tried: dict[str, str] = {}

    def attempt(name: str, act: Callable[[], object]) -> None:
        try:
            act()
            tried[name] = "done"
        except OSError as error:
            tried.setdefault(name, str(error))

    for name, way in WAYS.items():
        for pid in pids:
            attempt(name, lambda way=way, pid=pid: way(pid))  # type: ignore[misc]
    for path in sockets:
        attempt("connect", lambda path=path: connect(path))  # type: ignore[misc]
        attempt("remove a socket", Path(path).unlink)
    attempt("its files", lambda: [*Path(folder).iterdir()])
    attempt("its log", Path(folder, "log").read_bytes)
    attempt("write its log", lambda: touch(f"{folder}/log", os.O_WRONLY))
    attempt("its scratch folder", lambda: [*Path(folder, "scratch").iterdir()])
    attempt("write beside it", lambda: touch(f"{folder}/new", os.O_WRONLY | os.O_CREAT))
    print(json.dumps(tried))
