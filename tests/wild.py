"""Functions of a test come in; a language whose hooks they are goes out."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, Final, TypeAlias, cast

from kernel_runner.base import BaseRunner
from kernel_runner.errors import NothingToRun
from kernel_runner.messages import commands, events
from kernel_runner.messages.commands import Complete
from kernel_runner.testing import MemoryChannel

ENV: Final = {"PATH": os.environ["PATH"]}
Hook: TypeAlias = Callable[["Wild"], Awaitable[object]]


class Wild(BaseRunner):
    """A language whose queries are functions of the test."""

    name = "wild"
    queries: ClassVar[dict[str, Hook]] = {}

    async def build_heuristic(self) -> int:
        raise NothingToRun("nothing to build")

    async def execute_heuristic(self) -> int:
        return 0

    async def query(self, code: str) -> int:
        # what a hook returns may be anything, whatever it promises
        return cast(int, await self.queries[code](self))

    async def complete(self, request: Complete) -> Sequence[str]:
        raise ValueError("no words")

    async def interrupt(self, *, force: bool) -> None:
        if "interrupt" in self.queries:
            await self.queries["interrupt"](self)
        await super().interrupt(force=force)


def wild(**queries: Hook) -> type[Wild]:
    return type("ThisWild", (Wild,), {"queries": queries})


def returning(value: object) -> Hook:
    async def query(runner: Wild) -> object:
        return value

    return query


def raising(error: BaseException) -> Hook:
    async def query(runner: Wild) -> object:
        raise error

    return query


class Held:
    """A query that begins, and ends with 0 when the test says `go_on`."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, runner: Wild) -> int:
        self.entered.set()
        await self.go_on.wait()
        return 0


async def finish_of(client: MemoryChannel, command: commands.Command, name: str) -> events.Finished:
    client.say(command, name)
    assert isinstance(command, commands.QUEUED)
    finish = (await client.hear_until(command.answer, name))[-1]
    assert isinstance(finish, events.Finished)
    return finish
