"""`kernel-runner repl` in a terminal of its own: what its tests share."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from tests.screen import Terminal

COMMAND: Final = (sys.executable, "-m", "kernel_runner", "repl")
Open: TypeAlias = Callable[..., Terminal]
"""Opens a prompt: the words of the command, `prompt` to wait for, and environment variables."""


def pid_of_the_runner(terminal: Terminal) -> int:
    """Of its guardian: the child of the command."""
    children = Path(f"/proc/{terminal.child.pid}/task/{terminal.child.pid}/children")
    return int(children.read_text().split()[0])
