"""The cases of tests/langs/cases/python, each run by a real runner with each shell."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests import cases
from tests.case_player import Player
from tests.running import connected, runner
from tests.wire import SessionClient

FILES = sorted((cases.FOLDER / "python").glob("*.cases"))
SHELLS = ("plain", "ipython")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_what_comes_from_a_cell_is_what_its_case_says(
    file: Path, shell: str, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    if shell == "ipython":
        pytest.importorskip("IPython")
    env = {"MPLCONFIGDIR": str(tmp_path / "mpl"), "IPYTHONDIR": str(tmp_path / "ipython")}
    async with runner(tmp_path, "python", f"--query-shell={shell}", env=env) as started:
        for case in cases.read(file):
            with subtests.test(case.name):
                if not case.is_for(shell):
                    continue
                for module in case.settings.get("needs", "").split():
                    if importlib.util.find_spec(module) is None:
                        pytest.skip(f"{module} is not installed")
                async with connected(started) as client:
                    assert isinstance(client, SessionClient)
                    await Player(client).play(case)


def test_there_are_at_least_120_cells_and_no_name_twice() -> None:
    found = [case for file in FILES for case in cases.read(file)]

    assert sum(1 for case in found for _ in case.cells) >= 120
    assert len({case.name for case in found}) == len(found)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("print(1)\n", "x.cases:1: a file begins with"),
        ("=== a\nfoo: bar\n--- cell\n", "x.cases:2: here may stand"),
        ("=== a\n--- cel\n", "x.cases:2: 'cel' is none of"),
        ("=== a\n--- stdout\n", "x.cases:1: a case begins with"),
        ("=== a\n--- cell\n--- stdout exactly\n", "x.cases:3: behind stdout"),
    ],
)
def test_a_file_that_cannot_be_understood_is_told_with_its_line(
    text: str, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.cases"
    file.write_text(text)

    with pytest.raises(cases.BadCase, match=complaint):
        cases.read(file)
