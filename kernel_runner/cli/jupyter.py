"""`jupyter`: languages come in; they become kernels of Jupyter, or are none any more."""

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from kernel_runner import langs
from kernel_runner.cli import output, tools
from kernel_runner.errors import UsageError

if TYPE_CHECKING:
    from kernel_runner.jupyter.specs import Installed, Spec

EXAMPLES: Final = """\
Without LANG it is every language that has query mode and whose tool is installed, or every kernel
that is there.  Without a place it is the virtual environment that kernel-runner is in, else the
user's folder.  Words behind -- are options of `kernel-runner serve` for the runner of each kernel.

examples:
  kernel-runner jupyter install
  kernel-runner jupyter install python shell --sys-prefix -- --limits memory=1G
  kernel-runner jupyter list --json
  kernel-runner jupyter remove shell
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = actions.add_parser("install", help="make kernels of them", allow_abbrev=False)
    places = install.add_mutually_exclusive_group()
    places.add_argument("--user", action="store_true", help="for this user")
    places.add_argument("--sys-prefix", action="store_true", help="beside this Python")
    places.add_argument("--prefix", metavar="DIR", help="in DIR/share/jupyter/kernels")
    install.set_defaults(rest=())
    remove = actions.add_parser("remove", help="make them none any more", allow_abbrev=False)
    listing = actions.add_parser("list", help="show those that are there", allow_abbrev=False)
    output.add_json(listing)
    for action in (install, remove, listing):
        action.add_argument(
            "languages", nargs="*", metavar="LANG", help="such as python, c or shell"
        )


def run(options: argparse.Namespace) -> int:
    """Carry out one action; the exit code.

    Raises:
        UsageError: what is asked for cannot be done.
        UnknownLanguage: nobody has it.
        BrokenLanguage: it has a fault.
    """
    if find_spec("jupyter_client") is None:
        raise UsageError("jupyter needs a package: pip install 'kernel-runner[jupyter]'")
    names = [langs.load(name).name for name in options.languages]
    try:
        match options.action:
            case "install":
                return _install(options, names)
            case "remove":
                return _remove(names)
            case _:
                return _list(options, names)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}; try --user") from error


def _install(options: argparse.Namespace, names: Sequence[str]) -> int:
    from kernel_runner.jupyter import specs

    in_venv = sys.prefix != sys.base_prefix
    prefix = options.prefix
    if options.sys_prefix or (prefix is None and not options.user and in_venv):
        prefix = sys.prefix
    for spec in _specs(names, options.rest):
        folder = specs.install(spec, user=prefix is None, prefix=prefix)
        print(f"{spec.name} is installed in {folder}")
    return 0


def _specs(names: Sequence[str], rest: Sequence[str]) -> "Sequence[Spec]":
    """What is to be installed; a language that was asked for by name has to be usable."""
    from kernel_runner.jupyter.specs import Spec

    found: list[Spec] = []
    every = list(langs.every()) if not names else [(name, langs.load(name)) for name in names]
    for language in tools.described(every):
        tool = language.tool
        if language.query is None or tool is None or tool.path is None:
            if names:
                why = f"{tool.summary}" if tool and not tool.path else "it has no query mode"
                raise UsageError(f"{language.name} cannot be a kernel: {why}")
            continue
        ending = next(iter(language.endings), ".txt")
        found.append(Spec(language.name, tool.version or "", ending, tuple(rest)))
    return found


def _remove(names: Sequence[str]) -> int:
    from kernel_runner.jupyter import specs

    kernels = _installed(names)
    if missing := {*names} - {kernel.language for kernel in kernels}:
        raise UsageError(f"not installed as a kernel: {', '.join(sorted(missing))}")
    for kernel in kernels:
        specs.remove(kernel)
        print(f"{kernel.name} is removed from {kernel.folder}")
    return 0


def _list(options: argparse.Namespace, names: Sequence[str]) -> int:
    kernels = _installed(names)
    if options.json:
        output.show_json(kernels)
    else:
        rows = [(one.name, one.language, one.folder, " ".join(one.options)) for one in kernels]
        output.show_table(("kernel", "language", "folder", "options"), rows)
    return 0


def _installed(names: Sequence[str]) -> "Sequence[Installed]":
    from kernel_runner.jupyter import specs

    return [kernel for kernel in specs.installed() if not names or kernel.language in names]
