"""Plain calls come in, from any thread; the same comes out as from the client with `await`."""

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kernel_runner import client
from kernel_runner.client import KernelClosed, RunnerNotStarted, sync
from kernel_runner.messages import events


def test_a_query_a_run_and_files_without_await(tmp_path: Path) -> None:
    with sync.launch("python") as kernel:
        kernel.query("x = 41").result()
        result = kernel.query("print(x + 1)").result()
        printed = [event for event in kernel.query("print('a')") if event.type == "stdout"]
        run = kernel.run(files={"main.py": "print('run')"}).result().check()
        kernel.download_to("main.py", tmp_path / "copy.py")

    assert result.stdout == "42\n"
    assert printed == [events.Output("stdout", b"a\n")]
    assert run.stdout == "run\n"
    assert (tmp_path / "copy.py").read_text() == "print('run')"
    with pytest.raises(KernelClosed):
        kernel.status()
    kernel.close()


async def test_it_works_where_a_loop_runs_already() -> None:
    with sync.launch("python") as kernel:
        result = kernel.query("print(6 * 7)").result()

    assert result.stdout == "42\n"
    await asyncio.sleep(0)


def test_many_threads_use_one_kernel() -> None:
    with sync.launch("python") as kernel, ThreadPoolExecutor(8) as threads:
        results = list(
            threads.map(lambda number: kernel.query(f"print({number})").result(), range(40))
        )

    assert [result.stdout for result in results] == [f"{number}\n" for number in range(40)]


def test_prompts_are_answered_in_the_thread_that_waits() -> None:
    threads: list[threading.Thread] = []

    def answer(prompt: str, is_password: bool) -> str:
        threads.append(threading.current_thread())
        return f"{prompt}{is_password}"

    with sync.launch("python") as kernel:
        result = kernel.query("print('got', input('Name? '))").result(on_input=answer)

    assert result.stdout.endswith("got Name? False\n")
    assert threads == [threading.main_thread()]


def test_ctrl_c_ends_the_waiting_and_nothing_else() -> None:
    with sync.launch("python") as kernel:
        reply = kernel.query("print('busy', flush=True)\nprint(input('Go on? '))")
        assert reply.prompt() is not None
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            reply.result()
        timer.join()
        kernel.input("yes\n")
        result = reply.result()

    assert "busy" in result.stdout
    assert result.stdout.endswith("yes\n")


def test_a_runner_that_does_not_start_is_said_and_its_thread_ends() -> None:
    with pytest.raises(RunnerNotStarted, match="cobol"):
        sync.launch("cobol")

    assert [thread.name for thread in threading.enumerate()].count("kernel-runner") == 0


@pytest.mark.parametrize(
    "end",
    [
        "",
        "kernel.query('import time; time.sleep(600)')",
        "del kernel; import gc; gc.collect()",
        "1 / 0",
        "kernel.close()",
    ],
)
def test_a_kernel_that_nobody_closes_ends_with_the_interpreter(end: str) -> None:
    code = (
        "from kernel_runner.client import sync\nkernel = sync.launch('python')\n"
        f"print(kernel.status().pid, flush=True)\nkernel.upload('a', 'b')\n{end}"
    )
    script = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert not Path(f"/proc/{script.stdout.strip()}").exists()
    if end == "1 / 0":
        assert script.stderr.strip().endswith("ZeroDivisionError: division by zero")
    else:
        assert (script.stderr, script.returncode) == ("", 0)


def test_the_example_of_plain_calls_grades_a_program() -> None:
    example = Path(__file__).parent.parent / "examples" / "plain.py"
    run = subprocess.run(
        [sys.executable, "-W", "error", example], capture_output=True, text=True, timeout=50
    )

    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        "3: right",
        "-4: right",
        "five: ValueError: invalid literal for int() with base 10: 'five'",
    ]


def test_it_has_what_the_client_with_await_has() -> None:
    # of the loop that it hides
    users = {"come_back", "fail", "hello", "pause", "resume", "unread_bytes"}
    users |= {"expect", "forget", "keep"}  # for work that goes on without a client

    for theirs, ours in ((client.Kernel, sync.Kernel), (client.Reply, sync.Reply)):
        for name, method in inspect.getmembers(theirs, inspect.isfunction):
            if not name.startswith("_") and hasattr(ours, name):
                mine = inspect.signature(getattr(ours, name)).parameters
                assert [*mine] == [*inspect.signature(method).parameters]
    names = {name for name in dir(client.Kernel) if not name.startswith("_")}
    assert {name for name in names if not hasattr(sync.Kernel, name)} == users


def test_a_limit_that_is_set_counts() -> None:
    with sync.launch("shell") as kernel:
        kernel.reconnect_seconds = 3.0

        assert kernel.reconnect_seconds == 3.0
