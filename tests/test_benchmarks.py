"""`make bench`: two cheap subjects are measured to their end.  The figures prove nothing."""

import subprocess
import sys
from pathlib import Path

from benchmarks.rounds import OURS, PEER, Effort, Summary, interleave, summarize
from benchmarks.table import Row, as_markdown, as_text

PROJECT = Path(__file__).parent.parent


def test_a_quick_run_of_some_subjects_prints_a_table_and_writes_it_as_markdown(
    tmp_path: Path,
) -> None:
    markdown = tmp_path / "figures.md"

    options = ["--quick", "--rounds", "1", "--markdown", str(markdown)]
    bench = subprocess.run(
        [sys.executable, "-m", "benchmarks", "batch", "client", *options],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert bench.stderr == "measuring batch ...\nmeasuring client ...\n"
    assert bench.returncode == 0
    for what in ('exec "true"', "hello world, python", "status through the client"):
        assert any(line.startswith(f"{what} ") for line in bench.stdout.splitlines()), what
    assert '| exec "true" | per s |' in markdown.read_text(encoding="utf-8")


def test_a_missed_target_is_shown_and_ratios_are_ours_over_theirs() -> None:
    figures = {OURS: Summary(3.0, 4.5), PEER: Summary(12.0), "floor": Summary(1.5)}
    row = Row("trip", "ms", figures, "2 ms", False, ["a note"])

    assert row.cells() == (
        *("trip", "ms", "3 (p99 4.5)", "12", "0.25", "floor 1.5 (x2)", "2 ms", "MISSED"),
    )
    assert as_text([row]).endswith("\n\ntrip: a note")
    assert as_markdown([row]).splitlines()[2].startswith("| trip | ms | 3 (p99 4.5) | 12 |")


def test_a_figure_is_the_median_of_the_rounds_medians() -> None:
    assert summarize([[1, 1, 100], [2, 2, 2], [90, 3, 3]]) == Summary(2)


def test_a_p99_is_given_only_where_a_round_has_a_hundred_samples() -> None:
    assert summarize([[1.0] * 99]).p99 is None
    assert summarize([[1.0] * 100]).p99 == 1.0


async def test_contenders_take_turns() -> None:
    turns: list[str] = []

    async def ours() -> list[float]:
        turns.append("ours")
        return [1]

    async def floor() -> list[float]:
        turns.append("floor")
        return [2]

    figures = await interleave({"ours": ours, "peer": None, "floor": floor}, rounds=2)

    assert turns == ["ours", "floor"] * 2
    assert figures == {"ours": Summary(1), "floor": Summary(2)}


def test_a_quick_effort_takes_fewer_samples_but_at_least_one() -> None:
    assert Effort(rounds=1).of(20) == 20
    assert Effort(rounds=1, divisor=10).of(20) == 2
    assert Effort(rounds=1, divisor=10).of(3) == 1
