"""`kernel-runner run file.ipynb`: cells in order, their outputs shown or written into a file."""

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat

from tests.commanding import COMMAND, assert_one_sentence, command
from tests.screen import Terminal

v4: Any = nbformat.v4


def notebook(folder: Path, *cells: str, language: str = "python", **tags: Sequence[str]) -> Path:
    """A file of code cells behind one of text; `tags` are those of the cell `c1`, `c2`, ..."""
    node = v4.new_notebook(metadata={"language_info": {"name": language}})
    node.cells = [v4.new_markdown_cell("# Title")]
    for number, source in enumerate(cells, 1):
        metadata = {"tags": list(tags.get(f"c{number}", ()))}
        node.cells.append(v4.new_code_cell(source, metadata=metadata))
    file = folder / "book.ipynb"
    file.write_text(v4.writes(node))
    return file


def outputs(file: Path) -> list[list[dict[str, Any]]]:
    cells = json.loads(file.read_text())["cells"]
    return [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]


def test_outputs_are_written_back_in_place(tmp_path: Path) -> None:
    file = notebook(tmp_path, "x = 6", "print('a')\nprint('b')\nx * 7", "open('made', 'w')")
    file.chmod(0o640)

    done = command("run", "--in-place", str(file))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    first, second, _ = outputs(file)
    assert first == []
    stream, result = second
    assert "".join(stream["text"]) == "a\nb\n"
    assert (result["output_type"], result["data"]) == ("execute_result", {"text/plain": ["42"]})
    assert result["execution_count"] == 2
    assert file.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "made").exists()  # cells run where the notebook is


def test_the_file_itself_stays_as_it_was_when_another_is_written(tmp_path: Path) -> None:
    file, there = notebook(tmp_path, "1 + 1"), tmp_path / "done.ipynb"
    before = file.read_text()

    done = command("run", "--save-as", str(there), str(file))

    assert (done.returncode, done.stderr, file.read_text()) == (0, "", before)
    assert outputs(there)[0][0]["data"] == {"text/plain": ["2"]}


def test_without_a_file_to_write_outputs_are_shown(tmp_path: Path) -> None:
    file = notebook(
        tmp_path, "import sys; print('out'); print('err', file=sys.stderr)", "[1, 2]", "'é'"
    )

    done = command("run", str(file))

    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n[1, 2]\n'é'\n", "err\n")


def test_the_first_error_stops_it_and_what_came_until_then_is_written(tmp_path: Path) -> None:
    file = notebook(tmp_path, "print('before')", "1 / 0", "print('behind')")

    done = command("run", "--in-place", str(file))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "kernel-runner: cell 2 of 3 failed: ZeroDivisionError: division by zero\n"
    )
    first, second, third = outputs(file)
    assert first[0]["text"] == ["before\n"]
    assert (second[0]["output_type"], second[0]["ename"]) == ("error", "ZeroDivisionError")
    assert third == []


def test_errors_that_are_allowed_or_expected_do_not_stop_it(tmp_path: Path) -> None:
    allowed = notebook(tmp_path, "1 / 0", "print('behind')")
    assert command("run", "--allow-errors", str(allowed)).stdout == "behind\n"

    expected = notebook(tmp_path, "1 / 0", "print('behind')", c1=["raises-exception"])
    done = command("run", str(expected))
    assert (done.returncode, done.stdout) == (0, "behind\n")


def test_a_cell_that_is_to_be_left_out_is_not_run(tmp_path: Path) -> None:
    file = notebook(tmp_path, "print('one')", "print('two')", c1=["skip-execution"])

    assert command("run", str(file)).stdout == "two\n"


def test_the_language_is_the_notebooks_own(tmp_path: Path) -> None:
    file = notebook(tmp_path, "x=5", "echo $((x + 1))", language="bash")

    assert command("run", str(file)).stdout == "6\n"


def test_a_language_that_is_not_ours_is_run_by_its_jupyter_kernel(tmp_path: Path) -> None:
    file = notebook(tmp_path, "(define x 41)", "(+ x 1)", language="scheme")
    node = json.loads(file.read_text())
    node["metadata"]["kernelspec"] = {"name": "calysto_scheme", "display_name": "Scheme"}
    file.write_text(json.dumps(node))

    done = command("run", str(file))

    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")


def test_limits_are_those_of_each_cell(tmp_path: Path) -> None:
    file = notebook(tmp_path, "import time; time.sleep(0.1)", "while True: pass")

    done = command("run", "--wall", "0.5", str(file))

    assert done.returncode == 1
    assert "cell 2 of 2 failed: timeout: it ran longer than 0.5 s" in done.stderr


def test_ctrl_c_interrupts_the_cell_and_keeps_what_came(tmp_path: Path) -> None:
    file = notebook(tmp_path, "print('kept')", "open('busy', 'w')\nwhile True: pass", "1")
    running = subprocess.Popen([COMMAND, "run", "--in-place", str(file)], stderr=subprocess.PIPE)
    with running:
        while not (tmp_path / "busy").exists():
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        running.wait(30)

    assert running.returncode == 130
    first, second, third = outputs(file)
    assert first[0]["text"] == ["kept\n"]
    assert second[-1]["ename"] == "KeyboardInterrupt"
    assert third == []


def test_progress_is_told_on_a_terminal(tmp_path: Path) -> None:
    file = notebook(tmp_path, "x = 1", "import time  # slow\ntime.sleep(1.5)")
    terminal = Terminal([COMMAND, "run", str(file)], cwd=tmp_path, env={})
    try:
        terminal.until("cell 2 of 2: import time  # slow")
    finally:
        terminal.close()


def test_what_cannot_be_run_is_told_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "bad.ipynb"
    file.write_text("{}")
    assert_one_sentence(command("run", str(file)), "is not a notebook")
    file.write_text("no JSON")
    assert_one_sentence(command("run", str(file)), "is not a notebook")
    good = str(notebook(tmp_path, "1"))
    assert_one_sentence(command("run", good, "--in-place", "--save-as", "x.ipynb"), "either")
    assert_one_sentence(command("run", good, "--", "word"), "a notebook is run alone")
    assert_one_sentence(command("run", "-l", "python", "-c", "1", "--in-place"), "are for .ipynb")
    node = json.loads(Path(good).read_text())
    node["metadata"] = {}
    Path(good).write_text(json.dumps(node))
    assert_one_sentence(command("run", good), "does not say its language")
