"""Python: runs ``main.py``; queries go to an interpreter that keeps its state."""

from pathlib import Path

from kernel_runner.langs._interpreter import DRIVERS, InterpreterRunner
from kernel_runner.launcher import Argv


class Runner(InterpreterRunner):
    aliases = ("python3", "py")
    extensions = (".py",)
    command = "python3"
    package = "python3"
    hello = 'print("hello")'
    env = {"MPLBACKEND": "Agg"}
    driver = DRIVERS / "python" / "driver.py"

    def interpreter(self, main_file: Path) -> Argv:
        # a client that says what the streams are gets Python's own buffering
        unbuffered = ["-u"] if self.task.options.tty is None else []
        return [self.program, *unbuffered, main_file]
