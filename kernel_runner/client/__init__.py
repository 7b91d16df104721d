"""The other end of the wire: start a runner or connect to one, send requests, read their events.

```python
from kernel_runner.client import launch

async with launch("python") as kernel:
    result = await kernel.query("1 + 1").result()
    print(result.stdout.strip())  # 2
```

A program in files is sent, built and run at once:

```python
from kernel_runner.client import launch

async with launch("shell") as kernel:
    result = await kernel.run(files={"main.sh": "echo Hello $1"}, args=["Ada"]).result()
    print(result.check().stdout.strip())  # Hello Ada
```

`query`, `run`, `clean`, `build` and `execute` return a `Reply` at once, so that many can wait in
line: iterate over it for the `events` as they come, or await its
`result`.  The other methods return when they are answered, whatever is running.  A program that
asks for input waits until `Kernel.input` is called, and so does `result`, unless it has an
`on_input`; `stdin=b"..."` gives all of it beforehand.

`kernel_runner.client.sync` is the same without `await`.
"""

from typing import TYPE_CHECKING

from kernel_runner.client.errors import (
    BadAddress,
    BadKey,
    ClientError,
    ConnectionCut,
    IncompatibleRunner,
    KernelClosed,
    KeyRefused,
    LocalFileError,
    ProgramFailed,
    RequestRefused,
    RequestWithdrawn,
    RunnerDied,
    RunnerNotStarted,
    RunnerReplaced,
    RunnerUnreachable,
    SessionTaken,
    TransferBroken,
)
from kernel_runner.client.files import Progress
from kernel_runner.client.kernel import Kernel
from kernel_runner.client.reply import Reply
from kernel_runner.client.result import Prompt, Result
from kernel_runner.messages import events
from kernel_runner.messages.options import Limits, Terminal

if TYPE_CHECKING:
    from kernel_runner.client.connecting import connect
    from kernel_runner.client.launching import launch

__all__ = [
    "BadAddress",
    "BadKey",
    "ClientError",
    "ConnectionCut",
    "IncompatibleRunner",
    "Kernel",
    "KernelClosed",
    "KeyRefused",
    "Limits",
    "LocalFileError",
    "ProgramFailed",
    "Progress",
    "Prompt",
    "Reply",
    "RequestRefused",
    "RequestWithdrawn",
    "Result",
    "RunnerDied",
    "RunnerNotStarted",
    "RunnerReplaced",
    "RunnerUnreachable",
    "SessionTaken",
    "Terminal",
    "TransferBroken",
    "connect",
    "events",
    "launch",
]

_HOMES = {"connect": "connecting", "launch": "launching"}
"""What needs ZeroMQ is loaded when it is used: `kernel-runner run` starts without it."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
