"""Objects of all kinds come in by the socket of a program; `media` events or refusals go out."""

import itertools
from pathlib import Path

import pytest

from kernel_runner import shown
from kernel_runner.messages import commands, events
from kernel_runner.messages.commands import Execute
from kernel_runner.testing import running
from tests.running import conversation
from tests.showing import SHOW, execute, file_made, logs, run, told
from tests.tools import require_tool
from tests.wild import ENV


async def test_more_processes_at_once_than_there_are_places_all_show(tmp_path: Path) -> None:
    program = (
        SHOW + "pids = []\nfor number in range(30):\n    pids.append(os.fork())\n"
        "    if not pids[-1]:\n        os._exit(show(str(number)) != 'ok\\n')\n"
        "print(sum(os.waitpid(pid, 0)[1] for pid in pids))"
    )

    heard = await run(tmp_path, program)

    *pictures, printed = told(heard)
    assert (sorted(pictures), printed) == (sorted(f"<{n}>" for n in range(30)), "stdout: 0\n")


async def test_a_pipe_full_of_output_comes_before_what_is_shown_after_it(tmp_path: Path) -> None:
    program = SHOW + "os.write(1, b'x' * 250_000)\nos.write(2, b'err')\nshow('now')\nprint('end')"

    heard = await run(tmp_path, program)

    before = "".join(told(heard)[: told(heard).index("<now>")])
    assert (before.count("x"), "stderr: err" in before) == (250_000, True)
    assert told(heard)[-1] == "stdout: end\n"


GARBAGE = {
    "nothing": "b''",
    "no text": "b'\\xff\\x00'",
    "no object": "b'[1]'",
    "no map": "b'{\"data\": 5}'",
    "bad base64": 'b\'{"data": {"image/png": "a"}}\'',
    "bad metadata": 'b\'{"data": {}, "metadata": [[1, 2]]}\'',
    "deep": "b'[' * 1_000_000",
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_what_cannot_be_read_is_refused_and_the_next_is_shown(
    tmp_path: Path, name: str
) -> None:
    program = SHOW + f"print(send({GARBAGE[name]}), end='')\nshow('next')"

    heard = await run(tmp_path, program)

    refused, following = told(heard)
    assert (refused.startswith("stdout: refused: "), refused.count("\n")) == (True, 1)
    assert (following, "could not be shown" in logs(heard)[0]) == ("<next>", True)


async def test_a_body_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    heard = await run(tmp_path, SHOW + "print(send(b'x' * 100_000_000))\nshow('next')")

    assert told(heard) == ["stdout: refused: it has more than 64 MiB\n\n", "<next>"]


@pytest.mark.parametrize("sent", ["b''", "b'{\"data\": {'"])
async def test_a_connection_that_is_left_open_holds_nothing_up(tmp_path: Path, sent: str) -> None:
    program = SHOW + (
        "left = [socket.socket(socket.AF_UNIX) for _ in range(100)]\n"
        "for one in left[:7]:\n    one.connect(os.environ['KERNEL_RUNNER_MEDIA'])\n"
        f"    one.send({sent})\nshow('seen')\n"
        "for one in left[7:20]:\n    one.connect(os.environ['KERNEL_RUNNER_MEDIA'])\n"
    )
    async with conversation("session", tmp_path) as (_, client):
        heard = await execute(client, tmp_path, program)
        again = await execute(
            client, tmp_path, SHOW + "show('again')\nprint(os.environ['KERNEL_RUNNER_MEDIA'])"
        )
        shown_again, where = told(again)
        folder = Path(where.removeprefix("stdout: ").strip()).parent
        left = [path.name for path in folder.iterdir() if path.is_socket()]

    assert (told(heard), shown_again, left) == (["<seen>"], "<again>", [])


async def test_connections_that_bring_nothing_give_their_places_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "SILENT_SECONDS", 0.2)
    (tmp_path / "main.py").write_text(
        SHOW + "left = [socket.socket(socket.AF_UNIX) for _ in range(20)]\n"
        "for one in left:\n    one.connect(os.environ['KERNEL_RUNNER_MEDIA'])\nshow('seen')"
    )
    async with running("python", tmp_path, env=ENV) as client:
        client.say(Execute("*"), "e1")
        heard = await client.hear_until("finished", "e1")

    assert events.Media({"text/plain": "seen"}) in heard


async def test_who_outlives_its_task_shows_nothing_in_the_next(tmp_path: Path) -> None:
    wait = "import time\nwhile not os.path.exists('{}'):\n    time.sleep(0.01)\n"
    late = (
        SHOW + wait.format("next") + "try:\n    show('late')\n"
        "except OSError:\n    pass\nopen('tried', 'w')"
    )
    first = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {late!r}])"
    second = SHOW + "open('next', 'w')\n" + wait.format("tried") + "show('next')"
    async with conversation("session", tmp_path) as (_, client):
        await execute(client, tmp_path, first, keep_background=True)
        heard = await execute(client, tmp_path, second)

    assert told(heard) == ["<next>"]


SHOWING = """
number = 0
def mark(name):
    open(name + "~", "w").write(str(number))
    os.rename(name + "~", name)
try:
    for number in range(20):
        print(number)
        mark("showing")
        show("x" * 1_000_000)
except KeyboardInterrupt:
    mark("interrupted")
    raise
"""


async def test_a_program_waits_for_a_client_that_does_not_read(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SHOW + SHOWING)
    async with running("python", tmp_path, env=ENV, max_pending_bytes=100_000) as client:
        client.reading = False
        client.say(Execute("*"), "e1")
        await file_made(tmp_path / "showing")
        client.say(commands.Interrupt(), "i1")
        await file_made(tmp_path / "interrupted")
        client.read_on()
        finish = (await client.hear_until("finished", "e1"))[-1]

    assert (tmp_path / "interrupted").read_text() == "0"
    assert isinstance(finish, events.Finished)
    assert (finish.exit_code, finish.reason) == (130, "interrupted")


async def test_all_arrives_once_the_client_reads_on(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SHOW + SHOWING)
    async with running("python", tmp_path, env=ENV, max_pending_bytes=100_000) as client:
        client.reading = False
        client.say(Execute("*"), "e1")
        await file_made(tmp_path / "showing")
        client.read_on()
        heard = await client.hear_until("finished", "e1")

    kinds = [event.type for event in heard if event.type in ("stdout", "media")]
    assert [kind for kind, _ in itertools.groupby(kinds)] == ["stdout", "media"] * 20


async def test_a_socket_in_a_folder_with_a_long_name_can_be_used(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    async with conversation("session", tmp_path, env={"TMPDIR": str(folder)}) as (_, client):
        heard = await execute(client, tmp_path, SHOW + "show('seen')")

    assert told(heard) == ["<seen>"]


async def test_a_program_in_another_language_can_show_as_the_docs_say(tmp_path: Path) -> None:
    require_tool("perl")
    page = Path(__file__).parent.parent / "docs" / "protocol.md"
    section = page.read_text().partition("### Media from programs")[2]
    command = section.partition("```sh\n")[2].partition("```")[0]
    async with conversation("session", tmp_path) as (_, client):
        await client.say("exec", command)
        media = await client.hear_until("media")
        answer = await client.hear_until("stdout")

    assert (media.fields["data"], answer.body) == ({"text/html": "<b>42</b>"}, b"ok\n")
