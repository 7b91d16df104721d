"""`make demo`: what a new user sees first works, and says so."""

import subprocess
import sys
from pathlib import Path

from tests.tools import require_tool

DEMO = Path(__file__).parent.parent / "examples" / "demo.py"


def test_the_demo_runs_both_languages_and_all_comes_back_in_order() -> None:
    require_tool("gcc")

    demo = subprocess.run(
        [sys.executable, "-W", "error", DEMO], capture_output=True, text=True, timeout=50
    )

    assert demo.stderr == ""
    assert demo.returncode == 0
    said = [
        line.partition("  back ")[2].partition(" ")[2].strip() for line in demo.stdout.splitlines()
    ]
    assert [text for text in said if text and not text.startswith("stderr")] == [
        "stdout: What is your name?",
        "stdout: Good to meet you, Ada.",
        "finished: completed, exit code 0",
        "finished: completed, exit code 0",
        "stdout: 'kept state'",
        "finished: completed, exit code 0",
        "stdout: busy",
        "finished: interrupted, exit code 130",
        "stdout: 2",
        "finished: completed, exit code 0",
        "clean-finished: completed, exit code 0",
        "build-finished: completed, exit code 0",
        "stdout: 12 * 12 is 144.",
        "finished: completed, exit code 0",
        "stdout: main.c",
        "finished: completed, exit code 3",
    ]
    assert demo.stdout.endswith("\nAll came back in order.\n")
