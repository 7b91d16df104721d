"""Languages, their tools and plugins come in; `kernel-runner langs` tells of them."""

import json
import time
from pathlib import Path

import pytest

from kernel_runner import langs
from tests.commanding import assert_one_sentence, command, shell
from tests.plugins import PLUGIN, plugin


def tool(folder: Path, name: str, script: str) -> dict[str, str]:
    """A program; the PATH on which it is the first one."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_every_language_is_a_line_with_its_names_modes_and_tool() -> None:
    done = command("langs")

    assert (done.returncode, done.stderr) == (0, "")
    heading, *lines = done.stdout.splitlines()
    assert heading.split() == ["NAME", "ALIASES", "ENDINGS", "MODES", "TOOL"]
    assert [line.split()[0] for line in lines] == list(langs.names())
    [python] = [line for line in lines if line.startswith("python")]
    assert "python3 py" in python
    assert ".py" in python
    assert "batch, query: kept state" in python
    assert "/python3)" in python


def test_json_has_the_same_for_programs() -> None:
    every = json.loads(command("langs", "--json").stdout)
    one = json.loads(command("langs", "py", "--json").stdout)

    assert [language["name"] for language in every] == list(langs.names())
    assert one in every
    assert (one["name"], one["batch"], one["query"]) == ("python", True, "kept state")
    assert (one["tool"]["command"], one["fault"]) == ("python3", None)
    assert one["tool"]["version"].startswith("3.")


def test_one_language_is_shown_by_any_of_its_names() -> None:
    done = command("langs", "bash")

    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split() == ["name", "shell"]


def test_an_unknown_language_is_told_with_the_nearest_one() -> None:
    assert_one_sentence(command("langs", "pyhton"), "'pyhton'", "did you mean python?")


def test_a_missing_tool_is_told_with_its_package(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = command("langs", "c", env={"PATH": str(tmp_path / "empty")})

    assert done.returncode == 0
    assert "gcc is missing: apt install gcc libc6-dev" in done.stdout


def test_a_tool_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    env = tool(tmp_path, "gcc", "setsid sleep 300 & sleep 300")
    env |= tool(tmp_path, "bash", "read line; echo bash 7.7; exec sleep 300")
    begin = time.monotonic()

    done = command("langs", "--json", env=env)

    versions = {one["name"]: one["tool"]["version"] for one in json.loads(done.stdout)}
    assert (versions["c"], versions["shell"]) == (None, "7.7")
    assert time.monotonic() - begin < 30


def test_a_tool_that_floods_or_cannot_be_run_is_listed(tmp_path: Path) -> None:
    env = tool(tmp_path, "gcc", "exec yes 2>&1") | tool(tmp_path, "bash", "")
    (tmp_path / "bash").write_text("#!/no/such/interpreter\n")

    done = command("langs", "--json", env=env)

    versions = {one["name"]: one["tool"]["version"] for one in json.loads(done.stdout)}
    assert (versions["c"], versions["shell"]) == ("y", None)


def test_a_plugin_is_a_language_by_its_name_and_alias(tmp_path: Path) -> None:
    env = plugin(tmp_path, "lingo")

    by_name = command("langs", "lingo", "--json", env=env)
    by_alias = command("langs", "lingo-alias", "--json", env=env)

    assert by_name.stdout == by_alias.stdout
    assert json.loads(by_name.stdout)["endings"] == [".lingo"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import no_such_module", "no_such_module"),
        ("1 / 0", "division by zero"),
        ("Runner = 5", "not a subclass of BaseRunner"),
        ("def Runner(): pass", "not a subclass of BaseRunner"),
        ("x = (", "was never closed"),
        ("other = 1", "Runner"),
        ("from kernel_runner import BaseRunner as Runner", "does not define build_heuristic"),
        (PLUGIN.replace('("{alias}",)', '"alias"'), "aliases of"),
    ],
)
def test_a_plugin_with_a_fault_is_listed_with_it_and_the_others_work(
    tmp_path: Path, text: str, fault: str
) -> None:
    env = plugin(tmp_path, "broken", text=text) | plugin(tmp_path, "working")

    listed = command("langs", env=env)
    other = command("langs", "working-alias", env=env)
    own = command("langs", "broken", env=env)

    assert (listed.returncode, other.returncode) == (0, 0)
    [line] = [line for line in listed.stdout.splitlines() if line.startswith("broken")]
    assert "not usable" in line
    assert fault in line
    assert_one_sentence(own, "'broken'", fault)


def test_two_languages_with_the_same_alias_or_ending_are_told(tmp_path: Path) -> None:
    env = plugin(tmp_path, "lingo", alias="py", ending=".c") | plugin(tmp_path, "c")

    done = command("langs", env=env)

    assert done.returncode == 0
    assert "'py' belongs to python, and lingo claims it too" in done.stderr
    assert "'.c' belongs to c, and lingo claims it too" in done.stderr
    assert "the name belongs to our own" in done.stdout
    assert json.loads(command("langs", "py", "--json", env=env).stdout)["name"] == "python"


def test_a_reader_that_leaves_early_ends_it_silently() -> None:
    for words in ("langs", "langs --json", "--help", "langs --help"):
        done = shell(f"kernel-runner {words} | true; echo ${{PIPESTATUS[0]}}")

        assert done.stdout.strip() in ("0", "141"), done
        assert done.stderr == ""


def test_a_full_disk_is_told() -> None:
    done = shell("kernel-runner langs > /dev/full", env={"PYTHONUNBUFFERED": ""})

    assert done.returncode == 2
    assert done.stderr == "kernel-runner: standard output: No space left on device\n"
