"""Commands that do not wait in line but take time in, their answers out: code and files."""

import asyncio
from typing import TypeAlias, assert_never

from kernel_runner.base import BaseRunner
from kernel_runner.hooks import attempt
from kernel_runner.messages import commands, events

LookUp: TypeAlias = commands.LookUp | commands.FileCommand


async def look_up(runner: BaseRunner, command: LookUp) -> events.AnyEvent:
    """The answer to one command.

    Raises:
        WorkspaceError: it is about a file that cannot be had.
        KernelRunnerError: the language could not answer.
    """
    files = runner.workspace
    match command:
        case commands.Complete():
            return events.Completion(list(await attempt(runner.complete(command), command.op)))
        case commands.Inspect():
            return events.Inspection(await attempt(runner.inspect(command), command.op))
        case commands.IsComplete(code=code):
            return await attempt(runner.is_complete(code), command.op)
        case commands.Upload(path=path, data=data, executable=executable):
            await asyncio.to_thread(files.write, path, data, executable=executable)
            return events.Ok()
        case commands.Download(path=path):
            return events.File(path, await asyncio.to_thread(files.read, path))
        case commands.ListFiles(path=path):
            return events.Files(path, await asyncio.to_thread(files.entries, path))
        case _:
            assert_never(command)
