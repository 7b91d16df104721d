"""Languages whose sources are run as they are: what the client names, or ``main.<ending>``."""

from pathlib import Path

from kernel_runner.base import BaseRunner, ExitCode
from kernel_runner.errors import NothingToRun
from kernel_runner.launcher import Argv


class ScriptRunner(BaseRunner):
    """Subclasses say `command`, `extensions` and `hello`, and how a file is run if not plainly."""

    async def build_heuristic(self) -> ExitCode:
        return 0

    async def execute_heuristic(self) -> ExitCode:
        return await self.run([*self.interpreter(self.main_file()), *self.args], output=self.output)

    def interpreter(self, main_file: Path) -> Argv:
        """The command line that runs `main_file`, without the client's arguments."""
        return [self.program, main_file]

    def main_file(self) -> Path:
        """The file to run.

        Raises:
            NothingToRun: there is no main file, and not exactly one source.
        """
        if self.task.options.sources:
            return self.as_typed(self.sources()[0])
        for ending in self.extensions:
            if (main_file := self.workspace.root / f"main{ending}").is_file():
                return main_file
        match self.sources():
            case [only]:
                return only
            case []:
                raise NothingToRun(f"no {' or '.join(self.extensions)} file to run")
            case several:
                names = ", ".join(file.name for file in several[:5])
                raise NothingToRun(f"none of {names} is called main{self.extensions[0]}")

    def as_typed(self, file: Path) -> Path:
        """The name of `file` as seen from where the program runs: users know it by that."""
        if file.is_relative_to(self.cwd) and not file.name.startswith("-"):
            return file.relative_to(self.cwd)
        return file
