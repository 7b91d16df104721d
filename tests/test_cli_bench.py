"""`kernel-runner bench` measures this machine; what it shows is checked, never the figures."""

import json
from pathlib import Path

import pytest

from kernel_runner.cli.bench import Figure, number
from tests.commanding import command
from tests.tools import require_tool


def tool(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_each_figure_is_a_line_beside_its_floor() -> None:
    done = command("bench", "--quick")

    assert (done.returncode, done.stderr) == (0, "")
    heading, *lines = done.stdout.splitlines()
    assert heading.split() == ["WHAT", "UNIT", "HERE", "FLOOR", "HERE/FLOOR", "FLOOR", "IS"]
    assert [line.partition("  ")[0] for line in lines[:4]] == [
        "python: start to first result",
        "python: query 1+1",
        "python: 200,000 lines",
        "python: interrupt",
    ]
    assert [line for line in lines if line.startswith("shell: hello world ")]


def test_json_has_numbers_and_a_language_whose_tool_fails_is_left_out(tmp_path: Path) -> None:
    tool(tmp_path, "gcc", "exit 1")

    done = command("bench", "--quick", "--json", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})

    assert done.returncode == 0
    assert done.stderr.startswith("kernel-runner: c is left out: ")
    figures = json.loads(done.stdout)
    assert [sorted(figure) for figure in figures] == [
        ["floor", "floor_is", "here", "unit", "what"]
    ] * len(figures)
    assert all(figure["here"] > 0 < figure["floor"] for figure in figures)
    assert "c: hello world" not in [figure["what"] for figure in figures]


def test_a_compiled_language_is_built_before_it_is_measured() -> None:
    require_tool("gcc")

    done = command("bench", "--quick", "--json")

    assert "c: hello world" in [figure["what"] for figure in json.loads(done.stdout)]


def test_ratios_are_ours_over_the_floor() -> None:
    figure = Figure("trip", "ms", 3.0, 1.5, "pipe")

    assert figure.cells == ("trip", "ms", "3", "1.5", "2", "pipe")


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (12.34, "12.3"), (1234.5, "1,234")]
)
def test_numbers_have_three_digits_or_all_before_the_point(value: float, text: str) -> None:
    assert number(value) == text
