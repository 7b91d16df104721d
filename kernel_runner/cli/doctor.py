"""`doctor`: languages come in; what works on this machine, and what to do, goes out."""

import argparse
import asyncio
import os
import time
from typing import Final

from kernel_runner import langs
from kernel_runner.base import BaseRunner
from kernel_runner.cli import machine, output, tools
from kernel_runner.cli.machine import Check
from kernel_runner.client.kernel import Kernel
from kernel_runner.client.launching import launch
from kernel_runner.errors import BrokenLanguage, ClientError

EXAMPLES: Final = """\
examples:
  kernel-runner doctor
  kernel-runner doctor python shell
  kernel-runner doctor python --json

The exit code is 1 when a language that was named cannot run.
"""
START_SECONDS: Final = 30.0
"""How long a runner may take until it has run the first program."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument(
        "languages", nargs="*", metavar="LANG", help="start a runner of this language, too"
    )
    output.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Look at everything; 1 when a language that was named cannot run, else 0.

    Raises:
        UnknownLanguage: nobody has one that was named.
    """
    asked = dict(_load(name) for name in options.languages)
    every = tools.described(list(asked.items()) if asked else list(langs.every()))
    started = [_start(name, language) for name, language in asked.items()]
    checks = [
        *machine.kernel(),
        *machine.terminal(os.environ),
        *machine.limits(),
        *map(_tool, every),
        *started,
    ]
    if options.json:
        output.show_json(checks)
    else:
        columns = ("state", "what", "found", "what to do")
        rows = [(c.state, f"{c.group}: {c.name}", c.found, c.hint) for c in checks]
        output.show_table(columns, rows)
    return 1 if any(check.state == "missing" for check in started) else 0


def _load(name: str) -> tuple[str, langs.Loaded]:
    try:
        language = langs.load(name)
    except BrokenLanguage as error:
        return name, error
    return language.name, language


def _tool(language: tools.Language) -> Check:
    if language.tool is None:
        hint = "ask who made it, or remove it"
        return Check("tools", language.name, "warn", language.fault or "", hint)
    tool = language.tool
    if tool.path is None:
        return Check("tools", language.name, "missing", f"no {tool.command}", tool.advice)
    return Check("tools", language.name, "ok", tool.summary)


def _start(name: str, language: langs.Loaded) -> Check:
    """Start a runner and let it say hello, as a client would."""
    if isinstance(language, BrokenLanguage):
        return Check("runner", name, "missing", str(language), "ask who made it")
    begin = time.monotonic()
    try:
        problem = asyncio.run(_say_hello(name, language))
    except ClientError as error:
        problem = str(error)
    except TimeoutError:
        problem = f"it had not run within {START_SECONDS:g} s"
    if problem:
        problem = " ".join(problem.removeprefix("kernel-runner: ").split())
        return Check("runner", name, "missing", problem, "see the line of its tool, or --debug")
    return Check(
        "runner", name, "ok", f"said hello {time.monotonic() - begin:.2f} s after its start"
    )


async def _say_hello(name: str, language: type[BaseRunner]) -> str:
    """What went wrong; empty when nothing did."""
    async with asyncio.timeout(START_SECONDS), launch(name) as kernel:
        return await _run_hello(kernel, language)


async def _run_hello(kernel: Kernel, language: type[BaseRunner]) -> str:
    if language.query is not BaseRunner.query:
        replies = [kernel.query(language.hello)]
    else:
        await kernel.upload(f"main{language.extensions[0]}", language.hello.encode())
        replies = [kernel.build(run="hello"), kernel.execute(run="hello")]
    results = [await reply.result() for reply in replies]
    for result in results:
        if result.exit_code != 0:
            return result.message or result.output or f"exit code {result.exit_code}"
    said = results[-1].stdout.strip()
    return "" if said == "hello" else f"its hello printed {said!r}"
