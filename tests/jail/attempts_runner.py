"""Run inside of a jail with `TARGETS`, the runner's processes and sockets; prints what was done."""

import ctypes
import json
import os
import signal
import socket

TARGETS: dict
libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments) == -1:
        raise OSError(ctypes.get_errno(), "refused")


def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def read_remote(pid):
    vector = (ctypes.c_size_t * 2)(id(0), 8)
    call(libc.process_vm_readv, pid, vector, 1, vector, 1, 0)


def take_descriptor(pid):
    call(libc.syscall, 438, os.pidfd_open(pid), 0, 0)


ways = {
    "signal": lambda pid: os.kill(pid, 0),
    "signal to its group": lambda pid: os.killpg(os.getpgid(pid), 0),
    "signal by pidfd": lambda pid: signal.pidfd_send_signal(os.pidfd_open(pid), 0),
    "attach": lambda pid: call(libc.ptrace, 16, pid, 0, 0),
    "seize": lambda pid: call(libc.ptrace, 0x4206, pid, 0, 0),
    "memory": lambda pid: open(f"/proc/{pid}/mem", "rb").read(1),
    "write memory": lambda pid: open(f"/proc/{pid}/mem", "r+b"),
    "environment": lambda pid: open(f"/proc/{pid}/environ").read(),
    "maps": lambda pid: open(f"/proc/{pid}/maps").read(),
    "descriptors": lambda pid: os.readlink(f"/proc/{pid}/fd/1"),
    "working folder": lambda pid: os.listdir(f"/proc/{pid}/cwd"),
    "root": lambda pid: os.listdir(f"/proc/{pid}/root"),
    "read its memory": read_remote,
    "take a descriptor": take_descriptor,
    "priority": lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19),
    "processors": lambda pid: os.sched_setaffinity(pid, {0}),
    "limits": lambda pid: __import__("resource").prlimit(pid, 7, (10, 10)),
}
tried = {}


def attempt(name, function, *arguments):
    try:
        function(*arguments)
        tried[name] = "done"
    except (OSError, ValueError) as error:
        tried.setdefault(name, str(error))


for name, function in ways.items():
    for pid in TARGETS["pids"]:
        attempt(name, function, pid)
for path in TARGETS["sockets"]:
    attempt("connect", connect, path)
    attempt("remove a socket", os.unlink, path)
attempt("its files", os.listdir, TARGETS["folder"])
attempt("its log", open, TARGETS["folder"] + "/log")
attempt("write its log", open, TARGETS["folder"] + "/log", "a")
attempt("its scratch folder", os.listdir, TARGETS["folder"] + "/scratch")
attempt("write beside it", open, TARGETS["folder"] + "/new", "w")
attempt("signal to all", os.kill, -1, signal.SIGCONT) if os.getpid() == 1 else None
print(json.dumps(tried))
