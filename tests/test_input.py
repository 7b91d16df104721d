"""Programs that wait for input come in, each in its own way; the client is asked, and answers."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel_runner.client import Kernel, RequestRefused, connect
from kernel_runner.client.reply import Reply
from kernel_runner.messages import events
from tests.running import runner
from tests.tools import require_tool

NODE_LINES = """
const lines = require('readline').createInterface({input: process.stdin});
process.stdout.write('? ');
lines.on('line', (line) => { console.log('got ' + line); lines.close(); });
"""
NODE_BLOCKING = """
process.stdout.write('? ');
const data = Buffer.alloc(99), size = require('fs').readSync(0, data);
console.log('got ' + data.toString('utf8', 0, size).trim());
"""
ASYNCIO = """
import asyncio, sys
async def main():
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    print('? ', end='', flush=True)
    print('got', (await reader.readline()).decode().strip())
asyncio.run(main())
"""
SELECT = """
import os, select
print('? ', end='', flush=True)
select.select([0], [], [])
print('got', os.read(0, 99).decode().strip())
"""
POLL = """
import os, select
poll = select.poll()
poll.register(0, select.POLLIN)
print('? ', end='', flush=True)
poll.poll()
print('got', os.read(0, 99).decode().strip())
"""
JAVA = """
class Ask {
    public static void main(String[] words) {
        System.out.print("? ");
        System.out.println("got " + new java.util.Scanner(System.in).nextLine());
    }
}
"""
PROGRAMS = {
    "sh": ("printf '? '; read line; echo got $line", ""),
    "bash": ("bash ask", "printf '? '; read line; echo got $line"),
    "perl": ("perl ask", "$| = 1; print '? '; my $line = <STDIN>; print \"got $line\""),
    "node with readline": ("node ask", NODE_LINES),
    "node that blocks": ("node ask", NODE_BLOCKING),
    "python input": ("python3 ask", "print('got', input('? '))"),
    "python asyncio": ("python3 ask", ASYNCIO),
    "python select": ("python3 ask", SELECT),
    "python poll": ("python3 ask", POLL),
    "cat to cat": ("printf '? '; cat | cat | sed -u 's/^/got /'", ""),
    "java": ("java Ask.java", JAVA),
    "a grandchild": (
        'sh -c "sh -c \'printf \\"? \\"; read line; echo got \\$line\'; true"; true',
        "",
    ),
}
UNCERTAIN = ("node with readline", "python asyncio", "python select", "python poll")


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[Kernel]:
    async with runner(tmp_path) as started, connect(started.addresses["session"]) as connected:
        yield connected


async def asked(reply: Reply) -> tuple[events.WaitingInput, bytes]:
    """The next question, and the stdout before it."""
    stdout = b""
    async for event in reply:
        match event:
            case events.WaitingInput():
                return event, stdout
            case events.Output(type="stdout", data=data):
                stdout += data
            case events.Finished():
                break
    raise AssertionError(f"it did not ask; stdout: {stdout!r}")


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_that_waits_is_seen_with_its_prompt_shown_before(
    kernel: Kernel, tmp_path: Path, name: str
) -> None:
    command, source = PROGRAMS[name]
    require_tool(command.split()[0] if source else "sh")
    if source:
        (tmp_path / "work" / command.split()[-1]).write_text(source)

    reply = kernel.execute(command)
    waiting, prompt = await asked(reply)
    echoed = b""
    await kernel.input("it\n")
    if name == "cat to cat":
        _, echoed = await asked(reply)
        await kernel.eof()
    result = await reply.result()

    assert prompt == b"? "
    assert waiting.certain == (name not in UNCERTAIN)
    assert not waiting.is_password
    assert echoed.decode() + result.stdout == "got it\n"
    assert result.exit_code == 0


async def test_c_stdio_shows_its_prompt_without_a_newline(tmp_path: Path) -> None:
    require_tool("gcc")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "main.c").write_text(
        "#include <stdio.h>\nint main(void) { int n;"
        ' printf("number? "); scanf("%d", &n); printf("%d\\n", 2 * n); }'
    )

    async with (
        runner(tmp_path, "c") as started,
        connect(started.addresses["session"]) as kernel,
    ):
        await kernel.build().result()
        reply = kernel.execute()
        _, prompt = await asked(reply)
        await kernel.input("21\n")
        result = await reply.result()

    assert prompt == b"number? "
    assert result.stdout == "42\n"


@pytest.mark.parametrize("mode", ["batch", "query"])
async def test_a_password_prompt_is_told_from_another(
    kernel: Kernel, tmp_path: Path, mode: str
) -> None:
    code = "import getpass\nprint(len(getpass.getpass('secret? ')), input('name? '))"
    (tmp_path / "work" / "main.py").write_text(code)

    reply = kernel.execute() if mode == "batch" else kernel.query(code)
    secret, prompt = await asked(reply)
    await kernel.input("hidden\n")
    name, _ = await asked(reply)
    await kernel.input("bob\n")
    result = await reply.result()

    assert (secret.is_password, name.is_password) == (True, False)
    assert prompt == b"secret? "
    assert result.stdout.endswith("6 bob\n")
    assert "hidden" not in result.output


async def test_a_read_with_echo_off_in_bash_is_a_password_prompt(kernel: Kernel) -> None:
    reply = kernel.execute("bash -c 'read -s line; echo got $line'")
    waiting, _ = await asked(reply)
    await kernel.input("it\n")
    result = await reply.result()

    assert waiting.is_password
    assert result.stdout == "got it\n"


@pytest.mark.parametrize("mode", ["batch", "query"])
async def test_eof_ends_the_input_of_what_waits(kernel: Kernel, mode: str) -> None:
    code = "try:\n    input()\nexcept EOFError:\n    print('end')"

    reply = kernel.execute("cat; echo end") if mode == "batch" else kernel.query(code)
    await asked(reply)
    await kernel.eof()
    result = await reply.result()

    assert (result.stdout, result.exit_code) == ("end\n", 0)


@pytest.mark.parametrize("mode", ["batch", "query"])
async def test_given_bytes_are_the_whole_input(kernel: Kernel, mode: str) -> None:
    code = "import sys\nprint(input(), repr(sys.stdin.read()))"

    reply = (
        kernel.execute("cat; echo end", stdin=b"one\ntwo")
        if mode == "batch"
        else kernel.query(code, stdin=b"one\ntwo")
    )
    result = await reply.result()

    wanted = "one\ntwoend\n" if mode == "batch" else "one 'two'\n"
    assert (result.stdout, result.exit_code) == (wanted, 0)


async def test_a_megabyte_of_given_bytes_reaches_a_program_that_reads_slowly(
    kernel: Kernel,
) -> None:
    data = bytes(range(256)) * 4_096

    result = await kernel.execute("sleep 0.1; md5sum", stdin=data).result()

    assert result.stdout.split()[0] == hashlib.md5(data).hexdigest()


@pytest.mark.parametrize("mode", ["batch", "query"])
async def test_none_gives_end_of_file_at_once_and_no_prompt(kernel: Kernel, mode: str) -> None:
    code = "try:\n    input()\nexcept EOFError:\n    print('end')"

    reply = (
        kernel.execute("cat; echo end", stdin="none")
        if mode == "batch"
        else kernel.query(code, stdin="none")
    )
    kinds = [event.type async for event in reply]

    assert "waiting-input" not in kinds
    assert "stdout" in kinds


async def test_a_stream_takes_input_at_any_time_and_its_end(kernel: Kernel) -> None:
    reply = kernel.execute("sleep 0.1; cat", stdin="stream")
    for text in ("one\n", "two\n"):
        await _welcome(kernel, text)
    await kernel.eof()
    result = await reply.result()

    assert (result.stdout, result.exit_code) == ("one\ntwo\n", 0)


async def _welcome(kernel: Kernel, text: str) -> None:
    """Input can only be for what runs, so the task has to have left the queue."""
    while (await kernel.status()).running is None:
        pass
    await kernel.input(text)


async def test_input_that_was_not_asked_for_is_refused_and_kept_for_no_prompt(
    kernel: Kernel,
) -> None:
    with pytest.raises(RequestRefused, match="not kept") as idle:
        await kernel.input("early\n")
    reply = kernel.query("print('up'); import time; time.sleep(0.3); print('got', input('? '))")
    async for event in reply:
        if isinstance(event, events.Output):
            break
    with pytest.raises(RequestRefused, match="not kept") as busy:
        await kernel.input("early\n")
    await asked(reply)
    await kernel.input("asked\n")
    result = await reply.result()

    assert (idle.value.code, busy.value.code) == ("no-prompt", "no-prompt")
    assert result.stdout == "got asked\n"


async def test_input_left_over_by_a_cell_is_not_read_by_the_next_one(kernel: Kernel) -> None:
    first = kernel.query("print('got', input())")
    await asked(first)
    await kernel.input("one\ntwo\n")
    await first.result()
    second = kernel.query("print('got', input())")
    await asked(second)
    await kernel.input("three\n")

    assert (await second.result()).stdout == "got three\n"


@pytest.mark.parametrize("mode", ["batch", "query"])
async def test_a_line_of_9000_characters_arrives_whole(kernel: Kernel, mode: str) -> None:
    code = "line = input(); print(len(line), line[-1])"

    reply = kernel.execute(f"python3 -c '{code}'") if mode == "batch" else kernel.query(code)
    await asked(reply)
    await kernel.input("x" * 8_999 + "y\n")
    result = await reply.result()

    assert result.stdout == "9000 y\n"


async def test_control_characters_pass_as_they_are(kernel: Kernel) -> None:
    reply = kernel.execute("python3 -c 'print(ascii(input()))'")
    await asked(reply)
    await kernel.input(b"a\x03\x15\x7f\rb\n")
    result = await reply.result()

    assert result.stdout == "'a\\x03\\x15\\x7f\\rb'\n"


async def test_several_questions_are_asked_one_by_one(kernel: Kernel) -> None:
    reply = kernel.execute("for i in 1 2 3; do read line; echo $i $line; done")
    seen = []
    for number in range(3):
        _, before = await asked(reply)
        seen.append(before)
        await kernel.input(f"answer {number}\n")
    result = await reply.result()

    assert seen == [b"", b"1 answer 0\n", b"2 answer 1\n"]
    assert result.stdout == "3 answer 2\n"
