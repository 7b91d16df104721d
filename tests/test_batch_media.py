"""Python programs that show figures come in; what their client is told of them goes out."""

import subprocess
import sys
from pathlib import Path

import pytest

from kernel_runner.langs._interpreter import DRIVERS
from tests.running import conversation
from tests.screen import Terminal
from tests.showing import PNG, execute, run, told

RUN = (str(Path(sys.executable).with_name("kernel-runner")), "run")
FIGURE = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])\n"
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
        [*RUN, "plot.py"], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True
    )

    words = (done.stdout + done.stderr).decode()
    assert (done.returncode, "plot-1.png" in words) == (0, True), words
    assert (tmp_path / "plot-1.png").read_bytes().startswith(PNG)


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


def test_run_in_a_terminal_shows_a_figure_where_it_belongs(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "plot.py").write_text(FIGURE + "print('before')\nplt.show()\nprint('after')")

    terminal = Terminal([*RUN, "plot.py"], cwd=tmp_path, env={"TERM": "dumb"})

    assert terminal.until_end() == 0
    assert terminal.lines == ["before", "[saved as plot-1.png]", "after"]
