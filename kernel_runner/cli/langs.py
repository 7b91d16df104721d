"""`langs`: the languages that are there come in; a line for each with its tool goes out."""

import argparse
from typing import Final

from kernel_runner import langs
from kernel_runner.cli import output, tools

EXAMPLES: Final = """\
examples:
  kernel-runner langs
  kernel-runner langs python
  kernel-runner langs --json
"""
COLUMNS: Final = ("name", "aliases", "endings", "modes", "tool")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("language", nargs="?", metavar="LANG", help="only this one")
    output.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Show all of them, or one; the exit code.

    Raises:
        UnknownLanguage: nobody has the one that was asked for.
        BrokenLanguage: it has a fault.
    """
    if options.language is not None:
        language = langs.load(options.language)
        [described] = tools.described([(language.name, language)])
        if options.json:
            output.show_json(described)
        else:
            output.show_facts(dict(zip(COLUMNS, _cells(described), strict=True)))
        return 0
    loaded = list(langs.every())
    every = tools.described(loaded)
    if options.json:
        output.show_json(every)
    else:
        output.show_table(COLUMNS, [_cells(described) for described in every])
    for conflict in langs.conflicts(loaded):
        output.note(conflict)
    return 0


def _cells(language: tools.Language) -> tuple[str, ...]:
    about_tool = language.tool.summary if language.tool else f"not usable: {language.fault}"
    names = (" ".join(language.aliases), " ".join(language.endings))
    return (language.name, *names, language.modes, about_tool)
