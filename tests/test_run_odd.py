"""Odd words and folders for `kernel-runner run`; the program runs, or a sentence says why not."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.commanding import assert_one_sentence, command

PYTHON = ("run", "--lang", "python")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for what is detached; the name of a socket in it has to be short."""
    with TemporaryDirectory(prefix="home-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_code_runs_in_a_folder_that_says_it_can_be_written_to_and_cannot(
    home: Path, detach: tuple[str, ...]
) -> None:
    state = {"XDG_STATE_HOME": str(home)}
    done = command(*PYTHON, *detach, "-c", "print(6 * 7)", cwd=Path("/proc"), env=state)

    assert done.returncode == 0, done.stderr
    if detach:
        done = command("attach", done.stdout.strip(), env=state)
    assert (done.stdout, done.stderr) == ("42\n", "")


def test_bytes_that_are_no_text_reach_the_language_as_they_are(tmp_path: Path) -> None:
    words = ("run", "-l", "shell", "-c", "echo '" + os.fsdecode(b"\xff") + "' | od -An -tx1")
    done = command(*words, cwd=tmp_path)

    assert (done.stdout.split(), done.stderr) == (["ff", "0a"], "")


def test_an_empty_word_is_no_file(tmp_path: Path) -> None:
    assert_one_sentence(command("run", "", cwd=tmp_path), "the name of a file is empty")


@pytest.mark.parametrize("words", [("--detach",), ("--connect", "ipc://nowhere")])
def test_words_that_are_no_text_are_not_sent(
    tmp_path: Path, home: Path, words: tuple[str, ...]
) -> None:
    (tmp_path / "main.py").write_text("print('started')")
    odd = os.fsdecode(b"\xff")
    state = {"XDG_STATE_HOME": str(home)}

    done = command("run", *words, "main.py", "--", odd, cwd=tmp_path, env=state)

    assert_one_sentence(done, "'\\udcff' is not UTF-8, and can only be used here")
    assert_one_sentence(command("cancel", "ipc://nowhere", odd), "is not UTF-8")
