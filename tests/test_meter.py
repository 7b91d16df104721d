"""Memory of a tree is what its processes have now, and have together once."""

import os
import signal
import subprocess

from kernel_runner.meter import memory_of
from kernel_runner.process_tree import Process, read_process


def test_a_process_that_ended_since_it_was_seen_has_no_memory() -> None:
    seen: list[Process] = []
    for _ in range(2):
        sleeper = subprocess.Popen(["sleep", "600"])
        process = read_process(sleeper.pid)
        assert process is not None
        seen.append(process)
        os.kill(sleeper.pid, signal.SIGKILL)
        sleeper.wait()

    assert memory_of(seen, known_bytes=0) == 0
