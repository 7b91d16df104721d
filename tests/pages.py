"""A page of the documentation comes in; its files, commands and Python pieces are run and compared.

What a fenced block is, its first line says:

- a ``title="NAME"`` makes it a file of the page's folder; blocks of one name follow each other in
  it, and all files are there before anything is run;
- ``console``: lines that begin with ``$ `` are commands of bash (``> `` goes on with one), what
  follows is what they print, ``...`` is anything.  A command that ends with `` &`` goes on until
  the end of the page, and is waited for until it has printed what follows it;
- ``python``: run in order in one session, as in a notebook, so `await` needs no function; what it
  prints stands in comments behind its lines;
- any other (text, json, toml, ...): only shown; in ``sh``, where `make` and `pip` set the project
  up, their words are checked.
"""

import ast
import asyncio
import os
import re
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec

from tests.commanding import environment

PROJECT: Final = Path(__file__).parent.parent
PAGES: Final = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
COMMAND_SECONDS: Final = 40.0
FENCE: Final = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
INCLUDE: Final = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)
SAID: Final = re.compile(r"^ *(?:[^#\n]*  )?# (.*)$", re.MULTILINE)
"""What a piece of Python prints, behind the line that prints it or in lines of its own."""


class Block(msgspec.Struct, frozen=True):
    """One fenced block; `title` is empty when it is no file."""

    language: str
    title: str
    text: str


class Command(msgspec.Struct, frozen=True):
    """One line of a console, and what is printed after it."""

    line: str
    output: str

    @property
    def goes_on(self) -> bool:
        return self.line.endswith(" &")

    def matches(self, printed: str) -> bool:
        """Whether this was printed; the places of line breaks in a help text do not matter."""
        expected, found = self.output.strip(), printed.strip()
        if "--help" in self.line:
            return _words(expected) == _words(found)
        pieces = map(re.escape, expected.split("..."))
        return re.fullmatch(".*".join(pieces), found, re.DOTALL) is not None


def _words(help_text: str) -> Sequence[str]:
    """From Python 3.13 on ``-c CODE, --code CODE`` is written ``-c, --code CODE``."""
    return re.sub(r"(-\w) [A-Z]+, --", r"\1, --", help_text).split()


def blocks(page: Path) -> Sequence[Block]:
    text = INCLUDE.sub(lambda found: (PROJECT / found[1]).read_text(), page.read_text())
    return [Block(*found) for found in FENCE.findall(text)]


def commands(console: str) -> Iterator[Command]:
    """The commands of one console block.

    Raises:
        AssertionError: it begins with something else.
    """
    assert console.startswith("$ "), f"a console block begins with a command: {console!r}"
    for piece in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        first, *rest = piece.splitlines()
        line = [first]
        while rest and rest[0].startswith("> "):
            line.append(rest.pop(0)[2:])
        yield Command("\n".join(line), "\n".join(rest))


class Page:
    """One page while it is run.

    Args:
        folder: where its files are and its commands run.
        printed: gives what the Python of this process has printed since it was asked last.
    """

    def __init__(self, page: Path, folder: Path, printed: Callable[[], str]) -> None:
        self._blocks = blocks(page)
        self._folder = folder
        self._printed = printed
        self._names: dict[str, object] = {"__name__": "__main__"}
        self._exit_code = 0
        self._going_on: list[subprocess.Popen[str]] = []

    async def run(self) -> None:
        """All of it, in order.

        Raises:
            AssertionError: something printed something else.
        """
        self._write_files()
        try:
            for block in self._blocks:
                if block.title:
                    continue
                if block.language == "console":
                    for command in commands(block.text):
                        await asyncio.to_thread(self._carry_out, command)
                elif block.language == "python":
                    await self._evaluate(block.text)
        finally:
            await asyncio.to_thread(self._end_all)

    def _write_files(self) -> None:
        for block in self._blocks:
            if block.title:
                file = self._folder / block.title
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("a") as opened:
                    opened.write(block.text)

    def _carry_out(self, command: Command) -> None:
        if command.goes_on:
            self._start(command)
            return
        done = subprocess.run(
            # with the last exit code for $?
            ["bash", "-c", f"(exit {self._exit_code})\n{_strict(command.line)}"],
            cwd=self._folder,
            env=environment({"COLUMNS": "80"}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        self._exit_code = done.returncode
        assert command.matches(done.stdout), _difference(command, done.stdout)

    def _start(self, command: Command) -> None:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command.line.removesuffix(' &')}"],
            cwd=self._folder,
            env=environment({"COLUMNS": "80"}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._going_on.append(process)
        assert process.stdout is not None, "it is a pipe"
        printed = "".join(_lines(process.stdout, len(command.output.splitlines())))
        assert command.matches(printed), _difference(command, printed)

    async def _evaluate(self, code: str) -> None:
        """A piece with `await` runs on our loop; another one may have a loop of its own."""
        compiled = compile(code, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with _inside(self._folder):
            if compiled.co_flags & 0x80:  # it is a coroutine
                running = eval(compiled, self._names)
                assert isinstance(running, Awaitable)
                await running
            else:
                await asyncio.to_thread(exec, compiled, self._names)
        said, printed = "\n".join(SAID.findall(code)), self._printed()
        command = Command(code, said)
        assert command.matches(printed), _difference(command, printed)

    def _end_all(self) -> None:
        for process in self._going_on:
            process.terminate()
            process.communicate(timeout=COMMAND_SECONDS)


def _lines(stream: IO[str], count: int) -> Iterator[str]:
    for _ in range(count):
        yield stream.readline()


def _strict(line: str) -> str:
    """A warning is an error for programs of our own."""
    return re.sub(r"^python ", "python -W error ", line)


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _difference(command: Command, printed: str) -> str:
    return f"{command.line}\n--- is to print\n{command.output}\n--- printed\n{printed}"
