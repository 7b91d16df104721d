"""The other end of the wire: start a runner or connect to one, send requests, read their events.

    async with launch("python") as kernel:
        result = await kernel.query("1 + 1").result()
        print(result.stdout)

`query`, `clean`, `build` and `execute` return a `Reply` at once, so that many can wait in line:
iterate over it for the events as they come (`kernel_runner.messages.events`), or await its
`result`.  The other methods return when they are answered, whatever is running.  A program that
asks for input waits until `Kernel.input` is called, and so does `result`; `stdin=b"..."` gives all
of it beforehand.
"""

from kernel_runner.client.errors import (
    BadAddress,
    ClientError,
    RequestRefused,
    RunnerDied,
    RunnerNotStarted,
    RunnerUnreachable,
)
from kernel_runner.client.kernel import Kernel, connect
from kernel_runner.client.launch import launch
from kernel_runner.client.reply import Reply, Result

__all__ = [
    "BadAddress",
    "ClientError",
    "Kernel",
    "Reply",
    "RequestRefused",
    "Result",
    "RunnerDied",
    "RunnerNotStarted",
    "RunnerUnreachable",
    "connect",
    "launch",
]
