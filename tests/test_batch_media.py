"""Batch programs that show figures, or misuse where these go; what their client is told out."""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from kernel_runner import shown
from kernel_runner.langs._interpreter import DRIVERS
from kernel_runner.messages import commands, events
from kernel_runner.messages.commands import Execute
from kernel_runner.testing import running
from tests.running import LOOK_SECONDS, conversation
from tests.wild import ENV
from tests.wire import FAILURE_SECONDS, FINISHES, Client, Event

PNG = b"\x89PNG"
SHOW = """
import json, os, socket
def send(body):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["KERNEL_RUNNER_MEDIA"])
        try:
            connection.sendall(body)
            connection.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass
        return connection.makefile().read()
def show(text):
    return send(json.dumps({"data": {"text/plain": text}}).encode())
"""
"""What a program of any language can do, in Python."""
FIGURE = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])\n"


async def execute(client: Client, folder: Path, program: str, **options: object) -> list[Event]:
    """Everything that the client hears of ``main.py`` after its start."""
    (folder / "work").mkdir(exist_ok=True)
    (folder / "work" / "main.py").write_text(program)
    await client.say("exec", "*", **options)
    heard = [await client.hear()]
    while heard[-1].kind not in FINISHES:
        heard.append(await client.hear())
    return [event for event in heard if event.kind not in ("accepted", "started")]


async def run(folder: Path, program: str, **options: object) -> list[Event]:
    async with conversation("session", folder) as (_, client):
        return await execute(client, folder, program, **options)


async def file_made(file: Path) -> None:
    """Wait until a program has made it."""
    async with asyncio.timeout(FAILURE_SECONDS):
        while not file.exists():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)


def told(heard: Sequence[Event]) -> list[str]:
    """What was printed and shown, as words; pieces of one stream are put together."""
    words: list[str] = []
    for event in heard[:-1]:
        if event.kind == "media":
            words.append(_shown(event))
        elif event.kind != "log" and words and words[-1].startswith(f"{event.kind}: "):
            words[-1] += event.body.decode()
        elif event.kind != "log":
            words.append(f"{event.kind}: {event.body.decode()}")
    return words


def logs(heard: Sequence[Event]) -> list[str]:
    return [event.fields["text"] for event in heard if event.kind == "log"]


def _shown(event: Event) -> str:
    data = event.fields["data"]
    if "image/png" in data:
        assert data["image/png"].startswith(PNG)
        return str(data["text/plain"])
    return f"<{data['text/plain']}>"


FULL = "<Figure size 640x480 with 1 Axes>"
SMALL = "<Figure size 200x100 with 0 Axes>"


@pytest.mark.parametrize("tty", [None, False, {"rows": 24, "cols": 80}])
async def test_a_figure_comes_between_what_is_printed_before_and_after(
    tmp_path: Path, tty: object
) -> None:
    program = FIGURE + "print('before')\nplt.show()\nprint('after')"

    heard = await run(tmp_path, program, **({} if tty is None else {"tty": tty}))

    end = "\r\n" if isinstance(tty, dict) else "\n"
    assert told(heard) == [f"stdout: before{end}", FULL, f"stdout: after{end}"]
    assert heard[-1].fields["exitCode"] == 0


async def test_all_open_figures_are_shown_then_closed_and_others_never(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    program = (
        "_ = plt.figure(figsize=(2, 1), dpi=100)\nplt.show()\nprint(plt.get_fignums())\n"
        "plt.show()\nplt.figure()"
    )

    heard = await run(tmp_path, FIGURE + program)

    assert told(heard) == [FULL, SMALL, "stdout: []\n"]


async def test_a_figure_whose_show_does_not_block_stays_and_is_sent_when_it_changes(
    tmp_path: Path,
) -> None:
    pytest.importorskip("matplotlib")
    program = (
        "plt.show(block=False)\nplt.pause(0.01)\nprint('change')\nplt.plot([3])\n"
        "plt.gcf().show()\nplt.pause(0.01)\nplt.show()\nprint(plt.get_fignums())"
    )

    heard = await run(tmp_path, FIGURE + program)

    assert told(heard) == [FULL, "stdout: change\n", FULL, "stdout: []\n"]


async def test_processes_that_a_program_starts_can_show_too(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    program = (
        "import os, subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {FIGURE + 'plt.show()'!r}])\n"
        f"print('forking')\nif not (pid := os.fork()):\n    {FIGURE.splitlines()[0]}\n"
        "    plt.figure(figsize=(2, 1), dpi=100)\n    plt.show()\n    os._exit(0)\n"
        "os.waitpid(pid, 0)\nprint('end')"
    )

    heard = await run(tmp_path, program)

    assert told(heard) == [FULL, "stdout: forking\n", SMALL, "stdout: end\n"]


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


async def test_a_refused_figure_is_a_warning_and_stays_open(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    program = (
        "from kernel_runner_driver import figures\n"
        "figures.representations = lambda figure: {'text/plain': 'x' * 70_000_000}\n"
        "plt.show()\nprint(plt.get_fignums())"
    )

    heard = await run(tmp_path, FIGURE + program)

    assert "UserWarning: not shown: refused: it has more than 64 MiB" in "".join(told(heard))
    assert "stdout: [1]\n" in told(heard)


@pytest.mark.parametrize("sent", ["b''", "b'{\"data\": {'"])
async def test_a_connection_that_is_left_open_holds_nothing_up(tmp_path: Path, sent: str) -> None:
    program = SHOW + (
        "left = [socket.socket(socket.AF_UNIX) for _ in range(100)]\n"
        "for one in left[:7]:\n    one.connect(os.environ['KERNEL_RUNNER_MEDIA'])\n"
        f"    one.send({sent})\nshow('seen')\n"
        "for one in left[7:20]:\n    one.connect(os.environ['KERNEL_RUNNER_MEDIA'])\n"
    )
    async with conversation("session", tmp_path) as (started, client):
        heard = await execute(client, tmp_path, program)
        again = await execute(client, tmp_path, SHOW + "show('again')")
        folder = next((started.folder / "scratch").iterdir())
        left = [path.name for path in folder.iterdir() if path.is_socket()]

    assert (told(heard), told(again), left) == (["<seen>"], ["<again>"], [])


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


async def test_an_agent_gets_a_media_message(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    async with conversation("agent", tmp_path) as (_, client):
        heard = await execute(client, tmp_path, FIGURE + "print('before')\nplt.show()")

    *printed, picture, finished = heard
    assert b"".join(event.body for event in printed) == b"before\n"
    assert (picture.kind, picture.fields["type"]) == ("media", "image/png")
    assert picture.fields["data"].startswith("data:image/png;base64,iVBORw0KGgo")
    assert finished.kind == "finished"


def test_run_in_a_pipe_saves_a_figure_and_names_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "plot.py").write_text(FIGURE + "print('before')\nplt.show()\nprint('after')")

    done = subprocess.run(
        [Path(sys.executable).with_name("kernel-runner"), "run", "plot.py"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )

    words = (done.stdout + done.stderr).decode()
    assert (done.returncode, "plot-1.png" in words) == (0, True), words
    assert (tmp_path / "plot-1.png").read_bytes().startswith(PNG)


async def test_a_socket_in_a_folder_with_a_long_name_can_be_used(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    async with conversation("session", tmp_path, env={"TMPDIR": str(folder)}) as (_, client):
        heard = await execute(client, tmp_path, FIGURE + "plt.show()")

    assert told(heard) == [FULL]


async def test_the_users_own_backend_and_path_are_kept(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    program = (
        "import os, sys, matplotlib\nfolder, *rest = os.environ['PYTHONPATH'].split(':')\n"
        "print(matplotlib.get_backend().lower(), rest, sys.path[2])"
    )
    runners_own = {"MPLBACKEND": "svg", "PYTHONPATH": "/of/the/runner"}
    async with conversation("session", tmp_path, env=runners_own) as (_, client):
        first = await execute(client, tmp_path, program)
        requested = {"MPLBACKEND": "Agg", "PYTHONPATH": "/of/the/request"}
        second = await execute(client, tmp_path, program, env=requested)

    assert told(first) == ["stdout: svg ['/of/the/runner'] /of/the/runner\n"]
    assert told(second) == ["stdout: agg ['/of/the/request'] /of/the/request\n"]


async def test_the_users_own_sitecustomize_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("print('customized', __file__)")

    heard = await run(
        tmp_path,
        "import sitecustomize; print(sitecustomize.__file__)",
        env={"PYTHONPATH": str(folder)},
    )

    file = folder / "sitecustomize.py"
    assert told(heard) == [f"stdout: customized {file}\n{file}\n"]


@pytest.mark.parametrize("options", ["['-I']", "['-E']", "['-S', '-E']"])
async def test_a_python_that_is_told_another_path_still_plots(tmp_path: Path, options: str) -> None:
    pytest.importorskip("matplotlib")
    child = f"import sys; sys.path += {sys.path!r}\n{FIGURE}plt.show()\nprint('plotted')"
    program = (
        f"import subprocess, sys\nsubprocess.run([sys.executable, *{options}, '-c', {child!r}])"
    )

    heard = await run(tmp_path, program)

    assert told(heard) == ["stdout: plotted\n"]


async def test_a_module_of_the_users_that_is_called_matplotlib_is_left_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "matplotlib.py").write_text("NAME = 'mine'")

    heard = await run(tmp_path, "import matplotlib\nprint(matplotlib.NAME)")

    assert told(heard) == ["stdout: mine\n"]


async def test_a_figure_is_shown_nowhere_once_there_is_no_runner_to_be_asked(
    tmp_path: Path,
) -> None:
    pytest.importorskip("matplotlib")
    program = "import os\ndel os.environ['KERNEL_RUNNER_MEDIA']\nplt.show()\n"

    heard = await run(tmp_path, FIGURE + program + "print(plt.get_fignums())")

    assert told(heard) == ["stdout: [1]\n"]


@pytest.mark.parametrize("op", ["exec", "code"])
async def test_any_object_can_be_shown_in_batch_as_in_a_query(tmp_path: Path, op: str) -> None:
    program = (
        "from kernel_runner_display import display\nclass A:\n"
        "    def __repr__(self): return 'plain'\n    def _repr_html_(self): return '<b>'\n"
        "print('before')\ndisplay(A(), 5)"
    )
    async with conversation("session", tmp_path) as (_, client):
        (tmp_path / "work" / "main.py").write_text(program)
        await client.say(op, program if op == "code" else "*")
        printed = await client.hear_until("stdout")
        picture = await client.hear_until("media")
        last = await client.hear_until("stdout")

    assert (printed.body[:6], last.body[:1]) == (b"before", b"5")
    assert picture.fields["data"] == {"text/html": "<b>", "text/plain": "plain"}


async def test_a_query_of_a_runner_that_a_program_started_shows_its_figures(
    tmp_path: Path,
) -> None:
    pytest.importorskip("matplotlib")
    inherited = {"PYTHONPATH": str(DRIVERS / "python"), "KERNEL_RUNNER_MEDIA": "/gone"}
    async with conversation("session", tmp_path, env=inherited) as (_, client):
        heard = await client.run("code", FIGURE)

    assert [event.kind for event in heard.others if event.kind == "media"] == ["media"]
