"""Python: runs ``main.py``; queries go to an interpreter that keeps its state."""

from collections.abc import Mapping
from pathlib import Path

from kernel_runner.langs._interpreter import DRIVERS, InterpreterRunner
from kernel_runner.launcher import Argv


class Runner(InterpreterRunner):
    aliases = ("python3", "py")
    extensions = (".py",)
    command = "python3"
    package = "python3"
    hello = 'print("hello")'
    shows_media = True
    query_shells = ("plain", "ipython")
    packages = DRIVERS / "python"
    driver = packages / "kernel_runner_driver" / "start.py"

    def driver_command(self) -> Argv:
        return [*super().driver_command(), self.host.query_shell or self.query_shells[0]]

    def interpreter(self, main_file: Path) -> Argv:
        # a client that says what the streams are gets Python's own buffering
        unbuffered = ["-u"] if self.task.options.tty is None else []
        return [self.program, *unbuffered, main_file]

    def media_environment(self, env: Mapping[str, str]) -> Mapping[str, str]:
        path = [str(self.packages), *filter(None, [env.get("PYTHONPATH")])]
        return {**env, "PYTHONPATH": ":".join(path)}
