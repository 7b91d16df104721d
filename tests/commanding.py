"""Words of the command line come in; what `kernel-runner` printed, and its exit code, go out."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

COMMAND: Final = str(Path(sys.executable).with_name("kernel-runner"))
ENDS_SECONDS: Final = 40.0


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """That of the tests without what the user has set for runners, and with the command."""
    own = {name: value for name, value in os.environ.items() if "KERNEL_RUNNER_" not in name}
    path = f"{Path(COMMAND).parent}:{own['PATH']}"
    return {**own, "PATH": path, "COLUMNS": "100", **(env or {})}


def command(
    *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `kernel-runner` to its end, with pipes and nothing to read."""
    return subprocess.run(
        [COMMAND, *words],
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ENDS_SECONDS,
        check=False,
    )


def shell(
    script: str, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `kernel-runner` is a command."""
    return subprocess.run(
        ["bash", "-c", script],
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ENDS_SECONDS,
        check=False,
    )


def absent(folder: Path, package: str) -> dict[str, str]:
    """An environment in which Python does not find a package that is installed."""
    hiding = folder / "hiding" / package
    hiding.mkdir(parents=True)
    (hiding / "__init__.py").write_text(f"raise ModuleNotFoundError('no {package} here')\n")
    former = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(hiding.parent), *([former] if former else [])])}


def assert_one_sentence(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Bad input: exit code 2, nothing printed, and one line of error with these parts."""
    assert (done.returncode, done.stdout) == (2, ""), done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("kernel-runner: ")
    for part in parts:
        assert part in done.stderr
