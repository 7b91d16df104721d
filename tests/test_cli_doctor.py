"""A machine and languages come in; `kernel-runner doctor` tells what works and what to do."""

import json
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.commanding import COMMAND, assert_one_sentence, command, environment, shell
from tests.plugins import PLUGIN, plugin
from tests.tools import require_tool
from tests.wire import FAILURE_SECONDS


def checks(*words: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    """The exit code, and each check by its group and name."""
    done = command("doctor", *words, "--json", env=env)
    assert done.stderr == ""
    return done.returncode, {f"{c['group']}: {c['name']}": c for c in json.loads(done.stdout)}


def test_it_looks_at_kernel_terminal_limits_and_tools() -> None:
    exit_code, found = checks()

    assert exit_code == 0
    kernel = ("version", "cgroup v2", "seccomp", "Landlock", "user namespaces")
    limits = ("open files", "processes", "memory", "temporary space", "shared memory")
    names = {f"kernel: {name}" for name in kernel} | {f"limits: {name}" for name in limits}
    assert names | {"terminal: size", "tools: python", "tools: shell"} <= found.keys()
    assert all(check["state"] in ("ok", "warn", "missing") for check in found.values())
    assert all(check["hint"] for check in found.values() if check["state"] != "ok")
    assert "runner: python" not in found


def test_in_a_pipe_each_check_is_a_plain_line() -> None:
    done = command("doctor")

    heading, *lines = done.stdout.splitlines()
    assert heading.split() == ["STATE", "WHAT", "FOUND", "WHAT", "TO", "DO"]
    assert all(line.split()[0] in ("ok", "warn", "missing") for line in lines)
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("name", ["python", "shell", "c"])
def test_a_language_that_is_asked_for_is_started(name: str) -> None:
    if name == "c":
        require_tool("gcc")

    exit_code, found = checks(name)

    assert exit_code == 0
    assert found[f"runner: {name}"]["state"] == "ok"
    assert "said hello" in found[f"runner: {name}"]["found"]
    assert [check for check in found if check.startswith("tools")] == [f"tools: {name}"]


def test_a_language_whose_tool_is_missing_cannot_run(tmp_path: Path) -> None:
    exit_code, found = checks("c", "shell", env={"PATH": str(tmp_path)})

    assert exit_code == 1
    assert found["tools: c"]["state"] == found["runner: c"]["state"] == "missing"
    assert "apt install gcc libc6-dev" in found["tools: c"]["hint"]
    assert "gcc is not installed" in found["runner: c"]["found"]


def test_a_tool_that_does_not_do_its_work_is_found_by_the_start(tmp_path: Path) -> None:
    (tmp_path / "gcc").write_text("#!/bin/sh\necho gcc 1.2.3\nexit 9\n")
    (tmp_path / "gcc").chmod(0o755)

    exit_code, found = checks("c", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})

    assert exit_code == 1
    assert found["tools: c"]["state"] == "ok"
    assert found["runner: c"]["state"] == "missing"


def test_a_plugin_with_a_fault_cannot_run_and_is_no_harm_to_others(tmp_path: Path) -> None:
    env = plugin(tmp_path, "broken", text="1 / 0")

    asked = checks("broken", env=env)
    others = checks("shell", env=env)

    assert asked[0] == 1
    assert "division by zero" in asked[1]["runner: broken"]["found"]
    assert others[0] == 0


def test_a_plugin_without_query_mode_is_started_in_batch_mode(tmp_path: Path) -> None:
    text = PLUGIN.replace('hello = "hello"', 'hello = "echo hello"').format(
        alias="l", ending=".lingo", tool="sh"
    )

    exit_code, found = checks("lingo", env=plugin(tmp_path, "lingo", text=text))

    assert (exit_code, found["runner: lingo"]["state"]) == (0, "ok")


def test_what_is_too_little_is_told_with_what_to_do(tmp_path: Path) -> None:
    done = shell(
        "ulimit -n 200; kernel-runner doctor --json", env={"TMPDIR": str(tmp_path / "nowhere")}
    )

    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0
    assert (found["open files"]["state"], found["open files"]["found"]) == ("warn", "200")
    assert "ulimit -n 1024" in found["open files"]["hint"]
    assert found["temporary space"]["state"] == "missing"
    assert "TMPDIR" in found["temporary space"]["hint"]


def test_an_unknown_language_is_one_sentence_and_nothing_is_started() -> None:
    assert_one_sentence(command("doctor", "pyton"), "'pyton'", "did you mean python?")


@pytest.mark.parametrize(("extra", "colours"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_on_a_terminal_it_is_a_table_with_colours_unless_told_not_to(
    extra: dict[str, str], colours: bool
) -> None:
    own = {name: value for name, value in environment().items() if name not in ("NO_COLOR", "TMUX")}
    process = pexpect.spawn(
        COMMAND,
        ["doctor"],
        env={**own, "TERM": "xterm-256color", "LANG": "C.UTF-8", **extra},
        encoding="utf-8",
        timeout=FAILURE_SECONDS,
        dimensions=(60, 140),
    )
    process.expect(pexpect.EOF)
    process.close()
    screen = process.before or ""

    assert process.exitstatus == 0
    assert "60 lines" in screen
    assert ("\x1b[32m" in screen) == colours
