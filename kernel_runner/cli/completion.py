"""`completion`: the name of a shell comes in; the script that completes our words goes out.

Later the shell asks `answer`: the line so far comes in by the environment, as argcomplete has it.
"""

import argparse
import os
from typing import Any, Final

from kernel_runner import cli, langs
from kernel_runner.cli import command_line
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
LANGUAGE: Final = "LANG"
"""The metavar of arguments that are completed with languages."""


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
        """Languages where one is asked for, else files."""

        def __call__(self, prefix: str, **context: Any) -> list[str]:
            is_language = context["action"].metavar == LANGUAGE
            return [*langs.names()] if is_language else super().__call__(prefix, **context)

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
