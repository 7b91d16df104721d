"""The keys of a policy file, with their types; a JSON Schema of them goes out for editors."""

from __future__ import annotations

import errno
import re
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

Port: TypeAlias = Annotated[int, Meta(ge=0, le=65_535)]
Ports: TypeAlias = tuple[Port, ...] | Literal["any"]
Count: TypeAlias = Annotated[int, Meta(ge=1)] | Literal["unlimited"]
SIZE: Final = r"^(\d+) ?(B|KiB|MiB|GiB|TiB)$"
TIME: Final = r"^(\d+(?:\.\d+)?) ?(ms|s|min|h)$"
Size: TypeAlias = Annotated[int, Meta(ge=0)] | Annotated[str, Meta(pattern=SIZE + "|^unlimited$")]
Time: TypeAlias = Annotated[str, Meta(pattern=TIME + "|^unlimited$")]
Errno: TypeAlias = Annotated[str, Meta(pattern="^E[A-Z0-9]+$", description="as in errno(3)")]
Path: TypeAlias = Annotated[
    str, Meta(pattern=r"^(/|\{[a-z_]+\})", description="a full path, or one below a {variable}")
]
BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
SECONDS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


class Files(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which files may be used, by Landlock; a folder stands for all below it."""

    read: tuple[Path, ...] = ()
    execute: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()  # and read
    device: tuple[Path, ...] = ()  # read, write and ioctl
    metadata: Literal["broker", "allow", "deny"] = "broker"


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """TCP ports by Landlock, the rest by the filter."""

    listen: Ports = ()
    connect: Ports = ()
    udp: bool = False
    unix: bool = False
    sockets: tuple[Path, ...] = ()  # that streams may be connected to where `unix` is false


class Process(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many there may be at once, the first one included."""

    max_processes: Count = "unlimited"
    max_threads: Count = "unlimited"


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of each process, by resource limits; `wall` of all together."""

    file_size: Size = "unlimited"
    open_files: Count = "unlimited"
    core: Size = 0
    memory: Size = "unlimited"
    cpu: Time = "unlimited"
    wall: Time = "unlimited"


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which variables the program gets; `NAME*` is all that begin so."""

    keep: tuple[str, ...] = ()
    set: dict[str, str] = {}


class Syscalls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Calls by name, or a group as `@group`."""

    allow: tuple[str, ...] = ()
    refuse: dict[str, Errno] = {}
    quiet: dict[str, Errno] = {}
    kill: tuple[str, ...] = ()
    watch: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`paths`: refused files and programs are named; opening becomes much dearer.

    With `writes` only what would be written: opening for reading costs as much as ever.
    """

    paths: bool | Literal["writes"] = False


class Require(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Without these nothing starts."""

    landlock: Annotated[int, Meta(ge=0, le=7)] = 6
    notify: bool = True


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a program may do."""

    extends: str | None = None
    files: Files = Files()
    network: Network = Network()
    process: Process = Process()
    limits: Limits = Limits()
    environment: Environment = Environment()
    syscalls: Syscalls = Syscalls()
    on_violation: Literal["errno", "kill"] = "errno"
    report: Report = Report()
    require: Require = Require()
    best_effort: bool = False


def json_schema() -> dict[str, Any]:
    """For editors: `# yaml-language-server: $schema=...` in the first line of a policy."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kernel-jail policy",
        **msgspec.json.schema(Policy),
    }


def bytes_of(size: Size) -> int | None:
    """None: unlimited."""
    if isinstance(size, int):
        return size
    found = re.match(SIZE, size)
    return int(found[1]) * BYTES[found[2]] if found else None


def seconds_of(time: Time) -> float | None:
    """None: unlimited."""
    found = re.match(TIME, time)
    return float(found[1]) * SECONDS[found[2]] if found else None


def errno_of(name: str) -> int | None:
    number = getattr(errno, name, None)
    return number if isinstance(number, int) else None
