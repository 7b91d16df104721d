"""What goes wrong comes in, in both dialects; a defined end comes out, and the runner serves on."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.running import RunnerProcess, connected, conversation, runner
from tests.tools import require_tool
from tests.wire import AgentClient, Client, log_text

BOTH = ("agent", "session")


@pytest.fixture(params=BOTH)
async def talk(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[RunnerProcess, Client]]:
    """A Python runner and a client, in each dialect."""
    async with conversation(request.param, tmp_path) as (started, client):
        yield started, client


Talk = tuple[RunnerProcess, Client]


@pytest.mark.parametrize(
    ("death", "exit_code"),
    [
        ("os._exit(7)", 7),
        ("os.kill(os.getpid(), 9)", 137),
        ("import ctypes; ctypes.string_at(0)", 139),
    ],
    ids=["by _exit", "by SIGKILL", "by a segfault"],
)
async def test_an_interpreter_that_dies_ends_its_task_and_the_next_gets_a_new_one(
    talk: Talk, death: str, exit_code: int
) -> None:
    _, client = talk

    died = await client.run("code", f"import os; print('up', flush=True); {death}")
    after = await client.run("code", "print('os' in globals())")
    batch = await client.run("exec", "echo batch")

    assert (died.stdout, died.end) == (b"up\n", (exit_code, "crashed"))
    assert (after.stdout, after.end) == (b"False\n", (0, "completed"))
    assert (batch.stdout, batch.end) == (b"batch\n", (0, "completed"))


async def test_an_interpreter_that_is_killed_while_idle_is_replaced(talk: Talk) -> None:
    _, client = talk
    pids = await client.run("code", "import os; print(os.getpid(), os.getppid())")
    interpreter, keeper = map(int, pids.stdout.split())
    os.kill(interpreter, signal.SIGKILL)
    # a keeper that has ended, or is free for another program, has told the runner before
    while Path(f"/proc/{keeper}").exists():
        if int((await client.run("exec", "echo $PPID")).stdout) == keeper:
            break

    after = await client.run("code", "print('os' in globals())")

    assert (after.stdout, after.end) == (b"False\n", (0, "completed"))


async def test_sys_exit_in_a_cell_does_not_hang_the_queue(talk: Talk) -> None:
    _, client = talk

    left = await client.run("code", "import sys; x = 1; sys.exit(4)")
    after = await client.run("code", "print(x)")

    assert left.end == (4, "completed")
    assert (after.stdout, after.end) == (b"1\n", (0, "completed"))


async def test_an_interrupt_while_idle_does_not_hang_the_queue(talk: Talk) -> None:
    _, client = talk
    await client.run("code", "x = 1")

    await client.say("interrupt")
    after = await client.run("code", "print(x)")
    batch = await client.run("exec", "echo batch")

    assert (after.stdout, after.end) == (b"1\n", (0, "completed"))
    assert (batch.stdout, batch.end) == (b"batch\n", (0, "completed"))


async def test_an_interrupt_while_a_prompt_is_open_ends_the_task(talk: Talk) -> None:
    _, client = talk

    cell = await client.say("code", "input('? ')")
    await client.hear_until("waiting-input")
    await client.say("interrupt")
    ended = await client.hear_finish(cell)
    program = await client.say("exec", "read line; echo no")
    await client.hear_until("waiting-input")
    await client.say("interrupt")
    batch = await client.hear_finish(program)

    assert ended.end == (130, "interrupted")
    assert (batch.stdout, batch.end) == (b"", (130, "interrupted"))


async def test_an_interrupt_reaches_the_whole_tree_and_not_the_direct_child_alone(
    talk: Talk,
) -> None:
    started, client = talk
    script = "(sleep 30; echo no) | cat; sh -c 'sleep 30; echo no'; echo no"

    task = await client.say("exec", script)
    await started.process_named("sleep")
    await client.say("interrupt")
    ended = await client.hear_finish(task)

    assert (ended.stdout, ended.end) == (b"", (130, "interrupted"))
    assert started.processes("sleep") == []


async def test_a_program_that_left_its_group_is_interrupted_too(talk: Talk) -> None:
    started, client = talk

    task = await client.say("exec", "setsid sleep 30 & wait")
    await started.process_named("sleep")
    await client.say("interrupt")
    ended = await client.hear_finish(task)

    assert ended.finish["reason"] == "interrupted"
    assert started.processes("sleep") == []


async def test_a_background_process_neither_delays_the_finish_nor_survives_it(talk: Talk) -> None:
    started, client = talk

    daemon = await client.run("exec", "setsid sleep 30 & echo hi")

    assert (daemon.stdout, daemon.end) == (b"hi\n", (0, "completed"))
    assert daemon.finish["usage"]["wall_s"] < 10
    assert started.processes("sleep") == []
    assert [log for log in daemon.logs if "sleep" in log], "a log names what was ended"


async def test_the_log_names_background_processes_of_the_same_session(talk: Talk) -> None:
    _, client = talk

    left = await client.run("exec", "sleep 30 & echo hi")

    assert [log for log in left.logs if "sleep" in log], "a log names what was ended"


async def test_children_inherit_neither_the_standard_input_of_the_runner_nor_ignored_signals(
    tmp_path: Path,
) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"for the runner\n")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell's `&` does
    try:
        async with runner(tmp_path, stdin=reader) as started, connected(started) as client:
            signal.signal(signal.SIGINT, before)
            task = await client.say("exec", "cat")
            await client.hear_until("waiting-input")
            await client.say("eof")
            silent = await client.hear_finish(task)
            program = await client.run("exec", "grep SigIgn /proc/self/status")
            cell = await client.run("code", "print(open('/proc/self/status').read())")
    finally:
        signal.signal(signal.SIGINT, before)
        os.close(reader)
        os.close(writer)

    assert (silent.stdout, silent.end) == (b"", (0, "completed"))
    python_itself = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
    assert ignored_signals(program.stdout) == 0
    assert ignored_signals(cell.stdout) == python_itself


def ignored_signals(status: bytes) -> int:
    """As a mask; 32 and 33 are the C library's own, which GNU make hands down ignored."""
    line = next(line for line in status.decode().splitlines() if line.startswith("SigIgn:"))
    return int(line.split()[1], 16) & ~(0b11 << 31)


async def test_the_log_of_the_runner_comes_as_log_events_and_not_in_the_stderr_of_the_user(
    talk: Talk,
) -> None:
    _, client = talk

    task = await client.say("exec", "echo e >&2; read line")
    shown = await client.hear_output(b"e\n")
    if isinstance(client, AgentClient):
        await client.say("event", '{"type": "oom", "data": "victim"}')
    else:
        await client.say("event", type="oom", data="victim")
    logged = await client.hear_until("log")
    await client.say("interrupt")
    ended = await client.hear_finish(task)

    assert "oom" in log_text(logged)
    assert shown + ended.stderr == b"e\n"


async def test_two_sources_of_the_same_stem_in_two_folders_are_both_in_the_program(
    tmp_path: Path,
) -> None:
    require_tool("gcc")
    for folder, number in (("a", 1), ("b", 2)):
        path = tmp_path / "work" / folder / "part.c"
        path.parent.mkdir(parents=True)
        path.write_text(f"int {folder}(void) {{ return {number}; }}\n")
    main = "#include <stdio.h>\nint a(void), b(void);\nint main(void) { printf(%s, a(), b()); }"
    (tmp_path / "work" / "main.c").write_text(main % '"%d %d\\n"')

    async with conversation("session", tmp_path, "c") as (_, client):
        built = await client.run("build", "*", run="a")
        ran = await client.run("exec", "*", run="a")

    assert built.end == (0, "completed")
    assert ran.stdout == b"1 2\n"


@pytest.mark.parametrize("name", ["$(touch PWNED).py", "`touch PWNED`.py", "-c import os.py"])
async def test_file_names_never_reach_a_shell(tmp_path: Path, name: str) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / name).write_text("print('ran')\n")

    async with conversation("session", tmp_path) as (started, client):
        ran = await client.run("exec", "*")

    assert (ran.stdout, ran.end) == (b"ran\n", (0, "completed"))
    assert not (started.work_dir / "PWNED").exists()


async def test_a_body_of_100_mb_is_answered_and_the_runner_serves_on(talk: Talk) -> None:
    _, client = talk

    huge = await client.run("code", b"#" * 100_000_000)
    after = await client.run("exec", "echo ok")

    assert huge.end == (127, "bad-request")
    assert "100000000 bytes" in huge.finish["message"]
    assert after.stdout == b"ok\n"


BROKEN = """
from kernel_runner.langs._script import ScriptRunner

class Runner(ScriptRunner):
    extensions = (".x",)
    command = "sh"
    hello = ""

    async def execute_heuristic(self):
        raise RuntimeError("the hook is broken")

    async def query(self, code):
        return "no exit code"

    async def complete(self, request):
        raise RuntimeError("the hook is broken")

    async def interrupt(self, *, force):
        raise RuntimeError("the hook is broken")
"""


def install_broken_language(folder: Path) -> dict[str, str]:
    """The environment in which the language `broken` is installed as a plugin."""
    info = folder / "plugin" / "broken-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[kernel_runner.langs]\nbroken = broken_lang:Runner\n")
    (folder / "plugin" / "broken_lang.py").write_text(BROKEN)
    return {"PYTHONPATH": str(folder / "plugin")}


@pytest.mark.parametrize("dialect", BOTH)
async def test_a_hook_that_raises_ends_its_own_task_only(tmp_path: Path, dialect: str) -> None:
    env = install_broken_language(tmp_path)

    async with conversation(dialect, tmp_path, "broken", env=env) as (_, client):
        raised = await client.run("exec", "*")
        nonsense = await client.run("code", "x")
        after = await client.run("exec", "echo ok")

    assert raised.end == (1, "crashed")
    assert "the hook is broken" in raised.finish["message"]
    assert nonsense.end == (1, "crashed")
    assert (after.stdout, after.end) == (b"ok\n", (0, "completed"))


@pytest.mark.parametrize("dialect", BOTH)
async def test_a_hook_that_raises_at_once_is_answered_and_the_runner_serves_on(
    tmp_path: Path, dialect: str
) -> None:
    env = install_broken_language(tmp_path)

    async with conversation(dialect, tmp_path, "broken", env=env) as (_, client):
        if dialect == "agent":
            await client.say("complete", '{"code": "x"}')
        else:
            await client.say("complete", "x", cursor=1)
        answer = await client.hear_until("completion", "error")
        task = await client.say("exec", "echo up; exec sleep 1")
        await client.hear_output(b"up")
        await client.say("interrupt")
        await client.hear_finish(task)
        after = await client.run("exec", "echo ok")

    assert answer.fields.get("suggestions", []) == []
    assert (after.stdout, after.end) == (b"ok\n", (0, "completed"))


async def test_a_runner_with_no_peer_runs_on_and_gives_the_output_to_whoever_comes(
    tmp_path: Path,
) -> None:
    async with runner(tmp_path) as started:
        first = started.deaf_agent()
        await first.say("exec", "echo one; echo done > done")
        await started.file_made("done")
        first.open_events()
        heard = await first.hear_finish()
        first.close()

    assert (heard.stdout, heard.end) == (b"one\n", (0, "completed"))
