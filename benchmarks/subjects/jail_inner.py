"""What it adds to a program that the spawner puts it into a jail between fork and exec."""

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from benchmarks.rounds import OURS, Effort, interleave
from benchmarks.table import Row
from kernel_runner.jail import places, plan, warden
from kernel_runner.jail.launch import Jail

PROGRAMS: Final = 20
LEAST_OF: Final = 5
TARGET_MS: Final = 3
NATIVE: Final = "native"


async def measure(effort: Effort) -> Sequence[Row]:
    work = os.path.realpath(os.environ.get("TMPDIR", "/tmp"))
    variables = places.variables(work_dir=work, tmp=work, program="/bin/true")
    jail = Jail(plan.load("default"), variables)
    records_fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    with _warden() as orders:
        message = warden.message_for("default", jail, os.getpid())

        def once(*, is_jailed: bool) -> float:
            start = time.perf_counter()
            pid = os.fork()
            if pid == 0:
                try:
                    if is_jailed and (listener := jail.enter()) is not None:
                        warden.announce(orders.fileno(), listener, records_fd, message)
                    os.execv("/bin/true", ["true"])
                finally:
                    os._exit(99)
            _, status = os.waitpid(pid, 0)
            assert status == 0, status
            return (time.perf_counter() - start) * 1e3

        def least(*, is_jailed: bool) -> list[float]:
            samples = effort.of(PROGRAMS)
            return [min(once(is_jailed=is_jailed) for _ in range(LEAST_OF)) for _ in range(samples)]

        async def ours() -> list[float]:
            return least(is_jailed=True)

        async def native() -> list[float]:
            return least(is_jailed=False)

        figures = await interleave({OURS: ours, NATIVE: native}, effort.rounds)
    jail.close()
    os.close(records_fd)
    more = figures[OURS].p50 - figures[NATIVE].p50
    target = f"{TARGET_MS} ms more than native"
    return [Row("jail: put around true by a spawner", "ms", figures, target, more < TARGET_MS)]


@contextmanager
def _warden() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            warden.Warden(theirs).serve()
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        yield ours
    os.waitpid(pid, 0)
