"""Runs user code in any language for a client, one command at a time, in the order it was sent.

    client ──▶ channel ──▶ dispatcher ──▶ task_queue ──▶ hooks ──▶ base, langs
       ▲                                                              │
       └────── channel ◀────────── outbox / journal ◀───────────── process

Importing this does nothing; a name is loaded when it is first used.
"""

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from kernel_runner.base import BaseRunner
    from kernel_runner.client import Kernel, connect, launch
    from kernel_runner.langs._compiled import CompiledRunner
    from kernel_runner.langs._interpreter import InterpreterRunner
    from kernel_runner.langs._jupyter import JupyterRunner
    from kernel_runner.langs._script import ScriptRunner

__version__ = "0.1.0"
__all__ = [
    "BaseRunner",
    "CompiledRunner",
    "InterpreterRunner",
    "JupyterRunner",
    "Kernel",
    "ScriptRunner",
    "__version__",
    "connect",
    "launch",
]

_HOMES = {
    "BaseRunner": "kernel_runner.base",
    "CompiledRunner": "kernel_runner.langs._compiled",
    "InterpreterRunner": "kernel_runner.langs._interpreter",
    "JupyterRunner": "kernel_runner.langs._jupyter",
    "Kernel": "kernel_runner.client",
    "ScriptRunner": "kernel_runner.langs._script",
    "connect": "kernel_runner.client",
    "launch": "kernel_runner.client",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
