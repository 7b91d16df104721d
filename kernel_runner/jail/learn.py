"""What a program used comes in; the policy lines that it needs go out, each with its reason."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from kernel_runner.jail import policy as policies
from kernel_runner.jail import report, syscalls
from kernel_runner.jail.places import is_below
from kernel_runner.jail.schema import Network, Policy, Process, Report, Require, Syscalls

if TYPE_CHECKING:
    from kernel_runner.jail.plan import Plan

RIGHTS: Final = ("read", "execute", "write", "device")
IMPLIED: Final = {
    "read": ("read", "write", "device"), "execute": ("execute",), "write": ("write", "device"),
}  # fmt: skip
MAX_SIBLINGS: Final = 2
MIN_DEPTH: Final = 2
EXAMPLE: Final = 60


class Lesson:
    """Collects what a program uses and the policy does not allow.

    Args:
        roots: what the policy allows already, as real paths of each list.
    """

    def __init__(self, policy: Policy, roots: Mapping[str, Sequence[str]]) -> None:
        self._policy = policy
        self._roots = roots
        self._paths: dict[str, dict[str, None]] = {right: {} for right in RIGHTS}
        self._ports: dict[str, dict[int, None]] = {"listen": {}, "connect": {}}
        self._calls: dict[str, str] = {}
        self._sockets: dict[str, str] = {}

    def saw_path(self, right: str, path: str) -> None:
        exists = os.path.exists(path if right != "write" else os.path.dirname(path))
        roots = [one for name in IMPLIED[right] for one in self._roots[name]]
        real = os.path.realpath(path)
        if not exists or is_below(real, roots) or is_below(path, roots) or ":[" in real:
            return
        self._paths["device" if is_below(real, ["/dev"]) else right][real] = None

    def saw_port(self, call: str, port: int) -> None:
        self._ports["listen" if call == "bind" else "connect"][port] = None

    def saw_call(self, call: str, args: Sequence[int]) -> None:
        family, kind = args[0] & 0xFFFFFFFF, args[1] & 0xF
        if call == "socket":
            if family == 1 and args[1] & 0xFFFFFFFF != 0x80801:
                self._sockets["unix"] = report.described(call, args)
            elif family in (2, 10) and kind == 2:
                self._sockets["udp"] = report.described(call, args)
        elif call not in syscalls.expand(self._policy.syscalls.allow):
            self._calls[call] = report.described(call, args)

    def lines(self, extends: str) -> list[str]:
        """A policy file, ready to be read by a person and saved."""
        found = [f"extends: {extends}"]
        files = [line for right in RIGHTS for line in _file_lines(right, self._paths[right])]
        if files:
            found += ["files:", *files]
        network = [
            f"  {key}: [{', '.join(map(str, sorted(ports)))}]"
            for key, ports in self._ports.items()
            if ports
        ]
        network += [f"  {key}: true  # {reason}" for key, reason in sorted(self._sockets.items())]
        if network:
            found += ["network:", *network]
        if self._calls:
            found += ["syscalls:", "  allow:", *self._call_lines()]
        if len(found) == 1:
            found.append(f"# it needs nothing that {extends} does not allow")
        return found

    def _call_lines(self) -> list[str]:
        groups: dict[str, list[str]] = {}
        for call in self._calls:
            groups.setdefault(syscalls.group_of(call), []).append(call)
        return [
            f'    - "@{group}"  # {", ".join(self._calls[call] for call in calls)[:EXAMPLE]}'
            for group, calls in sorted(groups.items())
        ]


def _file_lines(right: str, paths: Iterable[str]) -> list[str]:
    folders = folded(paths, whole=right == "device")
    if not folders:
        return []
    return [f"  {right}:", *(f"    - {folder}  # {why}" for folder, why in folders.items())]


def folded(paths: Iterable[str], *, whole: bool) -> dict[str, str]:
    """Several files of one folder become the folder; each with what was used of it."""
    every = list(paths)
    found: dict[str, str] = {}
    for path in sorted(every):
        folder = os.path.dirname(path)
        siblings = [one for one in every if os.path.dirname(one) == folder]
        is_deep = folder.count("/") >= MIN_DEPTH
        if whole or len(siblings) <= MAX_SIBLINGS or not is_deep:
            found[path] = "used"
        else:
            found[folder] = f"{len(siblings)} files, as {os.path.basename(siblings[0])}"
    return {
        path: why
        for path, why in found.items()
        if not any(path != other and is_below(path, [other]) for other in found)
    }


def audit_plan(policy: Policy, path: str) -> Plan:
    """Allows and tells all but what is never allowed; files and ports are not restricted."""
    watched = [f"@{name}" for name in syscalls.ON_REQUEST]
    wide = msgspec.structs.replace(
        policy,
        network=Network(listen=(0,), connect=(0,), udp=True, unix=True),
        process=Process(),
        syscalls=Syscalls(allow=tuple(watched), watch=(*watched, "socket")),
        report=Report(paths=True),
        require=Require(landlock=0, notify=True),
        on_violation="errno",
    )
    return policies.compile_policy(wide, path)
