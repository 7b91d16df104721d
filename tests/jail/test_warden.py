"""A spawner that puts each of its programs into a jail of its own, with one warden for all."""

import contextlib
import ctypes
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel_runner.jail import landlock, places, plan, warden
from kernel_runner.jail.launch import Jail

pytestmark = pytest.mark.skipif(landlock.abi() < 6, reason="needs Landlock ABI 6")


@contextmanager
def standing() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        warden.Warden(theirs).serve()
        os._exit(0)
    theirs.close()
    with ours:
        yield ours
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def spawn(jail: Jail, orders: socket.socket, argv: list[str], work: Path) -> tuple[int, int]:
    """The pid, and where its records can be read."""
    records_fd, write_fd = os.pipe()
    message = warden.message_for("default", jail, os.getpid())
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(work)
            listener = jail.enter()
            assert listener is not None
            warden.announce(orders.fileno(), listener, write_fd, message)
            os.execve(argv[0], argv, {})
        finally:
            os._exit(99)
    os.close(write_fd)
    return pid, records_fd


@pytest.fixture
def made(work: Path) -> Iterator[Jail]:
    variables = places.variables(work_dir=str(work), tmp=str(work), program="/bin/sh")
    jail = Jail(plan.load("default"), variables)
    yield jail
    jail.close()


def test_two_programs_at_once_are_reported_each_by_itself(made: Jail, work: Path) -> None:
    with standing() as orders:
        spawned = [
            spawn(made, orders, ["/usr/bin/unshare", flag, "true"], work) for flag in ("-U", "-n")
        ]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid, _ in spawned]
        records = []
        for _, fd in spawned:
            with os.fdopen(fd, encoding="utf-8") as file:
                records.append([json.loads(line)["sentence"] for line in file])

    rule = "refused by process: no namespaces (jail-policies/default.yml)"
    assert codes == [1, 1]
    assert records == [
        [f"unshare(CLONE_NEWUSER): {rule}"],
        [f"unshare(CLONE_NEWNET): {rule}"],
    ]


def test_a_fork_that_never_executes_is_in_the_jail_too(made: Jail, work: Path) -> None:
    with standing() as orders:
        records_fd, write_fd = os.pipe()
        message = warden.message_for("default", made, os.getpid())
        pid = os.fork()
        if pid == 0:
            code = 0
            try:
                listener = made.enter()
                assert listener is not None
                warden.announce(orders.fileno(), listener, write_fd, message)
                work.chmod(0o700)
                code = 1
                os.kill(os.getppid(), 0)
                code = 2
            except PermissionError:
                code += 10
            finally:
                os._exit(code)
        os.close(write_fd)
        os.close(records_fd)

        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 11


def test_an_ancestor_reads_memory_for_a_warden_that_may_not() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept = ctypes.create_string_buffer(b"in the memory of this process")
    address = ctypes.addressof(kept)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            ours.close()
            read = warden.asking(theirs)
            code = int(read(os.getppid(), address, 9) != b"in the me")
            with contextlib.suppress(PermissionError):
                read(os.getppid(), 0, 9)
                code = 2
        finally:
            os._exit(code)
    theirs.close()
    with ours:
        assert [warden.answer(ours), warden.answer(ours), warden.answer(ours)] == [
            True,
            True,
            False,
        ]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
