"""The reports of all tests come in; a list of the tools that were missing goes out."""

from collections import Counter

import pytest

from tests.tools import LEFT_OUT


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
