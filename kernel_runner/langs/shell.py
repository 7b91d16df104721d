"""Shell: runs ``main.sh`` with bash; queries share one bash with its variables and folder."""

from kernel_runner.langs._interpreter import DRIVERS, InterpreterRunner


class Runner(InterpreterRunner):
    aliases = ("bash", "sh")
    extensions = (".sh", ".bash")
    command = "bash"
    package = "bash"
    hello = "echo hello"
    driver = DRIVERS / "shell.bash"
