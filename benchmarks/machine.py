"""Nothing comes in; a line about this machine goes out, since figures mean little without it."""

import os
import platform
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def describe() -> str:
    """CPU, cores that may be used, kernel, Python, the versions that matter, and the date."""
    packages = ("kernel-runner", "pyzmq", "uvloop", "ipykernel", "jupyter_client")
    parts = (
        _cpu_model(),
        f"{len(os.sched_getaffinity(0))} cores",
        f"Linux {platform.release()}",
        f"{platform.python_implementation()} {platform.python_version()}",
        *(f"{name} {found}" for name in packages if (found := _version(name))),
        datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
    )
    return ", ".join(parts)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
