"""Nothing comes in; a process of the same user stands outside of the jail, with all it may lose."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.jail.jailing import PYTHON, USER

SECRET: Final = "the runner's secret"
CODE: Final = """
import ctypes, os, socket, sys
folder, user = sys.argv[1], int(sys.argv[2])
if os.getuid() != user:
    os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as any process that was started as this user
os.chdir(folder)
with open("secret.txt", "w") as file:
    file.write("the runner's secret")
with open("script.sh", "w") as file:
    file.write("#!/bin/sh\\necho executed\\n")
os.chmod("script.sh", 0o755)
os.makedirs("folder", exist_ok=True)
tcp = socket.create_server(("127.0.0.1", 0))
path = socket.socket(socket.AF_UNIX); path.bind("socket"); path.listen()
abstract = socket.socket(socket.AF_UNIX); abstract.bind(f"\\0kernel-jail-{os.getpid()}")
abstract.listen()
print(tcp.getsockname()[1], flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Victim:
    """What an attempt needs to know of it."""

    pid: int
    port: int
    folder: Path

    def names(self) -> str:
        """Python that gives an attempt these names."""
        return (
            f"VICTIM = {self.pid}; PORT = {self.port}; OUTSIDE = {str(self.folder)!r}\n"
            f"SECRET = OUTSIDE + '/secret.txt'\n"
        )


@contextmanager
def standing(folder: Path) -> Iterator[Victim]:
    with subprocess.Popen(
        [PYTHON, "-I", "-c", CODE, str(folder), str(USER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None, "it is a pipe"
        assert process.stdin is not None, "it is a pipe"
        port = int(process.stdout.readline())
        yield Victim(process.pid, port, folder)
        assert process.poll() is None, "an attempt has ended the victim"
        assert (folder / "secret.txt").read_text() == SECRET, "an attempt has changed its file"
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 0, "an attempt has slowed it down"
        process.stdin.close()
