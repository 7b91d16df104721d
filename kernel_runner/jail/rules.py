"""What a policy chooses comes in; the clauses of each system call go out.

A verdict is `(kind, errno, rule)`; `rule` is the key of the policy that a report names.

    allow     the call is made
    deny      it fails with errno, and is reported
    quiet     it fails with errno, without a report
    kill      it is reported and the program ended
    fork, thread   counted, and made while the policy's numbers allow it
    own       made for a thread of the same process, else as deny; made where nobody listens
    metadata  the supervisor makes the call for the program, see `broker.py`
    socket    the supervisor connects, to a socket that is listed
    path, port     made; what Landlock is going to refuse is reported
    watch     made, and reported

Nothing here looks at memory: what is checked are registers, which nobody changes after the check.
"""

from __future__ import annotations

import errno
import fcntl
import os

from kernel_runner.jail import syscalls
from kernel_runner.jail.bpf import ALLOW, ERRNO, KILL_PROCESS, NOTIFY

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final, TypedDict

    from kernel_runner.jail.bpf import Clause, Clauses, Condition, Verdict
    from kernel_runner.jail.syscalls import Machine

    class Choice(TypedDict):
        """What decides about system calls; see `policy.Policy`."""

        allow: list[str]  # names of calls, without groups
        refuse: dict[str, int]  # name to errno
        quiet: dict[str, int]
        kill: list[str]
        watch: list[str]
        inet: bool  # some TCP port is allowed
        listen: bool
        udp: bool
        unix: bool
        sockets: bool  # some path may be connected to
        metadata: str  # broker, allow or deny
        paths: bool | str  # "writes": only where something would be written


ALL: Final = 0xFFFFFFFF
REFUSED_ALONE: Final = ("deny", "quiet", "metadata", "socket")
"""What is refused where nobody listens."""
PERMIT: Final = ("allow", 0, "")

NAMESPACES: Final = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
ODD_CLONES: Final = 0x0000A000  # CLONE_PTRACE, CLONE_PARENT
CLONE_THREAD: Final = 0x00010000
UNSHARED: Final = 0x00040600  # CLONE_SYSVSEM, CLONE_FILES, CLONE_FS: no namespace

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
STREAM, DATAGRAM, RAW, SEQPACKET = 1, 2, 3, 5
KIND: Final = 0xF  # of a socket's type, without SOCK_CLOEXEC and SOCK_NONBLOCK
TCP, UDP, MPTCP = 6, 17, 262
NSCD: Final = 0x80801  # how glibc asks for its name service cache: STREAM, CLOEXEC, NONBLOCK
MSG_FASTOPEN: Final = 0x20000000

TERMINAL_INPUT: Final = (0x5412, 0x541C, 0x541D, 0x5423)  # TIOCSTI, LINUX, CONS, SETD
FILE_FLAGS: Final = (0x40086602, 0x401C5820, 0x40087602, 0x40286685, 0x800C6613, 0xC0506617)
"""FS_IOC_SETFLAGS, FSSETXATTR, SETVERSION, ENABLE_VERITY and two of encryption: a descriptor that
is open for reading is enough for them."""

SOL_SOCKET, SOL_TCP = 1, 6
SOCKET_FILTERS: Final = (26, 50, 51, 52)  # SO_ATTACH_FILTER, ATTACH_BPF, REUSEPORT_CBPF, EBPF
TCP_ULP: Final = 31  # loads protocols into the kernel

PRCTLS: Final = (
    *range(1, 8), *range(9, 17), *range(19, 24), *range(25, 28), 29, 30, 33, 34,
    *range(36, 43), 45, 46, 47, *range(50, 57), 60, 61, *range(63, 67), 0x53564D41, 0x41555856,
)  # fmt: skip
PRCTLS_OF_OTHERS: Final = (8, 24, 28, 35, 62, 0x59616D61)
"""PR_SET_KEEPCAPS, CAPBSET_DROP, SET_SECUREBITS, SET_MM, SCHED_CORE, SET_PTRACER"""

MFD_NOEXEC_SEAL: Final = 8
NEW_LISTENER: Final = 8
FLAGS_OF_OPEN: Final = {"open": 1, "openat": 2}
WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
PATH_CALLS: Final = (
    "open", "openat", "openat2", "creat", "execve", "truncate", "unlink", "unlinkat", "mkdir",
    "mkdirat", "rmdir", "rename", "renameat", "renameat2", "symlink", "symlinkat", "link",
    "linkat", "mknod", "mknodat",
)  # fmt: skip


def clauses(choice: Choice, machine: Machine) -> dict[int, Clauses]:
    """The clauses of every number that the machine has."""
    checked = {**_process_rules(), **_network_rules(choice), **_file_rules(choice)}
    return {
        number: _of_call(call, choice, checked.get(call))
        for call, number in machine.numbers.items()
    }


def _of_call(call: str, choice: Choice, checked: Clauses | None) -> Clauses:
    if call in choice["kill"]:
        return _only(("kill", errno.EPERM, "syscalls.kill"))
    if call in choice["quiet"]:
        return _only(("quiet", choice["quiet"][call], "syscalls.quiet"))
    if call in choice["refuse"]:
        return _only(("deny", choice["refuse"][call], "syscalls.refuse"))
    is_granted = call in choice["allow"] and call not in syscalls.FORBIDDEN
    if call in syscalls.QUIET and not is_granted:
        return _only(("quiet", getattr(errno, syscalls.QUIET[call]), "syscalls"))
    if call in syscalls.FORBIDDEN:
        return _only(("deny", errno.EPERM, "syscalls"))
    watched: Verdict = ("watch", 0, "syscalls.watch")
    if checked is not None:
        if call not in choice["watch"]:
            return checked
        return tuple((where, watched if one == PERMIT else one) for where, one in checked)
    if call in choice["watch"]:
        return _only(watched)
    always = syscalls.group_of(call) in syscalls.ALWAYS
    if always or is_granted:
        return _told(call, choice["paths"]) if call in PATH_CALLS else _only(PERMIT)
    return _only(("deny", errno.EPERM, "syscalls"))


def _told(call: str, paths: bool | str) -> Clauses:
    """A call with a path, that is reported when Landlock refuses it."""
    if not paths or (paths == "writes" and call == "execve"):
        return _only(PERMIT)
    told: Verdict = ("path", 0, "")
    if paths == "writes" and call in FLAGS_OF_OPEN:
        return (_where(_none_of(FLAGS_OF_OPEN[call], WRITES)), ((), told))
    return _only(told)


def _only(verdict: Verdict) -> Clauses:
    return (((), verdict),)


def _where(*conditions: Condition, verdict: Verdict = PERMIT) -> Clause:
    return conditions, verdict


def _none_of(argument: int, flags: int) -> Condition:
    return argument, flags, (0,)


def _is(argument: int, *values: int) -> Condition:
    return argument, ALL, values


def _or_deny(rule: str, *wanted: Clause, code: int = errno.EPERM) -> Clauses:
    return (*wanted, ((), ("deny", code, rule)))


def _process_rules() -> dict[str, Clauses]:
    is_plain = _none_of(0, NAMESPACES | ODD_CLONES)
    is_thread = (0, CLONE_THREAD, (CLONE_THREAD,))
    others = "process: only of itself"
    itself = _or_deny(others, _where(_is(0, 0)))
    return {
        "fork": _only(("fork", 0, "process.max_processes")),
        "vfork": _only(("fork", 0, "process.max_processes")),
        "clone": _or_deny(
            "process: no namespaces",
            _where(is_plain, is_thread, verdict=("thread", 0, "process.max_threads")),
            _where(is_plain, verdict=("fork", 0, "process.max_processes")),
        ),
        "unshare": _or_deny("process: no namespaces", _where(_none_of(0, ALL & ~UNSHARED))),
        "personality": _or_deny("process: no personalities", _where(_is(0, 0, ALL))),
        "prlimit64": itself,
        **dict.fromkeys(
            ("sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler"),
            # libzmq and OpenMP do it to each of their threads
            (_where(_is(0, 0)), ((), ("own", errno.EPERM, others))),
        ),
        "setpriority": _or_deny(others, _where(_is(0, 0), _is(1, 0))),
        "ioprio_set": _or_deny(others, _where(_is(0, 1), _is(1, 0))),
        "prctl": (
            _where(_is(0, *PRCTLS)),
            _where(_is(0, *PRCTLS_OF_OTHERS), verdict=("deny", errno.EPERM, "process: prctl")),
            ((), ("quiet", errno.EINVAL, "process: prctl")),
        ),
        "ioctl": (
            _where(_is(1, *TERMINAL_INPUT), verdict=("deny", errno.EPERM, "no terminal input")),
            _where(_is(1, *FILE_FLAGS), verdict=("deny", errno.EPERM, "files.metadata")),
            ((), PERMIT),
        ),
    }


def _network_rules(choice: Choice) -> dict[str, Clauses]:
    network = "network"
    is_inet = _is(0, AF_INET, AF_INET6)
    sockets: list[Clause] = [
        _where(is_inet, _is(2, MPTCP), verdict=("quiet", errno.EPROTONOSUPPORT, network)),
    ]
    if choice["inet"]:
        sockets.append(_where(is_inet, (1, KIND, (STREAM,)), _is(2, 0, TCP)))
    if choice["udp"]:
        sockets.append(_where(is_inet, (1, KIND, (DATAGRAM,)), _is(2, 0, UDP)))
    if choice["inet"] or choice["udp"]:
        # libzmq and getifaddrs ask the kernel which interfaces there are
        sockets.append(_where(_is(0, AF_NETLINK), (1, KIND, (DATAGRAM, RAW)), _is(2, 0)))
    if choice["unix"]:
        sockets.append(_where(_is(0, AF_UNIX)))
    else:
        quiet = ("quiet", errno.EACCES, network)
        sockets.append(_where(_is(0, AF_UNIX), _is(1, NSCD), verdict=quiet))
        if choice["sockets"]:
            # one of a stream can send to nobody before it is connected
            sockets.append(_where(_is(0, AF_UNIX), (1, KIND, (STREAM,))))
    pairs = (STREAM, SEQPACKET, DATAGRAM) if choice["unix"] else (STREAM, SEQPACKET)
    may_listen = choice["listen"] or (choice["unix"] and not choice["inet"])
    to_port: Verdict = ("port", 0, network) if choice["inet"] else PERMIT
    to_listed: Verdict = ("socket", errno.EACCES, "network.sockets")
    no_option: Verdict = ("deny", errno.EPERM, network)
    # a connection that is opened by its first message is not seen by Landlock
    plain = {
        call: _or_deny(network, _where(_none_of(at, MSG_FASTOPEN)), code=errno.EOPNOTSUPP)
        for call, at in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3))
    }
    return {
        **plain,
        "socket": _or_deny(network, *sockets, code=errno.EACCES),
        # one of datagrams could send to any path
        "socketpair": _or_deny(network, _where(_is(0, AF_UNIX), (1, KIND, pairs))),
        # without a bind before it takes a free port that Landlock does not see
        "listen": _only(PERMIT if may_listen else ("deny", errno.EACCES, "network.listen")),
        "setsockopt": (
            _where(_is(1, SOL_SOCKET), _is(2, *SOCKET_FILTERS), verdict=no_option),
            _where(_is(1, SOL_TCP), _is(2, TCP_ULP), verdict=no_option),
            ((), PERMIT),
        ),
        "connect": _only(to_listed if choice["sockets"] and not choice["unix"] else to_port),
        "bind": _only(to_port),
    }


def _file_rules(choice: Choice) -> dict[str, Clauses]:
    kinds: dict[str, Verdict] = {
        "broker": ("metadata", 0, "files.metadata"),
        "allow": PERMIT,
        "deny": ("deny", errno.EPERM, "files.metadata"),
    }
    metadata = _only(kinds[choice["metadata"]])
    rules = dict.fromkeys(syscalls.ALWAYS["metadata"], metadata)
    if "memfd_create" not in choice["allow"]:
        # Landlock does not see files in memory: they could be executed
        sealed = (1, MFD_NOEXEC_SEAL, (MFD_NOEXEC_SEAL,))
        rules["memfd_create"] = _or_deny("files.execute", _where(sealed))
    if "seccomp" not in choice["allow"]:
        rules["seccomp"] = _or_deny(
            "syscalls", _where(_is(0, 0, 2, 3)), _where(_is(0, 1), _none_of(1, NEW_LISTENER))
        )
    return rules


def lower_to_notify(verdict: Verdict) -> int:
    """What the filter returns where a supervisor listens."""
    kind, code, _ = verdict
    if kind == "allow":
        return ALLOW
    return ERRNO | code if kind == "quiet" else NOTIFY


def lower_to_errno(verdict: Verdict) -> int:
    """The same where nobody listens; what has to be counted is not, and nothing is reported."""
    kind, code, _ = verdict
    if kind == "kill":
        return KILL_PROCESS
    return ERRNO | (code or errno.EPERM) if kind in REFUSED_ALONE else ALLOW


def lower_to_kill(verdict: Verdict) -> int:
    """As `lower_to_errno`, where a violation ends the program."""
    return KILL_PROCESS if verdict[0] == "deny" else lower_to_errno(verdict)


def guard(pids: Iterable[int], abi: int, machine: Machine) -> Mapping[int, Clauses] | None:
    """What older kernels cannot say with Landlock is said by a second filter; None from ABI 6 on.

    `pids` must not get signals from the program.
    """
    if abi >= 6:
        return None
    rules = {call: _only(PERMIT) for call in machine.numbers}
    deny = ("deny", errno.EPERM, "process: only of itself")
    wanted = tuple(one & ALL for pid in pids for one in (pid, -pid))
    for call in ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
        rules[call] = (_where(_is(0, *wanted, ALL), verdict=deny), ((), PERMIT))
    rules["pidfd_send_signal"] = _only(deny)
    rules["fcntl"] = (_where(_is(1, fcntl.F_SETOWN, 15), verdict=deny), ((), PERMIT))
    if abi < 3:
        # truncation is no right of its own before
        writes_nothing = (1, 0o1003, (0o1000,))
        rules["open"] = (_where(writes_nothing, verdict=deny), ((), PERMIT))
        rules["openat"] = (
            _where((2, *writes_nothing[1:]), verdict=deny),
            ((), PERMIT),
        )
        rules["truncate"] = _only(deny)
        rules["openat2"] = _only(("quiet", errno.ENOSYS, "files.write"))
    return {machine.numbers[call]: rule for call, rule in rules.items() if call in machine.numbers}
