"""Query mode by kernels of Jupyter: ipykernel, xeus-python, calysto_scheme and bash_kernel."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from kernel_runner.client import Kernel, Result, events, launch
from tests.guarding import ends, watch
from tests.plugins import plugin

KERNELS = ("python3", "xpython", "calysto_scheme", "bash")
ANSWER = {
    "python3": ("x = 41", "x + 1"),
    "xpython": ("x = 41", "x + 1"),
    "calysto_scheme": ("(define x 41)", "(+ x 1)"),
    "bash": ("x=41", "echo $((x + 1))"),
}
WRONG = {
    "python3": ("1 / 0", "ZeroDivisionError: division by zero"),
    "xpython": ("1 / 0", "ZeroDivisionError: division by zero"),
    "calysto_scheme": ("(car 3)", "car called on non-pair"),
    "bash": ("ls /nowhere", "No such file"),
}
DEATH = {
    "python3": "import os; os._exit(3)",
    "xpython": "import os; os._exit(3)",
    "calysto_scheme": '(import "os") (os._exit 3)',
    "bash": "kill -KILL $PPID",
}
PICTURE = """
from IPython.display import display
display({"image/png": "cG5n", "text/html": "<b>", "application/json": {"a": 1}}, raw=True)
"""


@pytest.fixture(autouse=True)
def bash_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its package brings no kernelspec; one of our own is found beside those that are installed."""
    folder = tmp_path / "jupyter" / "kernels" / "bash"
    folder.mkdir(parents=True)
    argv = [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Bash", "language": "bash"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))


async def query(kernel: Kernel, code: str) -> Result:
    return await kernel.query(code).result()


async def until_printed(reply: object, text: bytes) -> None:
    async for event in reply:  # type: ignore[attr-defined]
        if isinstance(event, events.Output) and text in event.data:
            return


@pytest.mark.parametrize("name", KERNELS)
async def test_a_kernel_keeps_state_tells_errors_and_is_replaced_when_it_dies(name: str) -> None:
    async with launch(f"jupyter:{name}") as kernel:
        await query(kernel, ANSWER[name][0])
        assert (await query(kernel, ANSWER[name][1])).stdout == "42\n"

        code, text = WRONG[name]
        wrong = await query(kernel, code)
        assert (wrong.exit_code, wrong.reason) == (1, "error")
        assert text in wrong.output

        dead = await query(kernel, DEATH[name])
        assert dead.reason == "crashed"
        assert f"the {name} interpreter" in (dead.message or "")
        await query(kernel, ANSWER[name][0])
        assert (await query(kernel, ANSWER[name][1])).stdout == "42\n"


@pytest.mark.parametrize("name", ["python3", "xpython"])
async def test_a_question_is_asked_behind_what_was_printed(name: str) -> None:
    asked: list[tuple[str, bool]] = []

    def answer(prompt: str, is_password: bool) -> str:
        asked.append((prompt, is_password))
        return "Ada"

    code = "import getpass\nprint('first')\nprint(input('Name? ') + getpass.getpass('Word? '))"
    async with launch(f"jupyter:{name}") as kernel:
        result = await kernel.query(code).result(on_input=answer)

    assert asked == [("Name? ", False), ("Word? ", True)]
    assert result.stdout == "first\nName? Word? AdaAda\n"


async def test_given_input_and_its_end_are_read() -> None:
    code = "print(input() + input())\ntry:\n    input()\nexcept EOFError:\n    print('the end')"
    async with launch("jupyter:python3") as kernel:
        result = await kernel.query(code, stdin=b"a\nb\n").result()

    assert result.stdout == "ab\nthe end\n"


@pytest.mark.parametrize(
    ("name", "code", "kept"),
    [
        ("python3", "import time\nprint('busy', flush=True)\nwhile True: time.sleep(0.01)", "x"),
        ("bash", "echo busy; while :; do :; done", "echo $x"),
    ],
)
async def test_an_interrupt_keeps_the_state(name: str, code: str, kept: str) -> None:
    async with launch(f"jupyter:{name}") as kernel:
        await query(kernel, "x=42")
        reply = kernel.query(code)
        await until_printed(reply, b"busy")

        await reply.interrupt()

        assert (await reply.result()).reason == "interrupted"
        assert (await query(kernel, kept)).stdout == "42\n"


async def test_code_is_completed_inspected_and_judged() -> None:
    async with launch("jupyter:python3") as kernel:
        await query(kernel, "number = 1")

        assert "number" in await kernel.complete("x = numb")
        assert "Print" in await kernel.inspect("print")
        assert await kernel.is_complete("for i in x:") == "incomplete"
        assert await kernel.is_complete("1 +* 2") == "invalid"


async def test_what_is_shown_comes_in_all_its_representations() -> None:
    async with launch("jupyter:python3") as kernel:
        [shown] = (await query(kernel, PICTURE)).media

    assert shown.data == {
        "image/png": b"png",
        "text/html": "<b>",
        "application/json": '{"a": 1}',
    }


async def test_what_is_shown_can_be_updated_and_taken_away() -> None:
    code = """
from IPython.display import clear_output, display
handle = display(1, display_id="count")
handle.update(2)
clear_output()
"""
    async with launch("jupyter:python3") as kernel:
        heard = [event async for event in kernel.query(code)]

    shown = [event for event in heard if isinstance(event, events.Media)]
    assert [(one.data["text/plain"], one.display_id, one.update) for one in shown] == [
        ("1", "count", False),
        ("2", "count", True),
    ]
    assert events.ClearOutput(wait=False) in heard


async def test_results_and_errors_come_as_data_when_they_are_asked_for_so() -> None:
    async with launch("jupyter:python3") as kernel:
        good = await kernel.query("6 * 7", as_data=True).result()
        reply = kernel.query("1 / 0", as_data=True)
        bad, finish = await reply.result(), await reply.answer()

    assert (good.output, [one.is_result for one in good.media]) == ("", [True])
    assert bad.output == ""
    assert isinstance(finish, events.Finished)
    assert finish.traceback is not None
    assert "1 / 0" in finish.traceback.text


async def test_nothing_is_lost_for_a_client_that_reads_late() -> None:
    lines = 100_000
    async with launch("jupyter:python3", options=["--max-pending-bytes=65536"]) as kernel:
        kernel.pause()
        reply = kernel.query(f"for number in range({lines}): print(number, '.' * 50)")
        await asyncio.sleep(1)  # so long it is as if the client had stopped
        kernel.resume()
        result = await reply.result()

    assert [line.split()[0] for line in result.stdout.splitlines()] == [*map(str, range(lines))]


async def test_a_limit_interrupts_and_keeps_the_state() -> None:
    async with launch("jupyter:python3") as kernel:
        await query(kernel, "x = 42")

        result = await kernel.query("while True: pass", wall_s=0.5).result()

        assert result.reason == "timeout"
        assert (await query(kernel, "x")).stdout == "42\n"


async def test_a_name_has_to_be_exact() -> None:
    async with launch("jupyter:Python3") as kernel:
        result = await query(kernel, "1")

    assert result.reason == "not-found"
    assert "no Jupyter kernel 'Python3' is installed; there are: " in (result.message or "")


async def test_there_is_no_batch_mode() -> None:
    async with launch("jupyter:python3") as kernel:
        assert (await kernel.execute().result()).reason == "unsupported"
        assert (await kernel.execute("echo shell").result()).stdout == "shell\n"


async def test_nothing_of_a_kernel_outlives_its_runner() -> None:
    async with launch("jupyter:python3") as kernel:
        pid = int((await query(kernel, "import os; os.getpid()")).stdout)
        process = watch(pid)

    assert ends(process)


@pytest.mark.slow
async def test_a_kernel_whose_heart_stops_is_replaced() -> None:
    async with launch("jupyter:python3") as kernel:
        pid = int((await query(kernel, "import os; os.getpid()")).stdout)
        reply = kernel.query("import time\nprint('busy', flush=True)\ntime.sleep(600)")
        await until_printed(reply, b"busy")
        await asyncio.sleep(3)  # it has to beat in this cell first

        os.kill(pid, signal.SIGSTOP)

        assert (await reply.result()).reason == "crashed"
        assert (await query(kernel, "1")).stdout == "1\n"


async def test_a_language_is_a_few_lines(tmp_path: Path) -> None:
    text = """
from kernel_runner import JupyterRunner

class Runner(JupyterRunner):
    kernel = "calysto_scheme"
    command = "python3"
    hello = '(display "hello")'
"""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    env = plugin(plugins, "scheme", text=text)
    path = ":".join(filter(None, [env["PYTHONPATH"], os.environ.get("PYTHONPATH")]))

    async with launch("scheme", env={**os.environ, "PYTHONPATH": path}) as kernel:
        assert (await query(kernel, '(display "hello")')).stdout == "hello"
