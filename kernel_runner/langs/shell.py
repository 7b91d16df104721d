"""Shell: runs ``main.sh`` with bash; queries share one bash with its variables and folder."""

from kernel_runner.langs._interpreter import DRIVERS, InterpreterRunner


class Runner(InterpreterRunner):
    aliases = ("bash", "sh")
    extensions = (".sh", ".bash")
    command = "bash"
    package = "bash"
    hello = "echo hello"
    # bash loses a SIGINT that meets a child between its fork and its exec
    interrupt_again_seconds = 0.5
    driver = DRIVERS / "shell.bash"
