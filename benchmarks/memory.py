"""A process id comes in; the memory of that process, or of all below it, goes out."""

from pathlib import Path
from typing import Final

MIB: Final = 1 << 20


def pss_bytes(pid: int) -> int:
    """Proportional set size: pages that several processes share are divided among them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0]) * 1024
    raise ValueError(f"process {pid} has no memory")


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    members = [pid]
    for member in members:  # grows while it is walked
        members.extend(children(member))
    return members


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()


def children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text(encoding="ascii").split()]
