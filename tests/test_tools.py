"""A tool that is missing comes in; the test that needs it is skipped or fails, with advice."""

import pytest

from tests.tools import ALL_TOOLS_PROMISED, require_tool


@pytest.fixture(autouse=True)
def _no_tools_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv(ALL_TOOLS_PROMISED, raising=False)


def test_a_missing_tool_skips_and_names_the_packages() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"gcc \(apt install gcc libc6-dev\)"):
        require_tool("gcc")


def test_a_missing_tool_fails_where_all_are_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALL_TOOLS_PROMISED, "1")

    with pytest.raises(pytest.fail.Exception, match="gcc is promised but not installed"):
        require_tool("gcc")


def test_a_tool_without_a_package_says_so() -> None:
    with pytest.raises(pytest.skip.Exception, match="names no package for it"):
        require_tool("no-such-tool")
