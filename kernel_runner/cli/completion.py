"""`completion`: the name of a shell comes in; the script that completes our words goes out.

Later the shell asks `answer`: the line so far comes in by the environment, as argcomplete has it.
"""

import argparse
import os
from typing import Any, Final

from kernel_runner import cli, langs
from kernel_runner.cli import command_line, detached
from kernel_runner.errors import KernelRunnerError

EXAMPLES: Final = """\
examples:
  kernel-runner completion bash > kernel-runner.bash
  eval "$(kernel-runner completion bash)"
  kernel-runner completion zsh > _kernel-runner
  kernel-runner completion fish > kernel-runner.fish

Bash reads the script from ~/.bashrc or ~/.local/share/bash-completion/completions/kernel-runner,
zsh from a folder of its fpath, fish from ~/.config/fish/completions.
"""
SHELLS: Final = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def run(options: argparse.Namespace) -> int:
    """Print the script; the exit code.

    Raises:
        KernelRunnerError: the package that completes is not installed.
    """
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError:
        raise KernelRunnerError(
            "completion needs argcomplete: pip install 'kernel-runner[cli]'"
        ) from None
    print(shellcode([cli.PROGRAM], shell=options.shell))
    return 0


def answer() -> int:
    """Tell the shell what the word at the cursor could become."""
    import argcomplete
    from argcomplete.completers import FilesCompleter

    class Words(FilesCompleter):
        """Languages and detached work where they are asked for, else files."""

        def __call__(self, prefix: str, **context: Any) -> list[str]:
            match context["action"].metavar:
                case "LANG":
                    return [*langs.names()]
                case "NAME" | "ADDRESS" | "ID":
                    return [work.name for work in detached.every()]
            return super().__call__(prefix, **context)

    line, point = os.environ["COMP_LINE"], int(os.environ["COMP_POINT"])
    command = line[:point].rpartition(" ")[0].split()[1:2]  # once the cursor is behind it
    if command and command[0] in langs.names():  # short for `serve LANG`
        command = ["serve"]
        os.environ["COMP_LINE"] = line.replace(" ", " serve ", 1)
        os.environ["COMP_POINT"] = str(point + len(" serve"))
    parser = command_line.parser_for(command)
    if not command:
        for name in langs.names():
            parser.commands.add_parser(name)
    argcomplete.autocomplete(parser, default_completer=Words())  # leaves
    return cli.USAGE_ERROR
