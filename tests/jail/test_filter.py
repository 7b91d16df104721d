"""The filter, as a simulator runs it: every number of both machines gets what the rules say."""

import ctypes
import errno
from itertools import product
from typing import TYPE_CHECKING

import pytest

from kernel_runner.jail import bpf, rules, syscalls
from kernel_runner.jail.syscalls import MACHINES, Machine
from tests.tools import require_tool

if TYPE_CHECKING:
    from kernel_runner.jail.rules import Choice

PLAIN: "Choice" = {
    "allow": [],
    "refuse": {},
    "quiet": {},
    "kill": [],
    "watch": [],
    "inet": False,
    "listen": False,
    "udp": False,
    "unix": False,
    "sockets": False,
    "metadata": "broker",
    "paths": False,
}
WIDE: "Choice" = {**PLAIN, "inet": True, "listen": True, "udp": True, "unix": True, "paths": True}
LISTED: "Choice" = {**PLAIN, "sockets": True, "paths": "writes"}
INTERESTING = (0, 1, 2, 3, 5, 8, 10, 16, 22, 35, 262, 0x5412, 0x10000000, 0x80801, 0x20000000)
ARGUMENTS = [
    (0,) * 6,
    (1 << 32,) * 6,
    (2**64 - 1,) * 6,
    *((*three, 0, 0, 0) for three in product(INTERESTING, INTERESTING[:5], (0, 6, 17, 262))),
]
WAYS = {
    "listening": (rules.lower_to_notify, bpf.NOTIFY),
    "silent": (rules.lower_to_errno, bpf.KILL_PROCESS),
}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("choice", [PLAIN, WIDE, LISTED], ids=["plain", "wide", "listed"])
@pytest.mark.parametrize("way", WAYS)
def test_the_filter_returns_what_the_clauses_say(
    machine: Machine, choice: "Choice", way: str
) -> None:
    lower, foreign = WAYS[way]
    clauses = rules.clauses(choice, machine)
    code = bpf.compile_filter(clauses, machine, lower, foreign)
    arguments = {
        number: ARGUMENTS if own[0][0] else ARGUMENTS[:3] for number, own in clauses.items()
    }

    for number, own in clauses.items():
        for args in arguments[number]:
            wanted = lower(bpf.verdict_of(own, args))
            assert bpf.simulate(code, number, machine.audit_arch, args) == wanted


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_numbers_that_no_kernel_has_do_not_exist(machine: Machine) -> None:
    clauses = rules.clauses(PLAIN, machine)
    code = bpf.compile_filter(clauses, machine, rules.lower_to_notify, bpf.NOTIFY)
    unknown = set(range(1024)) - clauses.keys()

    found = {bpf.simulate(code, number, machine.audit_arch, [0] * 6) for number in unknown}

    assert found == {bpf.ERRNO | errno.ENOSYS}
    assert bpf.simulate(code, 0xFFFFFFFF, machine.audit_arch, [0] * 6) == bpf.ERRNO | errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_calls_of_other_architectures_are_never_made(machine: Machine) -> None:
    clauses = rules.clauses(PLAIN, machine)
    code = bpf.compile_filter(clauses, machine, rules.lower_to_errno, bpf.KILL_PROCESS)
    i386, arm = 0x40000003, 0x40000028

    for number in range(600):
        assert bpf.simulate(code, number, i386, [0] * 6) == bpf.KILL_PROCESS
        assert bpf.simulate(code, number, arm, [0] * 6) == bpf.KILL_PROCESS
        if machine.has_x32:
            x32 = number | syscalls.X32_BIT
            assert bpf.simulate(code, x32, machine.audit_arch, [0] * 6) == bpf.KILL_PROCESS


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_what_is_never_allowed_is_refused_whatever_the_policy_says(machine: Machine) -> None:
    everything = sorted(syscalls.expand(f"@{name}" for name in syscalls.GROUPS))
    clauses = rules.clauses({**WIDE, "allow": everything, "watch": everything}, machine)
    code = bpf.compile_filter(clauses, machine, rules.lower_to_errno, bpf.KILL_PROCESS)

    for call in syscalls.FORBIDDEN.keys() & machine.numbers.keys():
        for args in ARGUMENTS:
            made = bpf.simulate(code, machine.numbers[call], machine.audit_arch, args)
            assert made & 0xFFFF0000 == bpf.ERRNO, call


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_a_policy_cannot_lift_the_checks_of_arguments(machine: Machine) -> None:
    everything = sorted(syscalls.expand(f"@{name}" for name in syscalls.GROUPS))
    clauses = rules.clauses({**PLAIN, "allow": everything, "watch": everything}, machine)
    code = bpf.compile_filter(clauses, machine, rules.lower_to_errno, bpf.KILL_PROCESS)
    bad = {
        "clone": [0x10000011, 0, 0, 0, 0, 0],
        "unshare": [0x10000000, 0, 0, 0, 0, 0],
        "socket": [2, 3, 0, 0, 0, 0],
        "ioctl": [0, 0x5412, 0, 0, 0, 0],
        "prlimit64": [1, 0, 0, 0, 0, 0],
        "personality": [8, 0, 0, 0, 0, 0],
    }

    for call, args in bad.items():
        made = bpf.simulate(code, machine.numbers[call], machine.audit_arch, args)
        assert made & 0xFFFF0000 == bpf.ERRNO, call


def test_every_call_is_in_exactly_one_group() -> None:
    known = {call for machine in MACHINES.values() for call in machine.numbers}
    grouped = [call for calls in syscalls.GROUPS.values() for call in calls]

    assert sorted(grouped) == sorted(known)


@pytest.mark.parametrize(("machine", "token"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_the_numbers_are_those_of_libseccomp(machine: str, token: int) -> None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        require_tool("scmp_sys_resolver")  # its package brings the library
        raise
    unknown_to_it = []

    for call, number in MACHINES[machine].numbers.items():
        found = library.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(token), call.encode())
        if found == -1:
            unknown_to_it.append(number)  # newer than the library
        else:
            assert found == number, call

    assert all(number > 440 or number in (335, 336) for number in unknown_to_it), unknown_to_it


@pytest.mark.parametrize("abi", range(1, 6))
def test_older_kernels_get_a_second_filter_for_signals(abi: int) -> None:
    machine = MACHINES["x86_64"]
    clauses = rules.guard([4711], abi, machine)
    assert clauses is not None
    code = bpf.compile_filter(clauses, machine, rules.lower_to_errno, bpf.KILL_PROCESS)

    def kill(pid: int) -> int:
        return bpf.simulate(code, 62, machine.audit_arch, [pid & (2**64 - 1), 9, 0, 0, 0, 0])

    assert kill(4711) == kill(-4711) == kill(-1) == bpf.ERRNO | errno.EPERM
    assert kill(4712) == bpf.ALLOW
    truncate = bpf.simulate(code, 76, machine.audit_arch, [0] * 6)
    assert truncate == (bpf.ERRNO | errno.EPERM if abi < 3 else bpf.ALLOW)
