"""Languages by an installed kernel of Jupyter: the name of its kernelspec in, query mode out.

A language file says `kernel`, `command` and `hello`.  Without one, any installed kernel is the
language `jupyter:NAME`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import msgspec

from kernel_runner.base import BaseRunner, ExitCode
from kernel_runner.errors import BrokenLanguage, Unsupported
from kernel_runner.langs._interpreter import LOOK_UP_SECONDS, InterpreterRunner
from kernel_runner.messages import events
from kernel_runner.messages.commands import Complete, Inspect

if TYPE_CHECKING:
    from kernel_runner.langs._jupyter_kernel import JupyterKernel

PREFIX: Final = "jupyter:"
QUIET_SECONDS: Final = 5.0
"""How long an answer about code may take while no cell runs: the first one loads much."""


class JupyterRunner(InterpreterRunner):
    """Subclasses say `kernel`, and what every language says; they have no batch mode."""

    kernel: ClassVar[str]
    """The exact name of the kernelspec, as `jupyter kernelspec list` shows it."""

    async def build_heuristic(self) -> ExitCode:
        raise Unsupported(f"{self.name} has no batch mode; use query mode")

    async def execute_heuristic(self) -> ExitCode:
        raise Unsupported(f"{self.name} has no batch mode; use query mode")

    async def complete(self, request: Complete) -> Sequence[str]:
        answer = await self._asked(lambda kernel: kernel.complete(request.code, request.cursor))
        return [str(match) for match in answer.get("matches", ())]

    async def inspect(self, request: Inspect) -> str:
        from kernel_runner.langs._jupyter_cell import COLOURS

        answer = await self._asked(lambda kernel: kernel.inspect(request.code, request.cursor))
        return COLOURS.sub("", str(answer.get("data", {}).get("text/plain", "")))

    async def is_complete(self, code: str) -> events.Completeness:
        answer = await self._asked(lambda kernel: kernel.is_complete(code))
        try:
            return msgspec.convert({"status": answer.get("status")}, events.Completeness)
        except msgspec.ValidationError:
            return events.Completeness("unknown")

    async def _open(self) -> "JupyterKernel":
        from kernel_runner.langs._jupyter_kernel import JupyterKernel  # what it needs is slow

        kernel = await JupyterKernel.start(
            self.host.launcher,
            self.kernel,
            folder=self.host.folder_of_programs,
            env=self.environment({}),
            cwd=self.workspace.root,
        )
        self._current = kernel
        return kernel

    async def _asked(
        self, question: "Callable[[JupyterKernel], Awaitable[Any]]"
    ) -> "dict[str, Any]":
        """What the kernel answers; nothing when it cannot say in time, as while a cell runs."""
        kernel = await self._for_questions()
        if kernel is None:
            return {}
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS if self._task else QUIET_SECONDS):
                return dict(await question(cast("JupyterKernel", kernel)))
        except TimeoutError:
            return {}


def generic(name: str) -> type[BaseRunner]:
    """The language of the installed kernel `name`, which is looked for when it is started.

    Raises:
        BrokenLanguage: jupyter_client is not installed.
    """
    if find_spec("jupyter_client") is None:
        hint = "it needs a package: pip install 'kernel-runner[jupyter]'"
        raise BrokenLanguage(PREFIX + name, hint)

    class Runner(JupyterRunner):
        kernel = name
        command = "python3"
        hello = ""

    Runner.name = PREFIX + name
    return Runner
