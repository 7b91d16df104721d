"""The command line: words in, an exit code out.  The only place that joins the rooms.

A command is one module of this folder with `add_arguments(parser)` and `run(options)`, which
returns the exit code; only the module of the command that was asked for is loaded.  `serve` is the
exception: it has a parser of its own, which tells of all mistakes at once.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import kernel_runner
from kernel_runner.errors import ConfigError, KernelRunnerError

USAGE_ERROR: Final = 2
PROGRAM: Final = "kernel-runner"
COMMANDS: Final = {
    "run": "run a program, as its language's own command would",
    "serve": "serve clients: what an image does",
}
"""Each command and what it does; its module has the same name."""


def main(argv: Sequence[str]) -> int:
    """Carry out one command.

    Raises:
        SystemExit: words that are not understood (2), or the end of a help text (0).
    """
    options = _parser(argv).parse_args(argv)
    command = importlib.import_module(f"{__name__}.{options.command}")
    return reported(partial(command.run, options))


def reported(work: Callable[[], int]) -> int:
    """The exit code of `work`; when it raises an error of ours, its text is printed."""
    try:
        return work()
    except ConfigError as error:
        for problem in error.problems:
            print(f"{PROGRAM}: {problem}", file=sys.stderr)
        return USAGE_ERROR
    except KernelRunnerError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return USAGE_ERROR


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The words of every command; only the chosen one's module is loaded."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Run code in many languages, and serve it to clients.",
        epilog=f"`{PROGRAM} COMMAND --help` has examples.  "
        f"`{PROGRAM} LANGUAGE` is short for `{PROGRAM} serve LANGUAGE`.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"{PROGRAM} {kernel_runner.__version__}"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        words = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name in argv[:1] and name != "serve":
            importlib.import_module(f"{__name__}.{name}").add_arguments(words)
    return parser
