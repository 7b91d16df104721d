"""Programs with options of all kinds come in; what they print, and how they end, goes out."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel_runner.client import Kernel, connect
from kernel_runner.messages import events
from kernel_runner.messages.options import StdinMode
from tests.running import RunnerProcess, process_ended, runner

Talk = tuple[RunnerProcess, Kernel]


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[Talk]:
    async with runner(tmp_path) as started, connect(started.addresses["session"]) as kernel:
        yield started, kernel


@pytest.mark.parametrize("mode", ["batch", "query"])
async def test_a_part_of_a_line_that_was_flushed_comes_while_the_program_goes_on(
    talk: Talk, mode: str
) -> None:
    started, kernel = talk
    fifo = started.work_dir / "fifo"
    os.mkfifo(fifo)
    code = "print('part', end='', flush=True); open('fifo').read(); print(' whole')"

    reply = kernel.execute("printf part; cat fifo") if mode == "batch" else kernel.query(code)
    events_seen = aiter(reply)
    while not isinstance(event := await anext(events_seen), events.Output):
        pass
    await asyncio.to_thread(fifo.write_text, " whole\n")
    result = await reply.result()

    assert event.data == b"part"
    assert result.stdout == " whole\n"


async def test_a_cell_need_not_flush_for_its_output_to_come(talk: Talk) -> None:
    started, kernel = talk
    fifo = started.work_dir / "fifo"
    os.mkfifo(fifo)

    reply = kernel.query("print('part', end=''); open('fifo').read()")
    async for event in reply:
        if isinstance(event, events.Output):
            break
    await asyncio.to_thread(fifo.write_text, "x")
    await reply.result()

    assert event == events.Output("stdout", b"part")


@pytest.mark.parametrize("mode", ["batch", "query"])
async def test_50_mb_of_binary_with_split_characters_arrive_byte_for_byte(
    talk: Talk, mode: str
) -> None:
    started, kernel = talk
    block = "aé漢😀".encode() + bytes(range(256))
    count = 50_000_000 // len(block)
    write = f"sys.stdout.buffer.write({block!r} * 1000)"
    code = f"import sys\nfor _ in range({count // 1000}): x = {write}"
    (started.work_dir / "main.py").write_text(code)

    reply = kernel.execute() if mode == "batch" else kernel.query(code)
    heard = bytearray()
    async for event in reply:
        if isinstance(event, events.Output):
            heard += event.data

    assert bytes(heard) == block * (count // 1000 * 1000)


async def test_a_terminal_has_its_size_and_one_ordered_stream(talk: Talk) -> None:
    _, kernel = talk
    script = (
        "test -t 0 -a -t 1 -a -t 2 && stty size; for i in 1 2 3; do echo o$i; echo e$i >&2; done"
    )

    result = await kernel.execute(script, tty=(33, 99)).result()

    assert result.stdout == "33 99\r\no1\r\ne1\r\no2\r\ne2\r\no3\r\ne3\r\n"
    assert result.stderr == ""


async def test_tty_false_gives_pipes_and_no_terminal(talk: Talk) -> None:
    _, kernel = talk

    result = await kernel.execute(
        "test -t 1 || test -p /dev/stdout && echo pipe", tty=False
    ).result()

    assert result.stdout == "pipe\n"


async def test_without_a_terminal_programs_are_told_to_be_quiet_and_with_one_they_are_not(
    talk: Talk,
) -> None:
    _, kernel = talk

    quiet = await kernel.execute("echo $TERM $NO_COLOR $PAGER").result()
    asked = await kernel.execute("echo $TERM", env={"TERM": "xterm"}).result()
    person = await kernel.execute("echo [$NO_COLOR]", tty=(24, 80)).result()

    assert quiet.stdout == "dumb 1 cat\n"
    assert asked.stdout == "xterm\n"
    assert person.stdout == "[]\r\n"


async def test_args_env_and_cwd_reach_the_program(talk: Talk) -> None:
    started, kernel = talk
    (started.work_dir / "a b").mkdir()
    args = ["x y", "$HOME", ""]

    shell = await kernel.execute(
        'printf "[%s]" "$@"; echo $OWN $(basename "$PWD")', args=args, env={"OWN": "é"}, cwd="a b"
    ).result()
    (started.work_dir / "main.py").write_text("import sys; print(sys.argv[1:])")
    program = await kernel.execute(args=args).result()

    assert shell.stdout == "[x y][$HOME][]é a b\n"
    assert program.stdout == "['x y', '$HOME', '']\n"


async def test_options_for_programs_are_refused_for_a_cell(talk: Talk) -> None:
    _, kernel = talk

    refused = await kernel.query("1", cwd="x").result()

    assert (refused.exit_code, refused.reason) == (127, "bad-request")


async def test_a_cwd_that_is_not_there_ends_the_task_and_says_so(talk: Talk) -> None:
    _, kernel = talk

    result = await kernel.execute("echo no", cwd="nothing").result()

    assert result.reason == "not-found"
    assert result.stdout == ""
    assert "nothing" in str(result.message)


@pytest.mark.parametrize("stdin", ["prompt", "none", b""])
async def test_keep_background_lets_a_process_live_until_the_runner_ends(
    talk: Talk, stdin: StdinMode | bytes
) -> None:
    started, kernel = talk

    result = await kernel.execute("sleep 30 & echo hi", keep_background=True, stdin=stdin).result()
    await kernel.execute("true").result()
    await started.process_named("sleep")
    left = started.processes("sleep")
    for pid in left:
        os.kill(pid, 9)
        await process_ended(pid)

    assert result.stdout == "hi\n"
    assert len(left) == 1


@pytest.mark.parametrize("mode", ["batch", "query"])
async def test_a_wall_limit_ends_the_task_with_its_reason(talk: Talk, mode: str) -> None:
    _, kernel = talk
    await kernel.query("'the interpreter is there'").result()

    reply = (
        kernel.execute("sleep 30; echo no", wall_s=0.2)
        if mode == "batch"
        else kernel.query("x = 1\nimport time\ntime.sleep(30)", wall_s=0.2)
    )
    result = await reply.result()
    after = await kernel.query("print(x)" if mode == "query" else "print('on')").result()

    assert result.reason == "timeout"
    assert result.exit_code != 0
    assert result.stdout == ""
    assert 0.2 <= result.usage.wall_s < 5
    assert after.stdout in ("1\n", "on\n")


@pytest.mark.parametrize("mode", ["batch", "query"])
async def test_a_wall_limit_ends_what_ignores_its_signals_too(talk: Talk, mode: str) -> None:
    started, kernel = talk
    code = (
        "import signal, time\n"
        "for number in (signal.SIGINT, signal.SIGTERM):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "time.sleep(30)"
    )
    (started.work_dir / "main.py").write_text(code)

    reply = kernel.execute(wall_s=0.5) if mode == "batch" else kernel.query(code, wall_s=0.5)
    result = await reply.result()
    after = await kernel.query("print('on')").result()

    assert (result.exit_code, result.reason) == (137, "timeout")
    assert after.stdout == "on\n"


@pytest.mark.parametrize("mode", ["batch", "query"])
async def test_the_clock_of_a_limit_stands_while_a_prompt_is_open(talk: Talk, mode: str) -> None:
    _, kernel = talk

    reply = (
        kernel.execute("read line; echo got $line", wall_s=0.6)
        if mode == "batch"
        else kernel.query("print('got', input())", wall_s=0.6)
    )
    async for event in reply:
        if isinstance(event, events.WaitingInput):
            break
    await asyncio.sleep(1)  # longer than the limit
    await kernel.input("it\n")
    result = await reply.result()

    assert (result.stdout, result.reason) == ("got it\n", "completed")


async def test_a_limit_that_is_not_above_0_is_refused(talk: Talk) -> None:
    _, kernel = talk

    with pytest.raises(ValueError, match="wall_s has to be above 0, not 0"):
        kernel.execute("echo no", wall_s=0)


async def test_the_memory_of_a_query_is_not_that_of_the_ones_before(talk: Talk) -> None:
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("the kernel cannot reset a peak")
    _, kernel = talk

    much = await kernel.query("x = b'x' * (200 << 20); del x").result()
    little = await kernel.query("1").result()

    assert much.usage.max_rss_bytes > 200 << 20
    assert little.usage.max_rss_bytes < 150 << 20


async def test_the_usage_counts_the_whole_tree(talk: Talk) -> None:
    _, kernel = talk
    burn = "import time\nwhile time.process_time() < 0.3: pass"

    batch = await kernel.execute(f"sh -c \"python3 -c '{burn}'; true\"; echo four").result()
    query = await kernel.query(burn).result()

    assert 0.3 <= batch.usage.cpu_s < 5
    assert 0.2 <= query.usage.cpu_s < 5
    assert batch.usage.output_bytes == 5
    assert batch.usage.max_rss_bytes > 5 << 20
    assert query.usage.max_rss_bytes > 5 << 20


async def test_the_exit_code_of_a_signal_is_128_more_than_its_number(talk: Talk) -> None:
    _, kernel = talk

    events_seen = [event async for event in kernel.execute("kill -9 $$")]
    finish = events_seen[-1]

    assert isinstance(finish, events.Finished)
    assert (finish.exit_code, finish.signal, finish.reason) == (137, 9, "completed")


async def test_a_forced_interrupt_kills_at_once_and_the_finish_tells_the_rungs(talk: Talk) -> None:
    started, kernel = talk

    reply = kernel.execute("trap '' INT TERM; sleep 30")
    await started.process_named("sleep")
    await kernel.interrupt()
    await kernel.interrupt(force=True)
    finish = [event async for event in reply][-1]

    assert isinstance(finish, events.Finished)
    assert (finish.exit_code, finish.reason) == (137, "interrupted")
    assert finish.signals[-1] == "SIGKILL"
