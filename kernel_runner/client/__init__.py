"""The other end of the wire: start a runner or connect to one, send requests, read their events.

async with launch("python") as kernel:
    result = await kernel.query("1 + 1").result()
    print(result.stdout)
"""

from kernel_runner.client.errors import (
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
