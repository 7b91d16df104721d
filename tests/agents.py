"""A runner comes in; an agent's side that is connected to it, and ways to ask it, go out."""

import asyncio
from contextlib import AbstractAsyncContextManager

from kernel_runner.client.agent import CodeRunner, NextResult, connect
from tests.running import RunnerProcess
from tests.wire import FAILURE_SECONDS


def connected(started: RunnerProcess, **options: float) -> AbstractAsyncContextManager[CodeRunner]:
    addresses = started.addresses["in"], started.addresses["out"]
    return connect(*addresses, **options)  # type: ignore[arg-type]


async def until(
    agent: CodeRunner, run_id: str, *stops: str, flush_timeout_seconds: float = 0.05
) -> list[NextResult]:
    """The results up to one with this status, or that shows this text."""
    results: list[NextResult] = []
    async with asyncio.timeout(FAILURE_SECONDS):
        while not results or not ({results[-1].status, text_of(results[-1:])} & {*stops}):
            results.append(
                await agent.next_result(run_id, flush_timeout_seconds=flush_timeout_seconds)
            )
    return results


def text_of(results: list[NextResult]) -> str:
    """What was printed, both streams in order."""
    items = [item for result in results for item in result.console or ()]
    return "".join(str(data) for kind, data in items if kind in ("stdout", "stderr"))


async def until_idle(agent: CodeRunner) -> None:
    """Return when all that was fed has ended, and its events are here."""
    async with asyncio.timeout(FAILURE_SECONDS):
        while (await agent.feed_and_get_status()).state != "idle":
            pass


def dropped(results: list[NextResult]) -> int:
    logs = [data for result in results for kind, data in result.console or () if kind == "log"]
    return sum(int(text[3].split()[0]) for text in logs)
