"""A policy's name comes in; its file and its text go out."""

from __future__ import annotations

import os
import sys

from kernel_runner.jail.errors import PolicyError

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from typing import Final

SUFFIX: Final = ".yml"
POLICY_BYTES: Final = 65_536


def shipped_folder() -> str:
    """Where the policies of this package are: beside it, or where pip puts data."""
    beside = os.path.join(__file__.rsplit("/kernel_runner/", 1)[0], "jail-policies")
    return beside if os.path.isdir(beside) else f"{sys.prefix}/share/kernel-runner/jail-policies"


def locate(name: str, beside: str | None = None) -> str:
    """The file of a policy: a path as it is, a name beside another policy or among the shipped.

    Raises:
        PolicyError: there is none.
    """
    if "/" in name or name.endswith(SUFFIX):
        return name
    folders = [*([os.path.dirname(beside) or "."] if beside else []), shipped_folder()]
    for folder in folders:
        path = f"{folder}/{name}{SUFFIX}"
        if os.path.isfile(path):
            return path
    raise PolicyError(name, None, "", f"no policy of this name in {' or '.join(folders)}")


def shown(path: str) -> str:
    """How reports name this file."""
    folder = shipped_folder()
    return f"jail-policies{path[len(folder) :]}" if path.startswith(f"{folder}/") else path


def read_text(path: str) -> bytes:
    """The text of a policy.

    Raises:
        PolicyError: it cannot be read, or is too long to be one.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(POLICY_BYTES + 1)
    except OSError as error:
        raise PolicyError(path, None, "", error.strerror or "cannot be read") from error
    if len(text) > POLICY_BYTES:
        raise PolicyError(path, None, "", f"more than {POLICY_BYTES} bytes")
    return text
