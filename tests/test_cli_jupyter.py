"""`kernel-runner jupyter`: what it installs, lists and removes, and what it refuses."""

import json
from pathlib import Path

import pytest

from tests.commanding import assert_one_sentence, command


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    return str(tmp_path)


def listed() -> list[dict[str, object]]:
    found = json.loads(command("jupyter", "list", "--json").stdout)
    assert isinstance(found, list)
    return found


def test_what_is_installed_is_listed_until_it_is_removed(prefix: str) -> None:
    words = ("python", "shell", "--", "--limits", "memory=1G")
    done = command("jupyter", "install", "--prefix", prefix, *words)

    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "kernel-runner-python",
        "kernel-runner-shell",
    ]
    folder = f"{prefix}/share/jupyter/kernels/kernel-runner-python"
    assert listed()[0] == {
        "name": "kernel-runner-python",
        "language": "python",
        "folder": folder,
        "options": ["--limits", "memory=1G"],
    }
    assert command("jupyter", "remove", "python").stdout == (
        f"kernel-runner-python is removed from {folder}\n"
    )
    assert [one["language"] for one in listed()] == ["shell"]


def test_a_kernel_says_how_it_is_started_and_interrupted(prefix: str) -> None:
    command("jupyter", "install", "--prefix", prefix, "shell")

    file = Path(prefix, "share/jupyter/kernels/kernel-runner-shell/kernel.json")
    spec = json.loads(file.read_text())
    assert spec["interrupt_mode"] == "message"
    assert spec["language"] == "shell"
    assert spec["argv"][1:6] == ["-m", "kernel_runner.jupyter", "shell", "-f", "{connection_file}"]


def test_kernels_of_others_are_neither_listed_nor_removed(prefix: str) -> None:
    folder = Path(prefix, "share/jupyter/kernels/kernel-runner-python")
    folder.mkdir(parents=True)
    spec = {"argv": ["true"], "display_name": "Not ours", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))

    assert listed() == []
    assert_one_sentence(command("jupyter", "remove", "python"), "not installed as a kernel: python")


def test_a_folder_that_cannot_be_written_is_told(prefix: str) -> None:
    assert_one_sentence(command("jupyter", "install", "--prefix", "/proc", "shell"), "try --user")
