"""The agent's side of the agent dialect: commands and questions in, results for an API out.

    async with connect("tcp://127.0.0.1:2000", "tcp://127.0.0.1:2001") as runner:
        run_id = await runner.feed_code("print(6 * 7)")
        result = await runner.next_result(run_id)

`docs/agent.md` shows how an agent uses it.
"""

from kernel_runner.client.agent.code_runner import CodeRunner, connect
from kernel_runner.client.agent.console import ConsoleItem, NextResult
from kernel_runner.client.agent.errors import (
    NoAnswer,
    RunAbandoned,
    RunIsOpen,
    RunnerClosed,
    RunnerLost,
    RunnerNotReady,
    RunNotActive,
    UnknownRun,
    Unreadable,
)

__all__ = [
    "CodeRunner",
    "ConsoleItem",
    "NextResult",
    "NoAnswer",
    "RunAbandoned",
    "RunIsOpen",
    "RunNotActive",
    "RunnerClosed",
    "RunnerLost",
    "RunnerNotReady",
    "UnknownRun",
    "Unreadable",
    "connect",
]
