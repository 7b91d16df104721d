"""Nothing comes in; attempts on processes, the network, the kernel and terminals go out."""

from typing import Final

from tests.jail.attempts_files import Attempt

CALL, NET, OTHERS, SPACES = (
    "syscalls",
    "network",
    "process: only of itself",
    "process: no namespaces",
)

PROCESSES: Final = [
    Attempt("signals others", "attempt(os.kill, VICTIM, 9)", "EPERM"),
    Attempt("asks whether others are there", "attempt(os.kill, VICTIM, 0)", "EPERM"),
    Attempt("stops its supervisor", "attempt(os.kill, os.getppid(), 9)", "EPERM"),
    Attempt("stops the first process", "attempt(os.kill, 1, 9)", "EPERM"),
    Attempt("stops the group of others", "attempt(os.killpg, os.getpgid(VICTIM), 9)", "EPERM"),
    Attempt(
        "signals by descriptor",
        "attempt(signal.pidfd_send_signal, os.pidfd_open(VICTIM), 9)",
        "EPERM",
    ),
    Attempt("queues a signal", "attempt(call, QUEUE, VICTIM, 9, SIGINFO)", "EPERM"),
    Attempt("signals a thread", "attempt(call, TGKILL, VICTIM, VICTIM, 9)", "EPERM"),
    Attempt("traces others", "attempt(call, PTRACE, 16, VICTIM, 0, 0)", "EPERM", CALL),
    Attempt("traces its children", "attempt(call, PTRACE, 0, 0, 0, 0)", "EPERM", CALL),
    Attempt(
        "reads memory of others", "attempt(call, VM_READ, VICTIM, 0, 0, 0, 0, 0)", "EPERM", CALL
    ),
    Attempt("writes it", "attempt(call, VM_READ + 1, VICTIM, 0, 0, 0, 0, 0)", "EPERM", CALL),
    Attempt("compares", "attempt(call, KCMP, VICTIM, os.getpid(), 0, 0, 0)", "EPERM", CALL),
    Attempt(
        "takes a descriptor of others",
        "attempt(call, 438, os.pidfd_open(VICTIM), 0, 0)",
        "EPERM",
        CALL,
    ),
    Attempt("advises memory of others", "attempt(call, 440, 0, 0, 0, 0, 0)", "EPERM", CALL),
    Attempt("slows others down", "attempt(os.setpriority, 0, VICTIM, 19)", "EPERM", OTHERS),
    Attempt("limits others", "attempt(resource.prlimit, VICTIM, 0, (1, 1))", "EPERM", OTHERS),
    Attempt("binds others", "attempt(os.sched_setaffinity, VICTIM, {0})", "EPERM", OTHERS),
    Attempt("schedules others", "attempt(schedule)", "EPERM", OTHERS),
    Attempt(
        "slows the disk of others", "attempt(call, IOPRIO, 1, VICTIM, 0x6007)", "EPERM", OTHERS
    ),
    Attempt(
        "lets others trace it", "attempt(prctl, 0x59616D61, VICTIM)", "EPERM", "process: prctl"
    ),
    Attempt("changes what it is", "attempt(prctl, 35, 1)", "EPERM", "process: prctl"),
    Attempt("keeps capabilities", "attempt(prctl, 8, 1)", "EPERM", "process: prctl"),
    Attempt("undoes no_new_privs", "attempt(prctl, 38, 0)", "EINVAL"),
    Attempt("becomes root", "'root' if os.geteuid() == 0 and caps() else 'EPERM'", "EPERM"),
    Attempt("takes capabilities back", "attempt(call, CAPSET, CAPS, ALL_CAPS)", "EPERM"),
    Attempt(
        "has an execution domain",
        "attempt(call, PERSONALITY, 8)",
        "EPERM",
        "process: no personalities",
    ),
    Attempt(
        "reads where there is no order",
        "attempt(call, PERSONALITY, 0x0400000)",
        "EPERM",
        "process: no personalities",
    ),
    Attempt("takes part of the keys", "attempt(call, KEYCTL, 0, -3, 1)", "EPERM", CALL),
]

NAMESPACES: Final = [
    *(
        Attempt(f"unshares {name}", f"attempt(call, UNSHARE, {flag})", "EPERM", SPACES)
        for name, flag in {
            "users": 0x10000000,
            "mounts": 0x00020000,
            "pids": 0x20000000,
            "the network": 0x40000000,
            "ipc": 0x08000000,
            "names": 0x04000000,
            "cgroups": 0x02000000,
            "time": 0x80,
        }.items()
    ),
    Attempt(
        "clones with new users", "attempt(call, CLONE, 0x10000011, 0, 0, 0, 0)", "EPERM", SPACES
    ),
    Attempt(
        "clones with a high bit set too",
        "attempt(call, CLONE, 0x10000011 | 1 << 40, 0, 0, 0, 0)",
        "EPERM",
        SPACES,
    ),
    Attempt("clones a sibling", "attempt(call, CLONE, 0x8011, 0, 0, 0, 0)", "EPERM", SPACES),
    Attempt("clones with flags in memory", "attempt(call, 435, bytes(88), 88)", "ENOSYS"),
    Attempt("enters others", "attempt(call, SETNS, 0, 0)", "EPERM", CALL),
]

NETWORK: Final = [
    Attempt(
        "connects to a port",
        "attempt(lambda: socket.create_connection(('127.0.0.1', PORT)))",
        "EACCES",
        NET,
    ),
    Attempt("listens", "attempt(lambda: socket.create_server(('127.0.0.1', 0)))", "EACCES", NET),
    Attempt(
        "sends UDP", "attempt(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)", "EACCES", NET
    ),
    Attempt("speaks IPv6", "attempt(socket.socket, socket.AF_INET6)", "EACCES", NET),
    Attempt(
        "speaks MPTCP",
        "attempt(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 262)",
        "EPROTONOSUPPORT",
    ),
    Attempt(
        "speaks SCTP",
        "attempt(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 132)",
        "EACCES",
        NET,
    ),
    Attempt(
        "sends raw", "attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)", "EACCES", NET
    ),
    Attempt("sees packets", "attempt(socket.socket, 17, socket.SOCK_RAW)", "EACCES", NET),
    Attempt("asks the kernel", "attempt(socket.socket, 16, socket.SOCK_RAW, 0)", "EACCES", NET),
    Attempt(
        "hides the family in high bits", "attempt(call, SOCKET, 2 | 1 << 32, 1, 0)", "EACCES", NET
    ),
    Attempt(
        "uses the kernel's ciphers",
        "attempt(socket.socket, 38, socket.SOCK_SEQPACKET)",
        "EACCES",
        NET,
    ),
    Attempt("speaks to the host", "attempt(socket.socket, 40, socket.SOCK_STREAM)", "EACCES", NET),
    Attempt(
        "reaches the runner's socket",
        "attempt(lambda: socket.socket(socket.AF_UNIX).connect(OUTSIDE + '/socket'))",
        "EACCES",
        NET,
    ),
    Attempt(
        "reaches an abstract socket",
        "attempt(lambda: socket.socket(socket.AF_UNIX).connect(f'\\0kernel-jail-{VICTIM}'))",
        "EACCES",
        NET,
    ),
    Attempt(
        "sends to a path from a pair",
        "attempt(socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM)",
        "EPERM",
        NET,
    ),
    Attempt(
        "opens by its first message",
        "attempt(lambda: socket.socketpair()[0].send(b'x', 0x20000000))",
        "EOPNOTSUPP|ENOTSUP",
        NET,
    ),
    Attempt(
        "connects one of a pair",
        "attempt(lambda: socket.socketpair()[0].connect(OUTSIDE + '/socket'))",
        "EISCONN",
    ),
    Attempt(
        "gives a socket a filter",
        "attempt(lambda: socket.socketpair()[0].setsockopt(1, 26, FILTER))",
        "EPERM",
        NET,
    ),
    Attempt(
        "asks the name service cache, quietly", "attempt(call, SOCKET, 1, 0x80801, 0)", "EACCES"
    ),
]

KERNEL: Final = [
    Attempt("fills a ring with calls", "attempt(call, 425, 1, bytes(120))", "ENOSYS"),
    Attempt(
        "loads a program into the kernel", "attempt(call, BPF, 0, bytes(64), 64)", "EPERM", CALL
    ),
    Attempt("handles page faults", "attempt(call, USERFAULT, 0)", "EPERM", CALL),
    Attempt("measures", "attempt(call, PERF, bytes(112), 0, -1, -1, 0)", "EPERM", CALL),
    Attempt("loads a module", "attempt(call, MODULE, bytes(8), 8, b'')", "EPERM", CALL),
    Attempt("starts another kernel", "attempt(call, KEXEC, 0, 0, 0, 0)", "EPERM", CALL),
    Attempt("restarts the machine", "attempt(call, REBOOT, 0, 0, 0, 0)", "EPERM", CALL),
    Attempt("sets the clock", "attempt(time.clock_settime, 0, 0)", "EPERM", CALL),
    Attempt("renames the machine", "attempt(socket.sethostname, 'x')", "EPERM", CALL),
    Attempt("reads the kernel's log", "attempt(call, SYSLOG, 3, bytes(64), 64)", "EPERM", CALL),
    Attempt("shares memory by number", "attempt(call, SHMGET, 1, 4096, 0o1666)", "EPERM", CALL),
    Attempt("opens a queue", "attempt(call, MQ_OPEN, b'x', 0o102, 0o600, 0)", "EPERM", CALL),
    Attempt("hides memory", "attempt(call, 447, 0)", "EPERM", CALL),
    Attempt("listens to calls itself", "attempt(call, SECCOMP, 1, 8, FILTER)", "EPERM", CALL),
    Attempt("calls what there is not", "attempt(call, 5000)", "ENOSYS"),
    Attempt("calls minus one", "attempt(call, -1)", "ENOSYS"),
    Attempt(
        "moves memory of others", "attempt(call, MOVE_PAGES, VICTIM, 0, 0, 0, 0, 0)", "EPERM", CALL
    ),
    Attempt("changes ports of the processor", "attempt(call, IOPL, 3)", "EPERM|ENOSYS"),
]

TERMINAL: Final = [
    Attempt(
        "types into the terminal",
        "attempt(fcntl.ioctl, 0, 0x5412, b'x')",
        "EPERM",
        "no terminal input",
    ),
    Attempt(
        "types, with a high bit",
        "attempt(call, IOCTL, 0, 0x5412 | 1 << 32, b'x')",
        "EPERM",
        "no terminal input",
    ),
    Attempt(
        "pastes on the console",
        "attempt(fcntl.ioctl, 0, 0x541C, b'\\3')",
        "EPERM",
        "no terminal input",
    ),
    Attempt("hangs up", "attempt(call, VHANGUP)", "EPERM", CALL),
    Attempt(
        "reads the runner's environment",
        "attempt(lambda: os.environ['SECRET']) if 'SECRET' in os.environ else 'gone'",
        "gone",
    ),
    Attempt("uses descriptors of the runner", "str(open_descriptors())", "[0, 1, 2]"),
]

HELPERS: Final = """
import fcntl, resource, signal, struct, time
X86 = os.uname().machine == "x86_64"
def of(x86_64, aarch64): return x86_64 if X86 else aarch64
QUEUE, TGKILL, PTRACE, VM_READ = of(129, 138), of(234, 131), of(101, 117), of(310, 270)
KCMP, IOPRIO, CAPSET, PERSONALITY = of(312, 272), of(251, 30), of(126, 91), of(135, 92)
KEYCTL, UNSHARE, CLONE, SETNS = of(250, 219), of(272, 97), of(56, 220), of(308, 268)
SOCKET, BPF, USERFAULT, PERF = of(41, 198), of(321, 280), of(323, 282), of(298, 241)
MODULE, KEXEC, REBOOT, SYSLOG = of(175, 105), of(246, 104), of(169, 142), of(103, 116)
SHMGET, MQ_OPEN, SECCOMP, MOVE_PAGES = of(29, 194), of(240, 180), of(317, 277), of(279, 239)
IOPL, IOCTL, VHANGUP = of(172, 5000), of(16, 29), of(153, 58)
SIGINFO = struct.pack("=iii", 9, 0, -1) + bytes(116)
CAPS = struct.pack("=Ii", 0x20080522, 0)
ALL_CAPS = struct.pack("=6I", 0xFFFFFFFF, 0xFFFFFFFF, 0, 0, 0, 0)
CODE = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000), 8)
FILTER = ctypes.create_string_buffer(struct.pack("@HP", 1, ctypes.addressof(CODE)), 16)
def prctl(option, value):
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")
def schedule(): os.sched_setscheduler(VICTIM, os.SCHED_IDLE, os.sched_param(0))
def caps():
    data = ctypes.create_string_buffer(24)
    call(of(125, 90), CAPS, data)
    return any(data.raw)
def open_descriptors():
    found = []
    for fd in range(100):
        try: os.fstat(fd)
        except OSError: continue
        found.append(fd)
    return found
"""
