"""A command's name comes in; the test goes on if it is installed, else it is skipped or fails."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

ALL_TOOLS_PROMISED: Final = "KERNEL_RUNNER_ALL_TOOLS"
"""With this set to 1 a missing tool fails the test; `make test-all` sets it."""

LEFT_OUT: Final = "left out, not installed: "
"""How the reason of a skip for a missing tool begins; `tests/conftest.py` lists them."""

_TOOLCHAINS: Final = Path(__file__).parent.parent / "tools" / "toolchains.txt"


def require_tool(command: str) -> None:
    """The test that calls this needs `command` on the PATH.

    Where it is missing the test is skipped, with the Debian package in the reason; where all
    tools are promised it fails.
    """
    if shutil.which(command) is not None:
        return
    if os.environ.get(ALL_TOOLS_PROMISED) == "1":
        pytest.fail(f"{command} is promised but not installed: {_advice(command)}", pytrace=False)
    pytest.skip(f"{LEFT_OUT}{command} ({_advice(command)})")


def _advice(command: str) -> str:
    packages = debian_packages().get(command)
    if packages is None:
        return f"tools/{_TOOLCHAINS.name} names no package for it"
    return f"apt install {' '.join(packages)}"


def debian_packages() -> dict[str, list[str]]:
    """The Debian packages that bring each command."""
    lines = _TOOLCHAINS.read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {command: packages for command, *packages in rows}
