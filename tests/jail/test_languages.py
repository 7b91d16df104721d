"""Every language that has a policy says hello inside of it."""

import sys
from pathlib import Path

import pytest

from kernel_runner.jail import plan
from kernel_runner.langs import c, python, shell
from tests.jail.test_command import run
from tests.tools import require_tool

BUILD_AND_RUN = "gcc -Wall main.c -o main && ./main"
QUEUE = """
import multiprocessing, subprocess, tempfile
def work(numbers): numbers.put(sum(range(10)))
if __name__ == "__main__":
    numbers = multiprocessing.Queue()
    child = multiprocessing.Process(target=work, args=(numbers,))
    child.start(); print(numbers.get()); child.join()
    with tempfile.TemporaryFile() as file: file.write(b"x")
    print(subprocess.run(["echo", "from below"], capture_output=True, text=True).stdout, end="")
"""


@pytest.mark.parametrize(
    ("policy", "name", "text", "command", "said"),
    [
        ("python", "main.py", python.Runner.hello, [sys.executable, "main.py"], "hello"),
        ("python", "main.py", QUEUE, [sys.executable, "main.py"], "45\nfrom below"),
        ("shell", "main.sh", shell.Runner.hello, ["bash", "main.sh"], "hello"),
        ("shell", "main.sh", "cat <<< here; sort <(echo a)", ["bash", "main.sh"], "here\na"),
        ("c", "main.c", c.Runner.hello, ["sh", "-c", BUILD_AND_RUN], "hello"),
    ],
    ids=["python", "python with processes", "shell", "shell with pipes", "c"],
)
def test_a_language_works_in_its_policy(
    policy: str, name: str, text: str, command: list[str], said: str, work: Path
) -> None:
    if policy == "c":
        require_tool("gcc")
    (work / name).write_text(text)

    ended = run("run", "--policy", policy, "--", *command, work=work)

    assert (ended.stdout.strip(), ended.returncode) == (said, 0), ended.stderr
    assert ended.stderr == ""
    assert plan.load(policy)["policy"] == f"jail-policies/{policy}.yml"
