"""`kernel-runner run` with limits: the program ends with a sentence that says which one."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

RUN = (str(Path(sys.executable).with_name("kernel-runner")), "run", "--lang", "python")
MANY = "for number in range(100_000): print(number)"

ENDED = {
    "--wall 0.5": ("import time; time.sleep(60)", "it ran longer than 0.5 s"),
    "--cpu 0.3": ("while True: pass", "it used more than 0.3 s of processor time"),
    "--memory 64M": (
        "kept = b'x' * 200_000_000; import time; time.sleep(60)",
        "it used more than 64 MiB of memory",
    ),
    "--output 1000": (MANY, "it wrote more than 1000 bytes of output"),
    "--processes 5": (
        "import subprocess\nfor _ in range(9): subprocess.Popen(['sleep', '9'])",
        "it had more than 5 processes and threads",
    ),
}


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RUN, *words], cwd=folder, input="", capture_output=True, text=True)


@pytest.mark.parametrize("limit", ENDED)
def test_a_program_beyond_its_limit_ends_and_is_told_why(tmp_path: Path, limit: str) -> None:
    code, sentence = ENDED[limit]

    done = run(tmp_path, *limit.split(), "-c", code)

    assert sentence in done.stderr
    exit_codes = {"--wall 0.5": 143, "--cpu 0.3": 143, "--memory 64M": 137}
    assert done.returncode == exit_codes.get(limit, done.returncode) != 0


def test_output_beyond_its_limit_is_left_out_when_the_program_is_to_go_on(tmp_path: Path) -> None:
    done = run(tmp_path, "--output", "100", "--on-output-limit", "drop", "-c", MANY)

    assert done.returncode == 0
    assert done.stdout.startswith("0\n1\n2\n")
    assert done.stdout.endswith("99998\n99999\n")
    assert len(done.stdout) == 100
    assert "588790 bytes of output (575 KiB) were left out here" in done.stderr


def test_a_file_has_at_most_its_size(tmp_path: Path) -> None:
    code = "with open('big', 'w') as file: file.write('x' * 5000)"
    done = run(tmp_path, "--file-size", "1K", "-c", code)

    assert "File too large" in done.stderr
    assert (tmp_path / "big").stat().st_size == 1024


def test_files_that_are_open_are_counted(tmp_path: Path) -> None:
    code = "kept = [open('/dev/null') for _ in range(50)]"
    done = run(tmp_path, "--open-files", "20", "-c", code)

    assert "Too many open files" in done.stderr


def test_time_in_which_a_program_waits_for_input_counts(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*RUN, "--wall", "0.5", "-c", "input()"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        told = process.stderr.read()

    assert "it ran longer than 0.5 s" in told
    assert process.returncode == 128 + signal.SIGTERM
