"""User code that breaks what it stands on comes in; its task ends, and the next one runs."""

import signal
from pathlib import Path

import pytest

from tests.running import conversation
from tests.wire import Client

ONE_AND_NEXT = b"next\n"

CRASHES = {
    "a real-time signal": ("import os; os.kill(os.getpid(), 40)", (168, "crashed")),
    "commands closed": ("import os; os.close(3)", (70, "crashed")),
    "events replaced by a file": ("import os; os.close(4); file = open('f', 'w')", (70, "crashed")),
    "events replaced by stdout": ("import os; os.dup2(1, 4)", (70, "crashed")),
    "another program": ("import os; os.execv('/bin/sh', ['sh', '-c', 'exit 3'])", (3, "crashed")),
    "its keeper killed": (
        "import os, time; os.kill(os.getppid(), 9); time.sleep(60)",
        (137, "crashed"),
    ),
}

BUNDLE = "class Shown:\n    def _repr_mimebundle_(self, **_):\n        return {}\ndisplay(Shown())"


async def next_is_fine(client: Client) -> bool:
    after = await client.run("code", "print('next')")
    return (after.stdout, after.end) == (ONE_AND_NEXT, (0, "completed"))


@pytest.mark.parametrize("how", CRASHES)
async def test_an_interpreter_that_destroys_itself_ends_its_task_alone(
    tmp_path: Path, how: str
) -> None:
    code, end = CRASHES[how]
    async with conversation("session", tmp_path) as (_, client):
        died = await client.run("code", code)

        assert died.end == end
        assert await next_is_fine(client)


@pytest.mark.parametrize("name", ["Error", "OSError"])
async def test_an_error_with_a_text_that_is_no_unicode_ends_its_cell(
    tmp_path: Path, name: str
) -> None:
    async with conversation("session", tmp_path) as (_, client):
        failed = await client.run("code", f"Error = ValueError\nraise {name}('a\\udcff')")

        assert failed.end == (1, "error")
        assert failed.finish["traceback"]["value"] == "a\\udcff"
        assert await next_is_fine(client)


@pytest.mark.parametrize(
    "bundle", ["{'image/png': 'a'}", "{5: 'a'}"], ids=["bad base64", "no media type"]
)
async def test_an_object_that_cannot_be_shown_costs_a_log(tmp_path: Path, bundle: str) -> None:
    async with conversation("session", tmp_path) as (_, client):
        shown = await client.run("code", BUNDLE.format(bundle))

        assert shown.end == (0, "completed")
        assert "could not be shown" in "".join(shown.logs)
        assert await next_is_fine(client)


@pytest.mark.parametrize("frame", ["error 3\\nabc", "media 2\\n{}"])
async def test_a_frame_of_the_users_with_a_bad_body_costs_a_log(tmp_path: Path, frame: str) -> None:
    async with conversation("session", tmp_path) as (_, client):
        written = await client.run("code", f"import os; _ = os.write(4, b'{frame}')")

        assert (written.end, len(written.logs)) == ((0, "completed"), 1)
        assert await next_is_fine(client)


async def test_a_fork_of_a_fork_keeps_its_files_and_its_locks(tmp_path: Path) -> None:
    code = """
import os
if os.fork() == 0:
    files = [open('f', 'w') for _ in range(3)]
    if os.fork() == 0:
        print([os.fstat(file.fileno()).st_size for file in files], flush=True)
        os._exit(0)
    os.wait()
    os._exit(0)
_ = os.wait()
"""
    async with conversation("session", tmp_path) as (_, client):
        forked = await client.run("code", code)

    assert (forked.stdout, forked.stderr) == (b"[0, 0, 0]\n", b"")


async def test_a_cell_that_leaves_its_process_group_is_interrupted(tmp_path: Path) -> None:
    code = "import os; os.setpgid(0, os.getppid()); print('go', flush=True)\nwhile True: pass"
    async with conversation("session", tmp_path) as (started, client):
        request = await client.say("code", code)
        await client.hear_output(b"go")
        await client.say("interrupt")
        ended = await client.hear_finish(request)

        assert ended.end == (130, "interrupted")
        assert "Traceback" not in started.log


async def test_each_interrupt_takes_one_rung_and_none_is_taken_twice(tmp_path: Path) -> None:
    script = "trap '' INT TERM; echo go; while :; do sleep 1; done"
    async with conversation("session", tmp_path) as (_, client):
        request = await client.say("exec", script)
        await client.hear_output(b"go")
        for _ in range(100):
            await client.say("interrupt")
        ended = await client.hear_finish(request)

    assert ended.end == (137, "interrupted")
    assert ended.finish["signals"] == ["SIGINT", "SIGTERM", "SIGKILL"]


async def test_a_program_that_stops_its_keeper_can_be_interrupted(tmp_path: Path) -> None:
    async with conversation("session", tmp_path) as (_, client):
        request = await client.say("exec", "echo go; kill -STOP $PPID; exec sleep 600")
        await client.hear_output(b"go")
        await client.say("interrupt", force=True)

        assert (await client.hear_finish(request)).end == (137, "interrupted")


async def test_a_keeper_that_is_killed_takes_its_program_with_it(tmp_path: Path) -> None:
    script = "setsid sleep 600 & read line; kill -9 $PPID; sleep 600"
    async with conversation("session", tmp_path) as (_, client):
        request = await client.say("exec", script)
        await client.hear_until("waiting-input")
        await client.say("input", "on\n")
        died = await client.hear_finish(request)
        after = await client.run("exec", "echo next")

        assert (died.end[0], died.finish["signal"]) == (128 + signal.SIGKILL, signal.SIGKILL)
        assert after.stdout == ONE_AND_NEXT


SHELL_CELLS = {
    "IFS": "IFS=:",
    "functions named as builtins": "printf() { :; }; read() { :; }",
    "set -e after an exit": "set -e; exit 7",
    "a real-time signal": "kill -40 $$",
}


@pytest.mark.parametrize("how", SHELL_CELLS)
async def test_the_shell_runs_its_next_cell_after(tmp_path: Path, how: str) -> None:
    async with conversation("session", tmp_path, "shell") as (_, client):
        await client.run("code", SHELL_CELLS[how])
        after = await client.run("code", "echo next")

    assert (after.stdout, after.end) == (ONE_AND_NEXT, (0, "completed"))


async def test_a_trace_of_the_shell_shows_the_commands_of_the_user_alone(tmp_path: Path) -> None:
    async with conversation("session", tmp_path, "shell") as (_, client):
        await client.run("code", "set -x")
        failed = await client.run("code", "false")
        traced = await client.run("code", "echo $?")

    assert failed.stderr == b"++ false\n"
    assert (traced.stdout, traced.stderr) == (b"1\n", b"++ echo 1\n")
