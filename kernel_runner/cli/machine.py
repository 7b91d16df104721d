"""This machine comes in; what of it a runner needs or can use goes out, as checks.

Each check only looks: it needs no root, and leaves nothing behind.
"""

import ctypes
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from kernel_runner import cgroup
from kernel_runner.jail import probe

State = Literal["ok", "warn", "missing"]

OLDEST_KERNEL: Final = (5, 4)
LANDLOCK_CREATE_RULESET: Final = 444
LANDLOCK_VERSION_FLAG: Final = 1
FEW_FILES: Final = 1_024
FEW_PROCESSES: Final = 256
LITTLE_MEMORY_BYTES: Final = 256 << 20
LITTLE_SPACE_BYTES: Final = 256 << 20
LITTLE_SHARED_MEMORY_BYTES: Final = 32 << 20
COMMAND_SECONDS: Final = 5.0


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at: `found` says what is there, `hint` what to do."""

    group: str
    name: str
    state: State
    found: str
    hint: str = ""


def kernel() -> Iterator[Check]:
    """The kernel, and what a sandbox could use of it."""
    yield _version()
    yield _cgroups()
    actions = _read("/proc/sys/kernel/seccomp/actions_avail").split()
    yield _either(
        *("kernel", "seccomp", bool(actions), "filters", "none"),
        hint="programs cannot be confined by filters; use a kernel with CONFIG_SECCOMP_FILTER",
    )
    abi = _landlock_abi()
    yield _either(
        *("kernel", "Landlock", abi > 0, f"ABI {abi}", "none"),
        hint="programs cannot be confined to folders; use Linux 5.13 with lsm=landlock or newer",
    )
    yield _jail()
    yield _either(
        *("kernel", "user namespaces", _has_user_namespaces(), "allowed", "refused"),
        hint="see /proc/sys/user/max_user_namespaces, or the profile of the container",
    )


def _jail() -> Check:
    missing = [f"{one.rule} ({one.text})" for one in probe.probe() if not one.holds]
    return _either(
        *("kernel", "jail", not missing, "all rules hold", f"not: {'; '.join(missing)}"),
        hint="programs are kept apart as far as this kernel can; see `kernel-jail doctor`",
    )


def _version() -> Check:
    release = platform.release()
    numbers = release.replace("-", ".").split(".")[:2]
    new = all(n.isdecimal() for n in numbers) and tuple(map(int, numbers)) >= OLDEST_KERNEL
    found, wanted = f"{platform.system()} {release}", ".".join(map(str, OLDEST_KERNEL))
    return _either(
        "kernel", "version", new, found, found, hint=f"tested from Linux {wanted} on; use that"
    )


def _cgroups() -> Check:
    folder = _cgroup()
    hint = "programs are watched to keep their limits; for exact ones delegate a cgroup v2 to us"
    if folder is None:
        return Check("kernel", "cgroup v2", "warn", "not mounted", hint)
    writable = os.access(folder / "cgroup.procs", os.W_OK) and os.access(folder, os.W_OK)
    return _either(
        "kernel",
        "cgroup v2",
        writable,
        f"{folder} is writable",
        f"{folder} is read-only",
        hint=hint,
    )


def _cgroup() -> Path | None:
    """The folder of our cgroup v2, where that is mounted."""
    folder = cgroup.own_folder()
    return Path(folder) if folder is not None else None


def _landlock_abi() -> int:
    """The version of the interface; 0 when the kernel has none, or it is off."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = libc.syscall(
        *(ctypes.c_long(LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0)),
        ctypes.c_uint32(LANDLOCK_VERSION_FLAG),
    )
    return max(0, int(answer))


def _has_user_namespaces() -> bool:
    """Whether a process of ours may have one: one is tried where that can be done."""
    if (unshare := shutil.which("unshare")) is None:
        return _number("/proc/sys/user/max_user_namespaces") > 0
    try:
        done = subprocess.run(
            [unshare, "--user", "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def limits() -> Iterator[Check]:
    """How much there is of what programs take."""
    yield _soft_limit("open files", resource.RLIMIT_NOFILE, FEW_FILES, "ulimit -n")
    yield _soft_limit("processes", resource.RLIMIT_NPROC, FEW_PROCESSES, "ulimit -u")
    if (pids := _cgroup_limit("pids.max", "pids/pids.max")) is not None:
        yield _either(
            *("limits", "processes of the cgroup", pids >= FEW_PROCESSES, str(pids), str(pids)),
            hint="raise pids.max, or --pids-limit of the container",
        )
    yield _memory()
    temporary = Path(os.environ.get("TMPDIR") or "/tmp")
    yield _space("temporary space", temporary, LITTLE_SPACE_BYTES, "free some, or set TMPDIR")
    yield _space(
        *("shared memory", Path("/dev/shm"), LITTLE_SHARED_MEMORY_BYTES),
        "give the container more: --shm-size",
    )


def _soft_limit(name: str, number: int, few: int, command: str) -> Check:
    soft, _ = resource.getrlimit(number)
    enough = soft == resource.RLIM_INFINITY or soft >= few
    found = "no limit" if soft == resource.RLIM_INFINITY else str(soft)
    return _either("limits", name, enough, found, found, hint=f"raise it: {command} {few}")


def _memory() -> Check:
    fields = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines())
    available = int(fields.get("MemAvailable", "0 kB").split()[0]) << 10
    limit = _cgroup_limit("memory.max", "memory/memory.limit_in_bytes")
    free = available if limit is None else min(available, limit)
    found = f"{_size(free)} available"
    return _either(
        *("limits", "memory", free >= LITTLE_MEMORY_BYTES, found, found),
        hint="end other programs, or raise the memory limit of the container",
    )


def _cgroup_limit(name: str, old_name: str) -> int | None:
    """The smallest limit of our cgroup and those around it; None when there is none."""
    folder = _cgroup()
    folders = [] if folder is None else [folder, *folder.parents]
    files = [*(one / name for one in folders), Path("/sys/fs/cgroup", old_name)]
    found = [text.strip() for file in files if (text := _read(str(file)))]
    return min((int(text) for text in found if text.isdecimal()), default=None)


def _space(name: str, folder: Path, little_bytes: int, hint: str) -> Check:
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check("limits", name, "missing", f"{folder} is not writable", hint)
    free = shutil.disk_usage(folder).free
    found = f"{_size(free)} free in {folder}"
    return _either("limits", name, free >= little_bytes, found, found, hint=hint)


def terminal(environ: Mapping[str, str]) -> Iterator[Check]:
    """What the terminal around us can show."""
    if sys.stdout is None or not sys.stdout.isatty():
        yield Check("terminal", "size", "ok", "no terminal: output is plain")
        return
    columns, lines = os.get_terminal_size(sys.stdout.fileno())
    found = f"{columns} columns, {lines} lines"
    yield _either(
        *("terminal", "size", columns >= 40, found, found),
        hint="make the window wider, or run `resize`",
    )
    colours = _colours(environ)
    yield _either(
        *("terminal", "colours", bool(colours), colours, "none"),
        hint="set TERM, such as xterm-256color",
    )
    encoding = sys.stdout.encoding
    yield _either(
        *("terminal", "UTF-8", encoding.lower() == "utf-8", encoding, encoding),
        hint="set LANG, such as C.UTF-8",
    )
    yield _pictures(environ)


def _colours(environ: Mapping[str, str]) -> str:
    term = environ.get("TERM", "dumb")
    if environ.get("NO_COLOR"):
        return "off: NO_COLOR is set"
    if environ.get("COLORTERM") in ("truecolor", "24bit"):
        return "16 million"
    return "" if term == "dumb" else "256" if "256" in term else "8 or more"


def _pictures(environ: Mapping[str, str]) -> Check:
    from kernel_runner.cli.media import Protocol, terminal_kind

    protocol = terminal_kind(environ, sys.stdin.fileno(), sys.stdout.fileno()).protocol
    return _either(
        *(
            "terminal",
            "pictures",
            protocol is not Protocol.NONE,
            protocol.name.lower(),
            "not shown",
        ),
        hint="they are saved as files; kitty, iTerm2, WezTerm, foot and others show them",
    )


def _either(group: str, name: str, is_good: bool, good: str, bad: str, *, hint: str) -> Check:
    return Check(group, name, "ok", good) if is_good else Check(group, name, "warn", bad, hint)


def _size(count_bytes: int) -> str:
    return f"{count_bytes / (1 << 30):.1f} GiB"


def _number(path: str) -> int:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else 0


def _read(path: str) -> str:
    """A file of the kernel; empty where it is not there."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
