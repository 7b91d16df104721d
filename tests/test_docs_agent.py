"""The guide for agents: the Python of the page comes in, and it prints what the page says."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "agent.md"


def blocks(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S))


def test_the_program_of_the_guide_prints_what_the_guide_says(tmp_path: Path) -> None:
    program = tmp_path / "guide.py"
    program.write_text(blocks("python"))

    done = subprocess.run(
        [sys.executable, "-W", "error", program], capture_output=True, text=True, timeout=50
    )

    assert done.returncode == 0, done.stderr
    printed = re.sub(r"run '[0-9a-f]{16}'", "run '...'", done.stdout)
    assert printed.splitlines() == [line for line in blocks("text").splitlines() if line]
