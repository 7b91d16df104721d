"""Keys are typed in a real bash; the words that the script completes appear on its line."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pexpect
import pytest

from kernel_runner.cli.detached import RECORD, Detached
from tests.commanding import assert_one_sentence, command, environment
from tests.wire import FAILURE_SECONDS

TAB = "\t"


@pytest.fixture
def bash(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["pexpect.spawn[str]"]:
    """An interactive bash in a folder with some files, with the script read.

    Its user has detached some work.
    """
    home = tmp_path_factory.mktemp("home")
    work = Detached("train-3f2a", "ipc://nowhere", "session", "python", None, is_own=False)
    record = home / "kernel-runner" / "detached" / work.name / RECORD
    record.parent.mkdir(parents=True)
    record.write_bytes(msgspec.json.encode(work))
    for name in ("hello.py", "help.txt"):
        (tmp_path / name).touch()
    process = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile", "-i"],
        cwd=str(tmp_path),
        env={**environment({"XDG_STATE_HOME": str(home)}), "PS1": "ready> ", "TERM": "dumb"},
        encoding="utf-8",
        timeout=FAILURE_SECONDS,
        dimensions=(50, 200),
    )
    process.expect_exact("ready> ")
    process.sendline('eval "$(kernel-runner completion bash)"; echo "read"y')
    process.expect_exact("\nready\r\n")
    yield process
    process.close(force=True)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("kernel-runner sta", "kernel-runner status "),
        ("kernel-runner py", "kernel-runner python "),
        ("kernel-runner she", "kernel-runner shell "),
        ("kernel-runner attach tr", "kernel-runner attach train-3f2a "),
        ("kernel-runner status tr", "kernel-runner status train-3f2a "),
        ("kernel-runner cancel tr", "kernel-runner cancel train-3f2a "),
        ("kernel-runner repl --connect tr", "kernel-runner repl --connect train-3f2a "),
        ("kernel-runner status --js", "kernel-runner status --json "),
        ("kernel-runner langs py", "kernel-runner langs python "),
        ("kernel-runner doctor python sh", "kernel-runner doctor python shell "),
        ("kernel-runner serve she", "kernel-runner serve shell "),
        ("kernel-runner serve shell --work", "kernel-runner serve shell --work-dir "),
        ("kernel-runner shell --work", "kernel-runner shell --work-dir "),
        ("kernel-runner completion zs", "kernel-runner completion zsh "),
        ("kernel-runner status --address-file hel", "kernel-runner status --address-file hel"),
        ("kernel-runner run hell", "kernel-runner run hello.py "),
        ("kernel-runner run --lang py", "kernel-runner run --lang python "),
    ],
)
def test_bash_completes_commands_options_languages_and_files(
    bash: "pexpect.spawn[str]", typed: str, completed: str
) -> None:
    bash.send(typed + TAB)

    bash.expect_exact(completed)


def test_two_tabs_list_what_is_possible(bash: "pexpect.spawn[str]") -> None:
    bash.send("kernel-runner c" + TAB + TAB)

    bash.expect("c +cancel +completion +connect")


@pytest.mark.parametrize(
    ("shell", "part"),
    [
        ("bash", "complete -o nospace -o default -o bashdefault -F"),
        ("zsh", "#compdef kernel-runner"),
        ("fish", "complete --command kernel-runner"),
    ],
)
def test_each_shell_gets_a_script(shell: str, part: str) -> None:
    done = command("completion", shell)

    assert (done.returncode, done.stderr) == (0, "")
    assert part in done.stdout


def test_another_shell_or_none_is_one_sentence() -> None:
    assert_one_sentence(command("completion", "tcsh"), "'tcsh'", "'bash', 'zsh', 'fish'")
    assert_one_sentence(command("completion"), "SHELL")


def test_without_its_package_what_to_install_is_told(tmp_path: Path) -> None:
    (tmp_path / "argcomplete.py").write_text("raise ImportError\n")

    done = command("completion", "bash", env={"PYTHONPATH": str(tmp_path)})

    assert_one_sentence(done, "pip install 'kernel-runner[cli]'")
