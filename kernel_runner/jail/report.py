"""What was refused comes in; one sentence and one JSON line of it go out, each kind once."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final, TypedDict

    class Record(TypedDict):
        """One violation, as programs read it."""

        v: int
        event: str  # violation, or end: the counts of what was repeated
        rule: str  # the key of the policy
        policy: str
        syscall: str
        args: list[int]
        path: str | None
        pid: int
        comm: str
        action: str  # the name of the errno, "kill" or "allowed"
        count: int
        sentence: str
        hint: str


MAX_KINDS: Final = 1_000
FAMILIES: Final = {
    1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK", 17: "AF_PACKET", 38: "AF_ALG",
    40: "AF_VSOCK",
}  # fmt: skip
KINDS: Final = {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"}
NAMESPACES: Final = {
    0x00020000: "CLONE_NEWNS", 0x02000000: "CLONE_NEWCGROUP", 0x04000000: "CLONE_NEWUTS",
    0x08000000: "CLONE_NEWIPC", 0x10000000: "CLONE_NEWUSER", 0x20000000: "CLONE_NEWPID",
    0x40000000: "CLONE_NEWNET",
}  # fmt: skip
REQUESTS: Final = {0x5412: "TIOCSTI", 0x541C: "TIOCLINUX", 0x541D: "TIOCCONS", 0x5423: "TIOCSETD"}
ARGUMENTS: Final = {
    "clone": 1, "unshare": 1, "socket": 3, "socketpair": 3, "ioctl": 2, "prctl": 2, "kill": 2,
    "prlimit64": 2, "setpriority": 3, "ioprio_set": 3, "personality": 1, "ptrace": 2, "listen": 2,
    "sched_setaffinity": 2, "sched_setscheduler": 2, "keyctl": 1, "seccomp": 2,
}  # fmt: skip


class Reporter:
    """Where reports go.

    Args:
        policy: as they name it.
        sentences_fd: gets the sentences; None for none.
        records_fd: gets the JSON lines; None for none.
    """

    def __init__(self, policy: str, sentences_fd: int | None, records_fd: int | None) -> None:
        self.policy = policy
        self._sentences_fd = sentences_fd
        self._records_fd = records_fd
        self._seen: dict[tuple[str, str, str], Record] = {}
        self.violations = 0

    def violation(
        self,
        *,
        rule: str,
        call: str,
        args: Sequence[int],
        pid: int,
        comm: str,
        action: str,
        what: str,
        path: str | None = None,
        hint: str = "",
    ) -> bool:
        """Report it, or count it when it was reported before; True the first time.

        `what` is the sentence without the policy.
        """
        self.violations += 1
        key = (rule, what, path or "")
        if (known := self._seen.get(key)) is not None:
            known["count"] += 1
            return False
        record: Record = {
            "v": 1,
            "event": "violation",
            "rule": rule,
            "policy": self.policy,
            "syscall": call,
            "args": list(args),
            "path": path,
            "pid": pid,
            "comm": comm,
            "action": action,
            "count": 1,
            "sentence": f"{what} ({self.policy})",
            "hint": hint,
        }
        if len(self._seen) < MAX_KINDS:
            self._seen[key] = record
            self._write(record)
            return True
        return False

    def note(self, sentence: str) -> None:
        """Something of the jail itself."""
        self._say(sentence)

    def finish(self) -> None:
        """Tell how often each was repeated."""
        for record in self._seen.values():
            if record["count"] > 1:
                sentence = f"{record['sentence']}: {record['count']} times"
                self._write({**record, "event": "end", "sentence": sentence})

    def _write(self, record: Record) -> None:
        self._say(record["sentence"] + (f"; {record['hint']}" if record["hint"] else ""))
        if self._records_fd is not None:
            import json  # late: most programs do nothing that has to be told

            _write_all(self._records_fd, json.dumps(record).encode() + b"\n")

    def _say(self, sentence: str) -> None:
        if self._sentences_fd is not None:
            _write_all(self._sentences_fd, f"kernel-jail: {printable(sentence)}\n".encode())


def _write_all(fd: int, line: bytes) -> None:
    try:
        os.write(fd, line)  # one write: lines of several writers do not mix
    except OSError:  # nobody reads any more; the jail goes on
        return


def printable(text: str) -> str:
    """Without control characters: a path may hold a newline and what a terminal obeys."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def described(call: str, args: Sequence[int]) -> str:
    """The call with the arguments that decided, as in a manual."""
    words: list[str] = [str(_signed(one)) for one in args[: ARGUMENTS.get(call, 0)]]
    low = [one & 0xFFFFFFFF for one in args]
    if call in ("socket", "socketpair"):
        words[0] = FAMILIES.get(low[0], words[0])
        words[1] = KINDS.get(low[1] & 0xF, words[1])
    elif call in ("clone", "unshare"):
        names = [name for bit, name in NAMESPACES.items() if low[0] & bit]
        words[0] = "|".join(names) or hex(low[0])
    elif call == "ioctl":
        words[1] = REQUESTS.get(low[1], hex(low[1]))
    return f"{call}({', '.join(words)})" if words else call


def why(call: str, args: Sequence[int], rule: str) -> str:
    """What was refused, and for which reason, without the policy's name."""
    from kernel_runner.jail import syscalls  # late: most programs do nothing wrong

    what = described(call, args)
    if call in syscalls.FORBIDDEN:
        return f"{what}: {syscalls.FORBIDDEN[call]}; never allowed"
    group = syscalls.group_of(call)
    if rule == "syscalls" and group in syscalls.ON_REQUEST:
        return f"{what}: not in syscalls.allow (@{group})"
    return f"{what}: refused by {rule}"


def _signed(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value
