"""A group's name comes in; the names of its system calls go out, and their numbers by machine.

Every call of both machines is in exactly one group.  A name that one machine lacks is left out
there.
"""

from __future__ import annotations

import os

from kernel_runner.jail.numbers import AARCH64, X86_64

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

AUDIT_ARCH_X86_64: Final = 0xC000003E
AUDIT_ARCH_AARCH64: Final = 0xC00000B7
X32_BIT: Final = 0x40000000


class Machine:
    """What differs from one architecture to another."""

    def __init__(self, name: str, audit_arch: int, numbers: Mapping[str, int]) -> None:
        self.name = name
        self.audit_arch = audit_arch
        self.numbers = numbers
        self.names = {number: call for call, number in numbers.items()}
        self.has_x32 = audit_arch == AUDIT_ARCH_X86_64


MACHINES: Final = {
    "x86_64": Machine("x86_64", AUDIT_ARCH_X86_64, X86_64),
    "aarch64": Machine("aarch64", AUDIT_ARCH_AARCH64, AARCH64),
}


def this_machine() -> Machine | None:
    """None on an architecture that there are no numbers for."""
    return MACHINES.get(os.uname().machine)


def _calls(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALWAYS: Final = {
    "io": _calls("""
        close close_range copy_file_range dup dup2 dup3 eventfd eventfd2 fcntl fdatasync flock
        fsync ioctl lseek pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read
        readahead readv sendfile splice sync sync_file_range syncfs tee vmsplice write writev
    """),
    "files": _calls("""
        access chdir creat faccessat faccessat2 fadvise64 fallocate fchdir fgetxattr file_getattr
        flistxattr fstat fstatfs ftruncate getcwd getdents getdents64 getxattr getxattrat
        lgetxattr link linkat listxattr listxattrat llistxattr lstat mkdir mkdirat mknod mknodat
        newfstatat open openat openat2 readlink readlinkat rename renameat renameat2 rmdir stat
        statfs statx symlink symlinkat truncate umask unlink unlinkat
    """),
    "metadata": _calls("""
        chmod chown fchmod fchmodat fchmodat2 fchown fchownat futimesat lchown utime utimensat
        utimes
    """),
    "memory": _calls("""
        brk cachestat get_mempolicy madvise map_shadow_stack membarrier mincore mlock mlock2
        mlockall mmap mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free
        pkey_mprotect
    """),
    "waiting": _calls("""
        epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
        epoll_wait_old futex futex_requeue futex_wait futex_waitv futex_wake get_robust_list pause
        poll ppoll pselect6 select set_robust_list
    """),
    "processes": _calls("""
        arch_prctl capget capset clone clone3 execve execveat exit exit_group fork get_thread_area
        getcpu personality pidfd_open prctl process_mrelease restart_syscall rseq rseq_slice_yield
        set_thread_area set_tid_address unshare vfork wait4 waitid
    """),
    "signals": _calls("""
        alarm kill pidfd_send_signal rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
        rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo sigaltstack signalfd
        signalfd4 tgkill tkill
    """),
    "identity": _calls("""
        getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getresgid getresuid getsid
        gettid getuid setfsgid setfsuid setgid setgroups setpgid setregid setresgid setresuid
        setreuid setsid setuid
    """),
    "scheduling": _calls("""
        getpriority getrlimit getrusage ioprio_get ioprio_set prlimit64 sched_get_priority_max
        sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
        sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler
        sched_yield setpriority setrlimit
    """),
    "time": _calls("""
        clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep setitimer time
        timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
        timerfd_gettime timerfd_settime times
    """),
    "system": _calls("getrandom sysinfo uname"),
    "sockets": _calls("""
        accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg
        recvmsg sendmmsg sendmsg sendto setsockopt shutdown socket socketpair
    """),
    "sandbox": _calls("landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp"),
}
"""Allowed without asking; some only with certain arguments, see `rules.py`."""

ON_REQUEST: Final = {
    "sysv-ipc": _calls("""
        msgctl msgget msgrcv msgsnd semctl semget semop semtimedop shmat shmctl shmdt shmget
    """),
    "posix-mq": _calls("""
        mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink
    """),
    "file-watching": _calls("inotify_add_watch inotify_init inotify_init1 inotify_rm_watch"),
    "numa": _calls("mbind set_mempolicy set_mempolicy_home_node"),
    "memfd": _calls("memfd_create"),
    "attributes": _calls("""
        fremovexattr fsetxattr lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat
    """),
    "aio": _calls("io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit"),
    "odd": _calls("file_setattr remap_file_pages sysfs ustat"),
}
"""Refused unless a policy allows the group, or one of its calls."""

NEVER: Final = {
    "tracing": (
        _calls("""
            kcmp perf_event_open pidfd_getfd process_madvise process_vm_readv process_vm_writev
            ptrace uprobe uretprobe
        """),
        "reads or changes other processes",
    ),
    "kernel": (
        _calls("""
            acct bpf create_module delete_module finit_module get_kernel_syms init_module
            kexec_file_load kexec_load lookup_dcookie lsm_get_self_attr lsm_list_modules
            lsm_set_self_attr query_module quotactl quotactl_fd reboot swapoff swapon syslog
        """),
        "loads code into the kernel or changes the machine",
    ),
    "mounts": (
        _calls("""
            chroot fsconfig fsmount fsopen fspick listmount mount mount_setattr move_mount
            open_tree open_tree_attr pivot_root statmount umount2
        """),
        "changes which files there are",
    ),
    "namespaces": (_calls("listns setns"), "brings capabilities that the jail took"),
    "io_uring": (
        _calls("io_uring_enter io_uring_register io_uring_setup"),
        "makes calls that no filter sees",
    ),
    "userfaultfd": (_calls("userfaultfd"), "stops the kernel in the middle of a call"),
    "keys": (_calls("add_key keyctl request_key"), "reaches keys of other programs"),
    "handles": (_calls("name_to_handle_at open_by_handle_at"), "opens files past their folders"),
    "clock": (
        _calls("adjtimex clock_adjtime clock_settime setdomainname sethostname settimeofday"),
        "changes the time or the name of the machine",
    ),
    "hardware": (_calls("ioperm iopl modify_ldt"), "reaches ports and segments of the processor"),
    "placement": (_calls("migrate_pages move_pages"), "moves the memory of other processes"),
    "watching": (_calls("fanotify_init fanotify_mark"), "sees what other programs open"),
    "secret-memory": (_calls("memfd_secret"), "holds memory that nobody can look into"),
    "terminals": (_calls("vhangup"), "takes the terminal from others"),
    "relics": (
        _calls("""
            _sysctl afs_syscall getpmsg nfsservctl putpmsg security tuxcall uselib vserver
        """),
        "is in no kernel any more",
    ),
}
"""Refused whatever a policy says: the calls, and the reason."""

QUIET: Final = {
    **dict.fromkeys(NEVER["io_uring"][0] | NEVER["relics"][0], "ENOSYS"),
    **dict.fromkeys(("clone3", "execveat", "rseq_slice_yield"), "ENOSYS"),
    **dict.fromkeys(NEVER["tracing"][0] & {"uprobe", "uretprobe"}, "ENOSYS"),
    **dict.fromkeys(ON_REQUEST["attributes"], "EOPNOTSUPP"),
    **dict.fromkeys(ON_REQUEST["numa"], "EPERM"),
}
"""Refused without a report: libraries try these and have another way."""

GROUPS: Final = {
    **ALWAYS,
    **ON_REQUEST,
    **{name: calls for name, (calls, _) in NEVER.items()},
}
FORBIDDEN: Final = {
    **{call: reason for calls, reason in NEVER.values() for call in calls},
    "clone3": "has its flags in memory, where nobody can check them",
}


def expand(words: Iterable[str]) -> frozenset[str]:
    """The calls of names and of groups (`@aio`).

    Raises:
        LookupError: with the word that is neither.
    """
    found: set[str] = set()
    for word in words:
        if word.startswith("@") and word[1:] in GROUPS:
            found |= GROUPS[word[1:]]
        elif word in X86_64 or word in AARCH64:
            found.add(word)
        else:
            raise LookupError(word)
    return frozenset(found)


def group_of(call: str) -> str:
    """The group that has this call."""
    return next(name for name, calls in GROUPS.items() if call in calls)
