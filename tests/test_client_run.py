"""Files and steps come in; one reply has the events of all steps, and one result."""

import asyncio
import re
from pathlib import Path
from typing import cast

import pytest

from kernel_runner.client import (
    KernelClosed,
    Limits,
    LocalFileError,
    ProgramFailed,
    Progress,
    RequestRefused,
    RequestWithdrawn,
    launch,
)
from kernel_runner.client.options import QueuedOptions, task_options
from kernel_runner.messages import events
from tests.tools import require_tool
from tests.wire import FAILURE_SECONDS

HELLO_C = '#include <stdio.h>\nint main(void) { puts("hello"); return 3; }\n'


async def test_files_are_sent_built_and_run_in_one_go() -> None:
    require_tool("gcc")
    async with launch("c") as kernel:
        result = await kernel.run(files={"main.c": HELLO_C}).result()

    assert (result.step, result.stdout, result.exit_code) == ("exec", "hello\n", 3)
    assert [step.step for step in result.steps] == ["build", "exec"]
    assert result.build is not None
    assert result.build.ok


async def test_a_failed_build_is_the_result() -> None:
    require_tool("gcc")
    async with launch("c") as kernel:
        result = await kernel.run(files={"main.c": "int main(void) { nonsense }"}).result()

    assert (result.step, result.exit_code) == ("build", 1)
    assert "nonsense" in result.stderr
    assert result.build == result.steps[0]
    assert [step.reason for step in result.steps] == ["completed", "skipped"]
    with pytest.raises(ProgramFailed, match="the step 'build' ended with exit code 1") as failed:
        result.check()
    assert failed.value.step == "build"
    assert "nonsense" in str(failed.value)


async def test_the_steps_can_be_chosen_and_their_events_come_in_order() -> None:
    async with launch("shell") as kernel:
        reply = kernel.run(clean="echo clean", build="echo build", exec="echo exec", limits={})
        printed = [event.data async for event in reply if isinstance(event, events.Output)]
        result = await reply.result()
        only_built = await kernel.run(build="echo built", exec="").result()
        with pytest.raises(ValueError, match="does nothing"):
            kernel.run(build="", exec="")

    assert printed == [b"clean\n", b"build\n", b"exec\n"]
    assert [step.step for step in result.steps] == ["clean", "build", "exec"]
    assert result.stdout == ""  # what was iterated over is not kept
    assert (only_built.step, only_built.stdout, only_built.steps) == ("build", "built\n", ())


async def test_options_go_to_the_program() -> None:
    script = "read line; echo $1 $NAME $line; pwd; sleep 60"
    async with launch("shell") as kernel:
        await kernel.upload("inner/empty", "")
        result = await kernel.run(
            files={"main.sh": script},
            args=["one"],
            stdin=b"two\n",
            env={"NAME": "Ada"},
            cwd="inner",
            limits=Limits(wall_s=0.5),
        ).result()

    lines = result.stdout.splitlines()
    assert lines[0] == "one Ada two"
    assert lines[1].endswith("/inner")
    assert result.reason == "timeout"


async def test_a_folder_is_sent_and_comes_back_with_all_it_holds(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "a" / "b").mkdir(parents=True)
    (source / "a" / "b" / "data").write_bytes(bytes(range(256)))
    (source / "tool").write_text("#!/bin/sh\necho tool\n")
    (source / "tool").chmod(0o755)
    heard: list[Progress] = []
    async with launch("shell") as kernel:
        reply = kernel.run(files={"project": source}, exec="project/tool")
        result = await reply.result()
        await kernel.upload("project", source, on_progress=heard.append)
        await kernel.download_to("project", target)
        await kernel.download_to("project/tool", tmp_path / "one" / "tool")

    assert result.stdout == "tool\n"
    assert (target / "a" / "b" / "data").read_bytes() == bytes(range(256))
    assert (tmp_path / "one" / "tool").read_text() == (target / "tool").read_text()
    total = 256 + len("#!/bin/sh\necho tool\n")
    assert [(step.path, step.total_bytes) for step in heard] == [
        ("project/tool", total),
        ("project/a/b/data", total),
    ]
    assert heard[-1].done_bytes == total


async def test_what_cannot_be_sent_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    async with launch("shell") as kernel:
        with pytest.raises(LocalFileError, match="nothing: No such file"):
            kernel.run(files={"x": tmp_path / "nothing"})
        with pytest.raises(ValueError, match=r"limits: .*wall_seconds.*there are wall_s"):
            kernel.run(limits={"wall_seconds": 1})
        with pytest.raises(ValueError, match="stdin is 'prompt'"):
            kernel.query("x", stdin="text")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="text, bytes or a Path"):
            kernel.run(files={"x": 1})  # type: ignore[dict-item]
        status = await kernel.status()

    assert status.queue_length == 0


WRONG_OPTIONS: dict[str, tuple[dict[str, object], str]] = {
    "negative": ({"wall_s": -1}, "limits: wall_s has to be above 0, not -1"),
    "zero": ({"limits": {"processes": 0}}, "limits: processes has to be above 0, not 0"),
    "not a number": ({"wall_s": "x"}, "limits.wall_s: Expected `float"),
    "no limits": ({"limits": 5}, "an option has a value that it cannot have: "),
    "no size": ({"tty": (0, 0)}, "tty.rows: Expected `int` >= 1"),
    "too many sizes": ({"tty": (1, 2, ("stdin",), 4)}, "an option has a value"),
    "no text": ({"env": {"A": 1}}, "env[...]: Expected `str`, got `int`"),
    "no words": ({"args": [1]}, "args[0]: Expected `str`, got `int`"),
    "one word": ({"sources": "main.py"}, "sources is a sequence of words, not 'main.py'"),
    "path": ({"cwd": Path("x")}, "an option has a value that it cannot have: "),
}


@pytest.mark.parametrize("wrong", WRONG_OPTIONS)
def test_a_value_that_an_option_cannot_have_is_told_at_the_call(wrong: str) -> None:
    options, sentence = WRONG_OPTIONS[wrong]

    with pytest.raises(ValueError, match="^" + re.escape(sentence)):
        task_options(cast("QueuedOptions", options))


async def test_paths_are_names_too_and_what_has_none_is_told(tmp_path: Path) -> None:
    async with launch("shell") as kernel:
        await kernel.upload(Path("inner", "file"), "content")
        result = await kernel.run(build="", exec="cat inner/file").result()
        with pytest.raises(TypeError, match=r"names with what they hold .* not \['main.py'\]"):
            kernel.run(files=["main.py"])  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="the name of a file is text or a Path, not 5"):
            await kernel.upload(5, "content")  # type: ignore[arg-type]

    assert result.stdout == "content"


async def test_a_result_has_what_ended_it_and_what_was_raised() -> None:
    async with launch("python") as kernel:
        ended = await kernel.run(build="", exec="sleep 60", limits={"wall_s": 0.1}).result()
        raised = await kernel.query("1 / 0").result()

    assert (ended.reason, ended.signals, ended.traceback) == ("timeout", ("SIGTERM",), None)
    assert raised.traceback is not None
    assert raised.traceback.name == "ZeroDivisionError"


async def test_a_file_that_the_runner_refuses_fails_the_run_and_nothing_is_run() -> None:
    async with launch("shell") as kernel:
        with pytest.raises(RequestRefused, match="leads out"):
            await kernel.run(files={"../x": "x"}, exec="touch made").result()
        entries = await kernel.list_files()

    assert [entry.name for entry in entries] == []


async def test_a_run_can_be_cancelled_as_a_whole() -> None:
    async with launch("shell") as kernel:
        blocking = kernel.execute("trap 'exit 1' INT; echo ready; while :; do :; done")
        await anext(event async for event in blocking if isinstance(event, events.Output))
        waiting = kernel.run(build="touch built", exec="touch run")
        withdrawn = kernel.run(files={"x": "x"}, build="touch built", exec="touch run")
        await withdrawn.cancel()
        await waiting.cancel()
        await blocking.interrupt()
        await blocking.result()
        ended = await waiting.result()
        with pytest.raises(RequestWithdrawn):
            await withdrawn.result()
        with pytest.raises(RequestRefused):
            await blocking.interrupt()
        names = [entry.name for entry in await kernel.list_files()]

    assert [step.reason for step in ended.steps] == ["cancelled", "cancelled"]
    assert not {"built", "run"} & set(names)


async def test_an_interrupt_of_a_run_reaches_the_step_that_runs() -> None:
    async with launch("shell") as kernel:
        reply = kernel.run(build="trap 'exit 4' INT; echo ready; while :; do :; done", exec="true")
        await anext(event async for event in reply if isinstance(event, events.Output))
        await reply.interrupt()
        result = await reply.result()

    assert (result.step, result.exit_code, result.reason) == ("build", 4, "interrupted")


@pytest.mark.parametrize("is_async", [False, True])
async def test_prompts_are_answered_by_a_function(is_async: bool) -> None:
    asked: list[tuple[str, bool]] = []

    def answer(prompt: str, is_password: bool) -> str | None:
        asked.append((prompt, is_password))
        return {"Name? ": "Ada", "Word: ": "secret\n"}.get(prompt)

    async def answer_later(prompt: str, is_password: bool) -> str | None:
        await asyncio.sleep(0)
        return answer(prompt, is_password)

    code = (
        "import getpass\nprint('first')\nname = input('Name? ')\nword = getpass.getpass('Word: ')\n"
        "print(name, word)\ntry: input('More? ')\nexcept EOFError: print('no more')"
    )
    async with launch("python") as kernel, asyncio.timeout(FAILURE_SECONDS):
        result = await kernel.query(code).result(on_input=answer_later if is_async else answer)

    assert asked == [("Name? ", False), ("Word: ", True), ("More? ", False)]
    assert "Ada secret" in result.stdout
    assert result.stdout.endswith("no more\n")


async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    async with launch("shell") as kernel:
        reply = kernel.execute("echo before; read line; echo after")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reply.result()
        await kernel.input("\n")
        both = await asyncio.gather(reply.result(), reply.result())

    assert [result.stdout for result in both] == ["before\nafter\n"] * 2


async def test_a_closed_kernel_says_so() -> None:
    async with launch("shell") as kernel:
        open_reply = kernel.execute("sleep 60")
        preparing = kernel.run(files={"x": "x"})
    kernel.close()

    with pytest.raises(KernelClosed):
        await open_reply.result()
    with pytest.raises(KernelClosed):
        await kernel.query("1").result()
    with pytest.raises(KernelClosed):
        await kernel.status()
    with pytest.raises(KernelClosed):
        async with asyncio.timeout(FAILURE_SECONDS):
            await preparing.result()


async def test_a_result_is_short_to_look_at() -> None:
    async with launch("shell") as kernel:
        result = await kernel.execute("seq 1000; exit 2").result()

    assert repr(result) == ("<Result of exec: completed, exit code 2, 3,893 characters of output>")
