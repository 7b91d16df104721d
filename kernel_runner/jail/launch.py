"""A plan comes in; a process that calls `enter` between fork and exec is under it from then on.

A spawner makes one `Jail` beforehand and uses it for any number of programs of one place; what is
dear (paths, the filter) is done then.  `enter` is for a process with a single thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct

from kernel_runner.jail import kernel, landlock, places
from kernel_runner.jail.errors import JailError, KernelLacks

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from kernel_runner.jail.plan import Plan

CAPABILITIES_V3: Final = 0x20080522
SYSTEM: Final = ("/", "/proc", "/sys", "/dev", "/boot", "/etc", "/usr", "/bin", "/sbin", "/lib")


class Jail:
    """What a plan allows, made ready.

    Args:
        variables: the values of `{work_dir}` and the others.
        guarded: pids that must not get signals from the program; older kernels cannot tell who is
            outside.
        listens: somebody will answer the listener that `enter` returns; without, what needs a
            decision is refused.
        max_abi: use no newer Landlock than this.
        contain: False learns instead: files and ports are not restricted.

    Attributes:
        lacking: what the plan asks for and this kernel does not have.
        absent: paths of the plan that do not exist.
        write_roots: the real paths of what may be written to, before the program could change
            where a link leads.
        sockets: the paths that may be connected to.

    Raises:
        KernelLacks: the kernel cannot enforce a rule, and the plan insists.
        JailError: a folder to write to is one of the system's.
    """

    def __init__(
        self,
        plan: Plan,
        variables: Mapping[str, Sequence[str]],
        *,
        guarded: Sequence[int] = (),
        listens: bool = True,
        max_abi: int | None = None,
        contain: bool = True,
    ) -> None:
        found = landlock.abi()
        self.abi = found if max_abi is None else min(found, max_abi)
        self._listens = listens
        self.lacking = lacking(plan, self.abi, listens=listens)
        if self.lacking and not plan["best_effort"]:
            raise KernelLacks(plan["policy"], self.lacking)
        self.variables = variables
        expanded = {name: places.put_in(paths, variables) for name, paths in plan["places"].items()}
        self._places = expanded
        self.write_roots = [os.path.realpath(path) for path in expanded["write"]]
        for path in self.write_roots:
            if path in SYSTEM:
                raise JailError(f"{path} is never writable: choose another work directory")
        self.sockets = places.put_in(plan["sockets"], variables)
        self.absent: list[str] = []
        self._ruleset: landlock.Ruleset | None = None
        if self.abi and contain:
            self._ruleset, self.absent = landlock.ruleset_of(
                expanded,
                self.abi,
                listen=plan["listen"],
                connect=plan["connect"],
                open_abstract=plan["unix"],
            )
        self._rlimits = plan["rlimits"]
        code = plan["filters"]["listening" if listens else "silent"]
        self._filter = _Filter(code)
        # for one that is in a jail with a listener already: that one does not let it have another
        self._alone = _Filter(plan["filters"]["silent"]) if plan["best_effort"] else None
        self._guard = _guard(guarded, self.abi)

    def roots(self) -> dict[str, list[str]]:
        """The real paths of what may be read, executed, ...; good enough for a report."""
        found = {
            name: [os.path.realpath(path) for path in paths] for name, paths in self._places.items()
        }
        return {**found, "write": self.write_roots}

    @property
    def ruleset_fd(self) -> int | None:
        """What `enter` needs open, if anything."""
        return None if self._ruleset is None else self._ruleset.fd

    def enter(self, ruleset_fd: int | None = None) -> int | None:
        """Put this process under the plan, for ever; returns the listener, if there is one.

        `ruleset_fd` is where `ruleset_fd` has moved to, if it has.

        The listener has to be handed to whoever answers before anything but write, sendmsg,
        close, execve and exit is called.

        Raises:
            OSError: as the kernel says; the process is to be ended then.
        """
        set_limits(self._rlimits)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        drop_capabilities()
        if self._ruleset is not None:
            landlock.restrict_self(self._ruleset.fd if ruleset_fd is None else ruleset_fd)
        if self._guard is not None:
            self._guard.install(0)
        if not self._listens:
            self._filter.install(0)
            return None
        try:
            listener = self._filter.install(kernel.NEW_LISTENER | kernel.WAIT_KILLABLE_RECV)
        except OSError as error:
            if error.errno in (errno.EBUSY, errno.EPERM) and self._alone is not None:
                self._alone.install(0)
                return None
            if error.errno != errno.EINVAL:
                raise
            listener = self._filter.install(kernel.NEW_LISTENER)  # before Linux 5.19
        os.set_inheritable(listener, False)
        return listener

    def close(self) -> None:
        if self._ruleset is not None:
            self._ruleset.close()


def lacking(plan: Plan, abi: int, *, listens: bool) -> list[str]:
    """The rules of the plan that Landlock of this ABI cannot enforce, in words."""
    missing: list[str] = []
    if abi == 0:
        missing.append("files: it has no Landlock")
    elif abi < 2:
        missing.append("files.write: renaming to another folder needs Landlock ABI 2")
    if 0 < abi < plan["landlock"]:
        missing.append(f"require.landlock: it has ABI {abi}, not {plan['landlock']}")
    if abi < landlock.ABI_FOR["ports"] and (plan["listen"] or plan["connect"]):
        missing.append("network.listen and network.connect: TCP ports need Landlock ABI 4")
    if abi < landlock.ABI_FOR["scope"] and plan["unix"]:
        missing.append("network.unix: abstract sockets of others need Landlock ABI 6")
    if plan["notify"] and listens and not has_notifications():
        missing.append("require.notify: it has no seccomp notification")
    return missing


def has_notifications() -> bool:
    """Whether a filter can have a listener."""
    action = kernel.buffer(struct.pack("=I", 0x7FC00000))
    try:
        number = kernel.SECCOMP[os.uname().machine]
        kernel.call(number, kernel.GET_ACTION_AVAIL, 0, kernel.address_of(action))
    except OSError:
        return False
    return True


class _Filter:
    def __init__(self, code: bytes) -> None:
        self._code = kernel.buffer(code)
        address = kernel.address_of(self._code)
        self._program = kernel.buffer(struct.pack("@HP", len(code) // 8, address))
        self._number = kernel.SECCOMP[os.uname().machine]

    def install(self, flags: int) -> int:
        address = kernel.address_of(self._program)
        return kernel.call(self._number, kernel.SET_MODE_FILTER, flags, address)


def _guard(guarded: Sequence[int], abi: int) -> _Filter | None:
    if abi >= landlock.ABI_FOR["scope"]:
        return None
    from kernel_runner.jail import bpf, rules, syscalls  # late: newer kernels need none of it

    machine = syscalls.this_machine()
    assert machine is not None, "there is a plan for it"
    clauses = rules.guard(guarded, abi, machine)
    assert clauses is not None, "this ABI has one"
    return _Filter(bpf.compile_filter(clauses, machine, rules.lower_to_errno, bpf.KILL_PROCESS))


def drop_capabilities() -> None:
    """Root without capabilities is a user like others, who owns root's files."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITIES_V3, 0), 8)
    number = kernel.CAPSET[os.uname().machine]
    kernel.call(number, kernel.address_of(header), ctypes.create_string_buffer(24))


def set_limits(rlimits: Mapping[int, int]) -> None:
    """Soft and hard at once; never more than is allowed now."""
    for which, value in rlimits.items():
        _, allowed = resource.getrlimit(which)
        if allowed != resource.RLIM_INFINITY:
            value = min(value, allowed)
        resource.setrlimit(which, (value, value))


def environment_of(
    plan: Plan,
    variables: Mapping[str, Sequence[str]],
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """What of the environment the program gets; of all of it, `*`, even TMPDIR is kept."""
    exact = {one for one in plan["keep"] if not one.endswith("*")}
    beginnings = tuple(one[:-1] for one in plan["keep"] if one.endswith("*"))
    kept = {
        name: value
        for name, value in environ.items()
        if name in exact or (beginnings and name.startswith(beginnings))
    }
    added = {
        name: next(iter(places.put_in([value], variables)), "")
        for name, value in plan["set"].items()
    }
    own = {} if "*" in plan["keep"] else {"TMPDIR": variables["tmp"][0]}
    return {**kept, **own, **added}
