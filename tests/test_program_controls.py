"""What a client can do to a program that runs, beside ending it; and how its streams are chosen."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from kernel_runner.client import Kernel, Reply, RequestRefused, connect
from kernel_runner.messages import commands, events
from kernel_runner.messages.options import TaskOptions, Terminal
from tests.running import RunnerProcess, runner
from tests.wire import FAILURE_SECONDS

Talk = tuple[RunnerProcess, Kernel]


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[Talk]:
    async with runner(tmp_path) as started, connect(started.addresses["session"]) as kernel:
        yield started, kernel


def execute(kernel: Kernel, script: str, terminal: Terminal | None = None) -> Reply:
    return kernel.send(commands.Execute(script, TaskOptions(tty=terminal, stdin="stream")))


async def until(reply: Reply, text: bytes) -> None:
    heard = b""
    async with asyncio.timeout(FAILURE_SECONDS):
        while text not in heard:
            event = await anext(aiter(reply))
            heard += event.data if isinstance(event, events.Output) else b""


async def refusal(kernel: Kernel, command: commands.Command) -> str:
    with pytest.raises(RequestRefused) as refused:
        await kernel.send(command).answer()
    return refused.value.code


async def test_a_signal_reaches_the_group_of_the_program(talk: Talk) -> None:
    _, kernel = talk
    reply = execute(kernel, "trap 'echo got it; exit 5' USR1; echo ready; while :; do read x; done")
    await until(reply, b"ready")

    await kernel.send(commands.SendSignal("usr1", target=reply.id)).answer()
    result = await reply.result()

    assert result.output.endswith("got it\n")
    assert result.exit_code == 5


async def test_a_program_that_is_stopped_is_told_of_and_goes_on_at_a_signal(talk: Talk) -> None:
    _, kernel = talk
    reply = execute(kernel, "kill -STOP $$; echo on")

    async with asyncio.timeout(FAILURE_SECONDS):
        while not isinstance(event := await anext(aiter(reply)), events.Stopped):
            pass
    await kernel.send(commands.SendSignal("CONT")).answer()
    result = await reply.result()

    assert event.signal == "SIGSTOP"
    assert result.exit_code == 0
    assert result.stdout.endswith("on\n")


async def test_a_terminal_gets_another_size(talk: Talk) -> None:
    _, kernel = talk
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done"
    reply = execute(kernel, script, Terminal(24, 80))
    await until(reply, b"ready")

    await kernel.send(commands.Resize(50, 132)).answer()
    result = await reply.result()

    assert result.stdout.endswith("50 132\r\n")


async def test_what_fits_no_program_is_refused_with_a_code(talk: Talk) -> None:
    _, kernel = talk
    nothing = await refusal(kernel, commands.SendSignal("TERM"))
    reply = execute(kernel, "read y; echo ready; read x")
    await kernel.input("\n")  # it is taken once the program is there, so no control is too early
    await until(reply, b"ready")
    no_terminal = await refusal(kernel, commands.Resize(24, 80))
    no_signal = await refusal(kernel, commands.SendSignal("LUNCH"))
    other = await refusal(kernel, commands.SendSignal("TERM", target="another"))
    await kernel.eof()
    await reply.result()
    cell = kernel.query("print('ready'); input()")
    await until(cell, b"ready")
    query = await refusal(kernel, commands.SendSignal("USR1"))
    await kernel.interrupt()

    assert (nothing, no_terminal, no_signal) == ("not-running", "no-terminal", "bad-request")
    assert (other, query) == ("not-running", "not-running")


async def test_a_typed_interrupt_leaves_a_program_alone_that_reads_keys(talk: Talk) -> None:
    _, kernel = talk
    reply = execute(kernel, "stty raw -isig; echo ready; head -c 1 | od -c", Terminal(24, 80))
    await until(reply, b"ready")

    await kernel.send(commands.Interrupt(force=True, typed=True)).answer()
    await kernel.input("q")
    result = await reply.result()

    assert result.exit_code == 0
    assert "q" in result.stdout


@pytest.mark.parametrize(
    ("streams", "seen"),
    [
        (("stdin", "stdout", "stderr"), "0:tty 1:tty 2:tty"),
        (("stdout", "stderr"), "0:pipe 1:tty 2:tty"),
        (("stdin", "stderr"), "0:tty 1:pipe 2:tty"),
        (("stdout",), "0:pipe 1:tty 2:pipe"),
    ],
)
async def test_any_of_the_streams_can_be_the_terminal(
    talk: Talk, streams: tuple[str, ...], seen: str
) -> None:
    _, kernel = talk
    script = (
        "for fd in 0 1 2; do if test -t $fd; then what=tty; else what=pipe; fi;"
        ' printf "$fd:$what "; done; test -c /dev/tty && stty size < /dev/tty'
    )
    terminal = msgspec.convert({"rows": 30, "cols": 90, "streams": streams}, Terminal)

    result = await execute(kernel, script, terminal).result()

    assert result.output.split() == [*seen.split(), "30", "90"]


async def test_what_the_terminal_says_is_stderr_where_stdout_is_a_pipe(talk: Talk) -> None:
    _, kernel = talk
    terminal = Terminal(24, 80, ("stdin", "stderr"))

    result = await execute(kernel, "echo out; echo err >&2", terminal).result()

    assert (result.stdout, result.stderr) == ("out\n", "err\r\n")


async def test_named_sources_are_run_instead_of_those_that_are_found(talk: Talk) -> None:
    started, kernel = talk
    (started.work_dir / "main.py").write_text("print('main')")
    (started.work_dir / "Makefile").write_text("all:\n\techo made")
    (started.work_dir / "lib").mkdir()
    (started.work_dir / "lib" / "other.py").write_text("import sys; print(sys.argv)")

    result = await kernel.run(sources=["lib/other.py"], args=["x"]).result()
    missing = await kernel.run(sources=["none.py"]).result()

    assert result.stdout == "['lib/other.py', 'x']\n"
    assert missing.reason == "not-found"
    assert missing.message is not None
    assert missing.message.endswith("none.py: no such file")
