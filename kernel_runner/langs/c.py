"""C: compiles every ``*.c`` file with gcc; a query is compiled and run."""

from collections.abc import Sequence
from pathlib import Path

from kernel_runner.langs._compiled import CompiledRunner
from kernel_runner.launcher import Argv


class Runner(CompiledRunner):
    extensions = (".c",)
    command = "gcc"
    package = "gcc libc6-dev"
    hello = '#include <stdio.h>\nint main(void) { puts("hello"); }'

    def compiler(self, sources: Sequence[Path], binary: Path) -> Argv:
        is_c = ("-x", "c")  # gcc takes MAIN.C for C++
        return [self.program, "-Wall", *is_c, *sources, "-o", binary, "-lm", "-pthread"]
