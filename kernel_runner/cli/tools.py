"""Languages come in; what is known of each goes out: its tool, where it is, which version.

Each tool is asked in a thread of its own, with nothing to read and a limit.
"""

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Literal

import msgspec

from kernel_runner import langs
from kernel_runner.base import BaseRunner
from kernel_runner.errors import BrokenLanguage
from kernel_runner.langs._compiled import CompiledRunner
from kernel_runner.langs._interpreter import InterpreterRunner

VERSION_SECONDS: Final = 5.0
VERSION_BYTES: Final = 4_096

QueryMode = Literal["kept state", "compile and run", "stateless"]


class Tool(msgspec.Struct, frozen=True):
    """The interpreter or compiler; `path` is None when it is not installed."""

    command: str
    path: str | None
    version: str | None
    package: str
    """The Debian package that brings it."""

    @property
    def advice(self) -> str:
        """How it is installed."""
        package = f"apt install {self.package}" if self.package else "install it"
        return f"{package}, so that {self.command} is on the PATH"

    @property
    def summary(self) -> str:
        """Its version and place, or that it is missing and how it is got."""
        if self.path is None:
            return f"{self.command} is missing: {self.advice}"
        return f"{self.version or 'version unknown'} ({self.path})"


class Language(msgspec.Struct, frozen=True):
    """One language; with a `fault` nothing else of it is known."""

    name: str
    aliases: Sequence[str] = ()
    endings: Sequence[str] = ()
    batch: bool = False
    query: QueryMode | None = None
    tool: Tool | None = None
    fault: str | None = None

    @property
    def modes(self) -> str:
        """What it can do, in words."""
        words = (["batch"] if self.batch else []) + ([f"query: {self.query}"] if self.query else [])
        return ", ".join(words)


def described(languages: Sequence[tuple[str, langs.Loaded]]) -> Sequence[Language]:
    """All that is known of these languages; their tools are asked at the same time."""
    with ThreadPoolExecutor(max_workers=len(languages) or 1) as threads:
        return list(threads.map(lambda one: _describe(*one), languages))


def _describe(name: str, language: langs.Loaded) -> Language:
    if isinstance(language, BrokenLanguage):
        return Language(name, fault=str(language))
    path = shutil.which(language.command)
    version = version_of([path, *language.version_args]) if path else None
    return Language(
        name,
        tuple(language.aliases),
        tuple(language.extensions),
        batch=True,
        query=_query_mode(language),
        tool=Tool(language.command, path, version, language.package),
    )


def _query_mode(language: type[BaseRunner]) -> QueryMode | None:
    if language.query is BaseRunner.query:
        return None
    if issubclass(language, InterpreterRunner):
        return "kept state"
    return "compile and run" if issubclass(language, CompiledRunner) else "stateless"


def version_of(argv: Sequence[str]) -> str | None:
    """The first number with a dot that the program prints, or its first line; None when none."""
    text = _first_words(argv).decode(errors="replace").strip()
    if found := re.search(r"\d+(?:\.\d+)+", text):
        return found.group()
    return text.splitlines()[0][:60] if text else None


def _first_words(argv: Sequence[str]) -> bytes:
    """What a program prints within the limit; then it is killed, with all of its group."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",  # a shell that misses its folder would say so first
        )
    except OSError:
        return b""
    assert process.stdout is not None, "it is a pipe"
    words, deadline = b"", time.monotonic() + VERSION_SECONDS
    try:
        while len(words) < VERSION_BYTES and (left := deadline - time.monotonic()) > 0:
            if not select.select([process.stdout], [], [], left)[0]:
                break
            if not (more := os.read(process.stdout.fileno(), VERSION_BYTES)):
                break
            words += more
    finally:
        process.stdout.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return words
