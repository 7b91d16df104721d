"""Fixtures of several files; the reports of all tests come in, the missing tools go out."""

import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import driver_peer, guarding, prompting
from tests.screen import Terminal
from tests.tools import LEFT_OUT

# Programs find the Python of the tests, with its packages, as a user's in a virtual environment.
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
# `make test` is not the parent of the makes that tests run.
for name in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS"):
    os.environ.pop(name, None)


@pytest.fixture
def control() -> Iterator[socket.socket]:
    """The control socket of a guardian."""
    with guarding.guardian() as control:
        yield control


@pytest.fixture
def pipe() -> Iterator[guarding.Pipe]:
    pipe = guarding.Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[driver_peer.Peer]:
    """A Python driver that is ready."""
    with driver_peer.started(tmp_path) as peer:
        yield peer


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def open_repl(tmp_path: Path, work: Path) -> Iterator[prompting.Open]:
    """Opens a prompt in a terminal of its own; the history is kept between two of a test."""
    opened: list[Terminal] = []

    def open_one(*words: str, prompt: str | None = None, **env: str) -> Terminal:
        private = {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path), **env}
        terminal = Terminal([*prompting.COMMAND, *words], cwd=work, env=private)
        opened.append(terminal)
        terminal.until_prompt(prompt or f"{words[0]}>")
        return terminal

    yield open_one
    for terminal in opened:
        terminal.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what was left out; read from the reports, so it holds with `-n` too."""
    left_out = Counter(
        reason.partition(LEFT_OUT)[2]
        for report in terminalreporter.getreports("skipped")
        if LEFT_OUT in (reason := _reason(report))
    )
    if not left_out:
        return
    terminalreporter.section("left out, because a tool is not installed")
    for tool, tests in sorted(left_out.items()):
        terminalreporter.write_line(f"{tool}: {tests} test{'s' if tests > 1 else ''}")
    terminalreporter.write_line("`make test-all` installs every tool and leaves nothing out.")


def _reason(report: pytest.TestReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
