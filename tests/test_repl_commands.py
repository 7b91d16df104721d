"""Lines with a colon, pictures, and `kernel-runner repl` without a terminal."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.prompting import COMMAND, Open, pid_of_the_runner

# Commands -------------------------------------------------------------------------------------


def test_help_lists_the_commands(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.line(":help")
    repl.until("twice in a second")

    for name in (":upload", ":download", ":files", ":restart", ":queue", ":cancel", ":load"):
        assert re.search(f"^{name} ", repl.text, re.MULTILINE)


def test_files_go_to_the_runner_and_come_back(open_repl: Open, tmp_path: Path, work: Path) -> None:
    (tmp_path / "in.txt").write_text("uploaded")
    there = tmp_path / "there"
    there.mkdir()
    repl = open_repl("python", "--work-dir", str(there))

    repl.line(f":upload '{tmp_path}/in.txt' data/new.txt")
    repl.until("^uploaded data/new.txt$")
    repl.line("open('data/new.txt').read()")
    repl.until("^'uploaded'$")
    repl.line(":files data")
    repl.until("^ +8  new.txt$")
    repl.line(":download data/new.txt")
    repl.until("^saved as new.txt$")
    repl.line(":download data/new.txt")

    repl.until("^new.txt is here already")
    assert (work / "new.txt").read_text() == "uploaded"


def test_a_file_is_run_as_a_cell(open_repl: Open, work: Path) -> None:
    (work / "cell.py").write_text("loaded = 6 * 7\n")
    repl = open_repl("python")

    repl.line(":load cell.py")
    repl.until_prompt("python>")
    repl.line("loaded")

    repl.until("^42$")


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (":queu", "no command :queu; did you mean :queue?"),
        (":xyzzy", "no command :xyzzy; :help lists the commands"),
        (":upload", r"write :upload FILE \[NAME\]"),
        (":upload missing.txt", "missing.txt: No such file or directory"),
        (":load .", "Is a directory"),
        (":load 'open", ":load: No closing quotation"),
        (":download ../x", "leads out of the work directory"),
        (":cancel nothing", "nothing"),
        (":queue", "nothing runs and nothing waits"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(open_repl: Open, typed: str, told: str) -> None:
    repl = open_repl("shell")

    repl.line(typed)

    repl.until(f"^(?!shell>).*{told}")
    repl.until_prompt("shell>")


def test_restart_gives_a_new_runner(open_repl: Open) -> None:
    repl = open_repl("python")
    repl.line("x = 1")
    repl.until_prompt("python>")
    before = pid_of_the_runner(repl)

    repl.line(":restart")
    repl.until("a new runner is started")
    repl.until_prompt("python>")
    repl.line("x")

    repl.until("^NameError")
    assert pid_of_the_runner(repl) != before


def test_a_name_with_escape_sequences_does_not_steer_the_terminal(
    open_repl: Open, work: Path
) -> None:
    (work / "evil\x1b[2J").write_text("")
    repl = open_repl("shell")

    repl.line(":files")

    repl.until(r"evil\\x1b\[2J$")


# Pictures -------------------------------------------------------------------------------------

SHOW = "class P:\n def _repr_png_(self): return b'\\x89PNG\\r\\n\\x1a\\n' + b'0' * 99\ndisplay(P())"


def test_a_picture_is_drawn_where_the_terminal_can(open_repl: Open, work: Path) -> None:
    repl = open_repl("python", KITTY_WINDOW_ID="1")

    repl.paste(SHOW)
    repl.type("<escape>", "<enter>")
    repl.line("6 * 7")
    repl.until("^42$")

    assert b"\x1b_Ga=T,f=100,q=2,m=0;" in repl.raw
    assert list(work.iterdir()) == []


def test_a_picture_is_saved_and_named_elsewhere(open_repl: Open, work: Path) -> None:
    repl = open_repl("python")

    repl.paste(SHOW)
    repl.type("<escape>", "<enter>")

    repl.until(r"^\[saved as plot-1\.png\]$")
    assert (work / "plot-1.png").stat().st_size == 107


# Without a terminal ---------------------------------------------------------------------------


def piped(text: str, *words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *words], input=text, cwd=cwd, capture_output=True, text=True, timeout=30
    )


def test_piped_input_is_one_cell(work: Path) -> None:
    ended = piped("def f():\n    return 42\n\nprint(f())\n", "python", cwd=work)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "42\n", "")


def test_commands_cut_piped_input_into_cells(work: Path) -> None:
    (work / "a.txt").write_text("content")
    ended = piped("x = 1\n:upload a.txt b.txt\nopen('b.txt').read()", "python", cwd=work)

    assert (ended.returncode, ended.stdout) == (0, "'content'\n")
    assert ended.stderr == "uploaded b.txt\n"


def test_the_exit_code_tells_that_the_last_cell_failed(work: Path) -> None:
    ended = piped("1/0", "python", cwd=work)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_a_program_that_asks_finds_the_input_ended(work: Path) -> None:
    ended = piped("input()", "python", cwd=work)

    assert ended.returncode == 1
    assert "EOFError" in ended.stderr


def test_bytes_go_through_a_pipe_as_they_are(work: Path) -> None:
    cell = rb"printf '\377\033[31m'"

    shown = subprocess.check_output([*COMMAND, "shell"], input=cell, cwd=work, timeout=30)

    assert shown == b"\xff\x1b[31m"


def test_whoever_reads_the_output_may_leave(work: Path) -> None:
    command = f"echo 'yes' | {' '.join(COMMAND)} shell | head -n 1; true"

    ended = subprocess.run(
        ["sh", "-c", command], cwd=work, capture_output=True, text=True, timeout=30
    )

    assert (ended.stdout, ended.stderr) == ("y\n", "")


# Bad words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cobol"], "no language 'cobol'; known: "),
        ([], "which language? known: "),
        (["python", "--work-dir", "missing"], "--work-dir: missing: no such folder"),
        (["--connect", "tcp://127.0.0.1:1", "--work-dir", "."], "--work-dir: only for a runner"),
        (["--connect", "nowhere"], "'nowhere' is no address"),
    ],
)
def test_words_that_cannot_be_used_are_told_in_one_line(
    words: list[str], told: str, work: Path
) -> None:
    ended = piped("", *words, cwd=work)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"kernel-runner: {told}")
    assert ended.stderr.count("\n") == 1


def test_help_has_examples(work: Path) -> None:
    assert "kernel-runner repl python" in piped("", "--help", cwd=work).stdout
