"""Words in; the command that they name is carried out, its exit code out."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from typing import NoReturn

from kernel_runner import __version__
from kernel_runner.cli import COMMANDS, FOR_PROGRAM, PROGRAM, USAGE_ERROR
from kernel_runner.errors import ConfigError, KernelRunnerError


class Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line."""

    commands: "argparse._SubParsersAction[Parser]"
    """Where the parser of all words has those of each command."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{PROGRAM}: {message}; see `{self.prog} --help`\n")


def main(argv: Sequence[str]) -> int:
    """Carry out one command.

    Raises:
        SystemExit: words that are not understood (2), or the end of a help text (0).
    """
    if "_ARGCOMPLETE" in os.environ:  # the shell's script asks what the word could become
        return int(importlib.import_module("kernel_runner.cli.completion").answer())
    try:
        try:
            return _carry_out(argv)
        finally:
            _flush()
    except BrokenPipeError:
        _drop_output()
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _carry_out(argv: Sequence[str]) -> int:
    words = list(takewhile(lambda word: word != "--", argv))
    parser, options, unknown = _parsed(words)
    if unknown:
        hint = f"; {FOR_PROGRAM}" if "rest" in options else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if rest := argv[len(words) + 1 :]:  # words for the user's program, whatever they look like
        if "rest" not in options:
            parser.error(f"words after --: `{options.command}` takes none")
        options.rest = rest
    command = importlib.import_module(f"kernel_runner.cli.{options.command}")
    return reported(partial(command.run, options))


def _parsed(words: Sequence[str]) -> tuple[argparse.ArgumentParser, argparse.Namespace, list[str]]:
    """The options of a command, wherever they stand among its words; what is not understood."""
    parser = parser_for(words[:1])
    command = parser.commands.choices.get(words[0]) if words else None
    if command is None:
        return parser, *parser.parse_known_args(words)
    given = argparse.Namespace(command=words[0])
    if command._subparsers is not None:  # `jupyter`: argparse cannot do that with actions
        return command, *command.parse_known_args(words[1:], given)
    return command, *command.parse_known_intermixed_args(words[1:], given)


def _flush() -> None:
    """Write what was printed, while somebody can still be told that it cannot be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        print(f"{PROGRAM}: standard output: {error.strerror}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None


def _drop_output() -> None:
    """Nobody takes it; without this the interpreter would try again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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


def parser_for(chosen: Sequence[str]) -> Parser:
    """The words of every command; only the modules of those that were chosen are loaded."""
    parser = Parser(
        prog=PROGRAM,
        description="Run code in many languages, and serve it to clients.",
        epilog=f"`{PROGRAM} COMMAND --help` has examples.  "
        f"`{PROGRAM} LANGUAGE` is short for `{PROGRAM} serve LANGUAGE`.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    parser.commands = commands
    for name, summary in COMMANDS.items():
        words = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name in chosen:
            importlib.import_module(f"kernel_runner.cli.{name}").add_arguments(words)
    return parser
