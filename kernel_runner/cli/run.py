"""`run`: files and arguments in; the program's output and exit code out."""

import argparse
import gc
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel_runner import guardian, langs, limit_words
from kernel_runner.cli import FOR_PROGRAM
from kernel_runner.cli.folders import current_folder
from kernel_runner.cli.key_option import add_key, key_file_of
from kernel_runner.cli.sources import language_of, sources_among
from kernel_runner.errors import UsageError
from kernel_runner.messages.options import Limits

if TYPE_CHECKING:
    from kernel_runner.base import BaseRunner
    from kernel_runner.cli.program import Program

EXAMPLES: Final = """\
examples:
  kernel-runner run hello.py
  kernel-runner run main.c util.c -- --verbose input.txt
  echo 5 | kernel-runner run square.c
  kernel-runner run --lang python -c 'print(6 * 7)'
  kernel-runner run --wall 10 slow.py
  kernel-runner run --cpu 2 --memory 256M --output 1M hello.py
  kernel-runner run --watch page.py
  kernel-runner run --in-place analysis.ipynb
  kernel-runner run --detach train.py
  kernel-runner run --connect tcp://127.0.0.1:2010 main.py data.csv
"""
STANDARD_INPUT: Final = "-"
NOTEBOOK: Final = ".ipynb"
JAIL: Final = "run"
"""The policy for programs of the person who runs them."""
JAIL_MACHINES: Final = ("x86_64", "aarch64")
LIMITS: Final = (
    ("wall", "SECONDS", "end the program after this long"),
    ("cpu", "SECONDS", "end it when it has used so much processor time"),
    ("memory", "SIZE", "end it when it uses more memory"),
    ("output", "SIZE", "end it when it writes more output; head and tail are shown"),
    ("on-output-limit", "end|drop", "drop: let it go on, and leave out what is between"),
    ("processes", "N", "how many processes and threads it may have"),
    ("file-size", "SIZE", "the largest file that it may make"),
    ("open-files", "N", "how many files it may have open"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "kernel-runner run [OPTIONS] FILE... [-- ARGS...]"
    parser.epilog = EXAMPLES
    parser.set_defaults(rest=())
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="the sources, the main one first; - reads one"
    )
    parser.add_argument("-c", "--code", metavar="CODE", help="run this instead of files")
    parser.add_argument(
        "-l", "--lang", metavar="LANG", help="the language, else by ending or #! line"
    )
    parser.add_argument(
        "-w", "--watch", action="store_true", help="run it again whenever a source changes"
    )
    parser.add_argument(
        "-d", "--detach", action="store_true", help="let it run without you; `attach` comes back"
    )
    limits = parser.add_argument_group("limits of the program, sizes as 65536, 64K, 256M or 2G")
    for word, value, text in LIMITS:
        limits.add_argument(f"--{word}", type=_limit(word), metavar=value, help=text)
    parser.add_argument(
        "--connect", metavar="ADDRESS", help="send it to the runner there, and run it in its folder"
    )
    add_key(parser)
    jail = parser.add_argument_group("the jail, which is around what runs here")
    jail.add_argument(
        "--jail", metavar="POLICY", help="not run, but this policy; auto: the language's"
    )
    jail.add_argument("--no-jail", action="store_true", help="let it do what you may do")
    notebooks = parser.add_argument_group("notebooks (.ipynb); limits are those of each cell")
    notebooks.add_argument("--in-place", action="store_true", help="write the outputs back into it")
    notebooks.add_argument(
        "--save-as", type=Path, metavar="FILE", help="write it with its outputs there"
    )
    notebooks.add_argument(
        "--allow-errors", action="store_true", help="go on behind a cell that fails"
    )
    parser.add_argument(
        "--runtime-path", type=Path, metavar="FILE", help="the interpreter or compiler"
    )


def run(options: argparse.Namespace) -> int:
    """Run to the end; the program's exit code, 128+n when signal n ended it.

    Raises:
        UsageError: what is asked for cannot be run; nothing was started.
    """
    _check_sources(options)
    if _is_notebook(options):
        from kernel_runner.cli.run_notebook import run_notebook

        return run_notebook(options, _limits_of(options), _jail_of(options))
    language = _language(options)
    if options.connect is None:
        _check_tool(language, options.runtime_path)
        current_folder()
    if options.detach:
        exit_code = _detach(options, language)
    elif options.connect is None:
        control = guardian.fork()  # before there are threads, and before much is loaded
        from kernel_runner.cli.run_local import run_here

        gc.freeze()
        gc.enable()
        exit_code = run_here(_program(options, language), control, watch=options.watch)
    else:
        from kernel_runner.cli.remote import check_text, in_full
        from kernel_runner.cli.run_remote import run_there

        check_text([*options.files, *options.rest])
        program, key_file = _program(options, language), key_file_of(options)
        exit_code = run_there(program, in_full(options.connect), options.files, key_file)
    os._exit(exit_code)  # all is flushed, and the interpreter's own end would take 10 ms more


def _detach(options: argparse.Namespace, language: "type[BaseRunner]") -> int:
    from kernel_runner.cli.remote import check_text, in_full
    from kernel_runner.cli.run_detached import run_detached

    check_text([*options.files, *options.rest])
    program, key_file = _program(options, language), key_file_of(options)
    address = None if options.connect is None else in_full(options.connect)
    return run_detached(program, options.files, address, key_file)


def _program(options: argparse.Namespace, language: "type[BaseRunner]") -> "Program":
    from kernel_runner.cli.program import Program

    code = os.fsencode(options.code) if options.code is not None else None
    if options.files == [STANDARD_INPUT]:
        code = sys.stdin.buffer.read()
    return Program(
        language=language,
        sources=tuple(sources_among(options.files, language) if code is None else ()),
        code=code,
        args=tuple(options.rest),
        limits=_limits_of(options),
        runtime_path=options.runtime_path,
        jail=_jail_of(options) if options.connect is None else None,
    )


def _check_sources(options: argparse.Namespace) -> None:
    """One way to say what to run, and files that can be read."""
    files = options.files
    if options.connect is not None and (options.watch or options.runtime_path):
        raise UsageError("--watch and --runtime-path are for programs that run here")
    if options.jail and options.no_jail:
        raise UsageError("--jail and --no-jail: give one of them")
    if options.connect is not None and (options.jail or options.no_jail):
        raise UsageError("--jail and --no-jail are for programs that run here")
    if options.connect is None and options.key is not None:
        raise UsageError("--key is for a runner that is there, with --connect")
    if options.watch and options.detach:
        raise UsageError("--watch and --detach: give one of them")
    if options.watch and (STANDARD_INPUT in files or options.code is not None):
        raise UsageError("--watch is for files: code and standard input do not change")
    if options.watch:
        from importlib.util import find_spec

        if find_spec("watchfiles") is None:
            raise UsageError("--watch needs a package: pip install 'kernel-runner[cli]'")
    if options.code is not None and files:
        raise UsageError(f"give files or -c CODE, not both; {FOR_PROGRAM}")
    if options.code is None and (not files or (STANDARD_INPUT in files and len(files) > 1)):
        raise UsageError("say what to run: files, or - for standard input, or -c CODE")
    if options.code == "":
        raise UsageError("the code after -c is empty: there is nothing to run")
    if "" in files:
        raise UsageError("the name of a file is empty: is a variable of your shell not set?")
    for name in files:
        if name != STANDARD_INPUT and (
            problem := _problem_of(Path(name), is_main=name == files[0])
        ):
            is_source = name == files[0] or Path(name).exists()
            raise UsageError(f"{name}: {problem}" + ("" if is_source else f"; {FOR_PROGRAM}"))


def _jail_of(options: argparse.Namespace) -> str | None:
    if options.no_jail or options.jail:
        return options.jail or None
    if (here := os.uname().machine) not in JAIL_MACHINES:
        print(
            f"kernel-runner: there is no jail for {here}: the program runs in none", file=sys.stderr
        )
        return None
    return JAIL


def _is_notebook(options: argparse.Namespace) -> bool:
    """Raises `UsageError` when it is none, or not alone, and asked for what does not fit that."""
    if not (options.files and options.files[0].endswith(NOTEBOOK)):
        if options.in_place or options.save_as or options.allow_errors:
            raise UsageError(f"--in-place, --save-as and --allow-errors are for {NOTEBOOK} files")
        return False
    if len(options.files) > 1 or options.rest:
        raise UsageError("a notebook is run alone, without other files and words behind --")
    if options.watch or options.detach:
        raise UsageError("--watch and --detach are for programs, not for notebooks")
    if options.in_place and options.save_as:
        raise UsageError("say either --in-place or --save-as")
    return True


def _problem_of(file: Path, *, is_main: bool) -> str | None:
    """Why a file cannot be sent, or cannot be run."""
    try:
        with file.open("rb") as source:
            is_empty = not source.read(1)
    except IsADirectoryError:
        return f"is a folder; name the files, as in {file}/main.py"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "is empty: there is nothing to run" if is_empty and is_main else None


def _limit(word: str) -> Callable[[str], float | str]:
    parse = limit_words.parser_of(limit_words.FIELDS[word])

    def read(text: str) -> float | str:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _limits_of(options: argparse.Namespace) -> Limits:
    given = {word: getattr(options, word.replace("-", "_")) for word, _, _ in LIMITS}
    return limit_words.parse({word: value for word, value in given.items() if value is not None})


def _language(options: argparse.Namespace) -> "type[BaseRunner]":
    if options.lang:
        return langs.load(options.lang)
    if options.code is not None or options.files == [STANDARD_INPUT]:
        raise UsageError("which language? say --lang, as in: --lang python")
    return language_of(options.files)


def _check_tool(language: "type[BaseRunner]", runtime_path: Path | None) -> None:
    tool = str(runtime_path or language.command)
    if shutil.which(tool) is None:
        if runtime_path is not None:
            raise UsageError(f"--runtime-path: {tool} is no program that can be started")
        hint = f"; on Debian: apt install {language.package}" if language.package else ""
        raise UsageError(f"{tool} is not installed{hint}")
