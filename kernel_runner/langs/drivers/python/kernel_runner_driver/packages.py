"""Names of packages in; they are installed for this interpreter and can be imported at once."""

from __future__ import annotations

import re
import sys

MAGIC = re.compile(r"^(?P<indent>[ \t]*)%pip[ \t]+install[ \t]+(?P<words>\S.*?)[ \t]*$", re.M)
NOTHING = re.compile(r"^(?P<indent>[ \t]*)%matplotlib(?:[ \t]+(?:inline|agg))?[ \t]*$", re.M)


def install(*names: str) -> None:
    """Install packages with pip into the environment of this interpreter.

    Args:
        names: what pip takes: names with or without versions, files, options.

    Raises:
        RuntimeError: pip did not succeed; what it said was printed.
    """
    import subprocess

    words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *names]
    status = subprocess.call(words)
    if status:
        raise RuntimeError(f"pip ended with exit code {status}; what it said stands above")
    _make_usable()


def _make_usable() -> None:
    """A folder that did not exist as the interpreter started is looked into from now on."""
    import importlib
    import os
    import site

    if site.ENABLE_USER_SITE:
        folder = site.getusersitepackages()
        if os.path.isdir(folder) and folder not in sys.path:
            site.addsitedir(folder)
    importlib.invalidate_caches()


def plain_python(source: str) -> str:
    """`%pip install` of a notebook as a call, and `%matplotlib inline` as nothing."""
    source = MAGIC.sub(_call, source)
    return NOTHING.sub(r"\g<indent>pass", source)


def _call(found: re.Match[str]) -> str:
    import shlex

    words = ", ".join(map(repr, shlex.split(found["words"], comments=True)))
    return f"{found['indent']}install({words})"
