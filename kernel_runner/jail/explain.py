"""A policy comes in; what it allows goes out in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kernel_runner.jail import syscalls
from kernel_runner.jail.schema import Policy, Ports

GROUPS: Final = {
    "sysv-ipc": "shared memory, semaphores and queues of System V",
    "posix-mq": "message queues of POSIX",
    "file-watching": "inotify",
    "numa": "where memory is placed",
    "memfd": "files in memory, which could be executed",
    "attributes": "extended attributes of files",
    "aio": "the old asynchronous input and output",
    "odd": "what hardly any program uses",
}

REPORTS: Final = {
    True: "also of files",
    False: "not of files (--paths)",
    "writes": "of files that would be written (--paths: of all)",
}


def explain(policy: Policy, name: str) -> list[str]:
    """What the policy allows, a line for each subject."""
    return [
        f"{name} allows",
        *_files(policy),
        *_network(policy),
        *_processes(policy),
        *_calls(policy),
        *_ends(policy),
    ]


def _line(word: str, text: str) -> str:
    return f"  {word:<13}{text}"


def _list(words: Sequence[object]) -> str:
    return " ".join(map(str, words)) or "nothing"


def _files(policy: Policy) -> list[str]:
    files = policy.files
    metadata = {
        "broker": "of writable files, each call made by the supervisor",
        "allow": "as the system's own permissions say",
        "deny": "none",
    }
    return [
        _line("read", _list(files.read)),
        _line("execute", _list(files.execute)),
        _line("write", f"{_list(files.write)} (and read)"),
        _line("devices", _list(files.device)),
        _line("mode, owner", metadata[files.metadata]),
        _line("not hidden", "names, sizes and dates of all files that the user can see"),
    ]


def _network(policy: Policy) -> list[str]:
    network = policy.network
    words = []
    if network.listen:
        words.append(f"listen on TCP {_ports(network.listen)}")
    if network.connect:
        words.append(f"connect to TCP {_ports(network.connect)} of any host")
    if network.udp:
        words.append("UDP with anybody")
    if network.unix:
        words.append("sockets of this machine, by path")
    elif network.sockets:
        words.append(f"the sockets {_list(network.sockets)}")
    return [_line("network", "; ".join(words) or "none; pairs of sockets among its own processes")]


def _ports(ports: Ports) -> str:
    return "ports, any" if ports == "any" else _list(ports)


def _processes(policy: Policy) -> list[str]:
    process, limits = policy.process, policy.limits
    found = [
        f"{process.max_processes} processes",
        f"{process.max_threads} threads",
        "signals and tracing: only among themselves",
    ]
    sizes = {
        "memory of each": limits.memory,
        "size of a file": limits.file_size,
        "open files": limits.open_files,
        "core file": limits.core,
        "processor time of each": limits.cpu,
        "time in all": limits.wall,
    }
    bounded = [f"{name} {value}" for name, value in sizes.items() if value != "unlimited"]
    own = policy.environment
    return [
        _line("processes", ", ".join(found)),
        _line("limits", ", ".join(bounded) or "none"),
        _line(
            "environment", _list([*own.keep, *(f"{name}={text}" for name, text in own.set.items())])
        ),
    ]


def _calls(policy: Policy) -> list[str]:
    allowed = syscalls.expand(policy.syscalls.allow)
    given = {name for name, calls in syscalls.ON_REQUEST.items() if calls & allowed}
    lines = [_line("calls", " ".join(f"@{name}" for name in syscalls.ALWAYS))]
    lines += [_line("  and", f"@{name}: {GROUPS[name]}") for name in sorted(given)]
    refused = [name for name in syscalls.ON_REQUEST if name not in given]
    lines.append(_line("  on request", " ".join(f"@{name}" for name in refused)))
    lines.append(_line("  never", " ".join(f"@{name}" for name in syscalls.NEVER)))
    own = policy.syscalls
    for word, calls in (("kill", own.kill), ("watch", own.watch), ("refuse", own.refuse)):
        if calls:
            lines.append(_line(f"  {word}", " ".join(calls)))
    return lines


def _ends(policy: Policy) -> list[str]:
    says = {
        "errno": "the call fails, and is reported",
        "kill": "the program is ended, exit code 159",
    }
    missing = "what is missing is said" if policy.best_effort else "nothing starts"
    need = f"Landlock ABI {policy.require.landlock}" + (
        " and seccomp notification" if policy.require.notify else ""
    )
    return [
        _line("else", says[policy.on_violation]),
        _line("reports", REPORTS[policy.report.paths]),
        _line("needs", f"{need}; on a kernel without, {missing}"),
    ]
