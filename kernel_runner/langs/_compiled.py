"""Languages that are compiled first: all sources to one binary, which is run; a query likewise."""

import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from kernel_runner.base import BaseRunner, ExitCode
from kernel_runner.errors import NothingToRun
from kernel_runner.launcher import Argv


class CompiledRunner(BaseRunner):
    """Subclasses say `command`, `extensions`, `hello`, and the compiler's command line.

    The binary goes into a folder of the runner's own, so no file of the user's is overwritten.
    """

    output = "terminals"

    @abstractmethod
    def compiler(self, sources: Sequence[Path], binary: Path) -> Argv:
        """The command line that makes `binary`; the paths are absolute."""

    @property
    def binary(self) -> Path:
        return self.workspace.build_folder / "main"

    async def build_heuristic(self) -> ExitCode:
        sources = self.sources()
        if not sources:
            raise NothingToRun(f"no {' or '.join(self.extensions)} file to build")
        self.binary.parent.mkdir(parents=True, exist_ok=True)
        self.binary.unlink(missing_ok=True)  # a failed build leaves nothing to run
        return await self.run(self.compiler(sources, self.binary))

    async def execute_heuristic(self) -> ExitCode:
        made_by_make = (self.workspace.root / "main", self.workspace.root / "a.out")
        for binary in (self.binary, *made_by_make):
            if binary.is_file():
                return await self.run([binary, *self.args], output=self.output)
        raise NothingToRun("no program was built: neither by `build`, nor main or a.out")

    async def query(self, code: str) -> ExitCode:
        folder = Path(tempfile.mkdtemp(prefix="query-", dir=self.host.folder_of_programs))
        try:
            source, binary = folder / f"query{self.extensions[0]}", folder / "query"
            source.write_text(code, encoding="utf-8")
            if (failure := await self.run(self.compiler([source], binary))) != 0:
                return failure
            return await self.run([binary, *self.args], output=self.output)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
