"""What the Python driver shows, answers and installs, beside the cases of tests/langs."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import msgpack
import pytest

from tests.driver_peer import Peer, read_within, shown, started, words

STARTS_A_THREAD = """\
import sys, threading
go, said = threading.Event(), threading.Event()
def late():
    go.wait()
    print("late", "line")
    print("late error", file=sys.stderr)
    display({"text/html": "late"}, raw=True)
    said.set()
threading.Thread(target=late, daemon=True).start()
"""


def test_what_a_thread_prints_after_its_cell_names_that_cell(peer: Peer) -> None:
    peer.run(STARTS_A_THREAD)

    frames = peer.run("print('mine')\ngo.set(); _ = said.wait()\nprint('mine, too')")

    told = [(frame.type, frame.body, frame.keys.get("cell")) for frame in frames[:-1]]
    assert told == [
        ("stdout", b"mine\n", None),
        ("stdout", b"late line\n", "1"),
        ("stderr", b"late error\n", "1"),
        ("media", b'{"data": {"text/html": "late"}, "metadata": {}}', "1"),
        ("stdout", b"mine, too\n", None),
    ]


def test_a_flood_beside_such_a_thread_is_complete(peer: Peer) -> None:
    peer.run(STARTS_A_THREAD)

    frames = peer.run("for n in range(20000): print(n)")

    assert words(frames) == "".join(f"{n}\n" for n in range(20_000))
    assert len(frames) < 5_000


def test_a_drawing_is_sent_as_the_commands_since_the_last_one(peer: Peer) -> None:
    peer.run("from kernel_runner_drawing import *\nc = Canvas(30, 20)\nc.show()")
    peer.run("s = c.rectangle(1, 2, 300, 4.5, border=Colors.Red)\ns.set_x(-7)")

    frames = peer.run("c.show()")

    assert msgpack.unpackb(shown(frames[0])["application/x-sorna-drawing"]) == [
        [0, "obj", 0, ["rect", 1, 2, 300, 4.5, "#ff0000ff", "#00000000", 0]],
        [0, "update", 0, "x", -7],
    ]


# Questions about code -------------------------------------------------------------------------


def completed(peer: Peer, source: str) -> list[str]:
    peer.send("complete", source, cursor=len(source), serial=1)
    return peer.until("completion")[-1].body.decode().splitlines()


def test_names_that_live_are_completed(peer: Peer) -> None:
    peer.run("class A:\n    first_name = 1\nan_a = A()")

    assert completed(peer, "an_") == ["an_a"]
    assert completed(peer, "an_a.fir") == ["an_a.first_name"]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import jso", "json"),
        ("from os import pat", "path"),
        ("import os\nos.path.joi", "os.path.join"),
        ("def f():\n    inner_name = 1\n    inn", "inner_name"),
        ("'a'.uppe", "upper"),
        ("''.join([]).spli", "split"),
    ],
)
def test_what_never_ran_is_completed_from_its_source(peer: Peer, source: str, found: str) -> None:
    pytest.importorskip("jedi")

    assert found in completed(peer, source)


def test_names_of_another_case_are_not_suggested(peer: Peer) -> None:
    assert completed(peer, "impor") == ["import"]


def test_source_is_completed_while_a_cell_runs(peer: Peer) -> None:
    pytest.importorskip("jedi")
    peer.send("code", "import threading; e = threading.Event(); print('runs'); e.wait()")
    peer.until("stdout")

    assert "path" in completed(peer, "from os import pat")

    peer.interrupt()
    assert peer.until("done")[-1].keys["exit"] == "130"


def test_magics_are_completed_and_complete_in_ipython(tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    with started(tmp_path, "ipython") as peer:
        assert "timeit" in completed(peer, "%timei")

        peer.send("is-complete", "!ls", serial=2)
        assert peer.until("completeness")[-1].keys["status"] == "complete"


def test_without_ipython_there_is_the_plain_shell_and_a_log(tmp_path: Path) -> None:
    (tmp_path / "IPython.py").write_text("raise ImportError('broken')")

    with started(tmp_path, "ipython", env={"PYTHONPATH": str(tmp_path)}) as peer:
        assert peer.shell == "plain"
        assert words(peer.run("1")) == "1\n"


# Packages -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new virtual environment that sees the pip of the one below."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, system_site_packages=True, with_pip=False)
    python = folder / "bin" / "python"
    if subprocess.run([python, "-c", "import pip"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("there is no pip")
    return python


def wheel(folder: Path, name: str) -> Path:
    """A package of one module, as pip takes it."""
    file = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.py", "word = 'installed'\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return file


@pytest.mark.parametrize(
    "line", ["install('--no-index', {0!r})", "%pip install --no-index {0}"], ids=["call", "magic"]
)
def test_a_package_is_installed_and_imported_at_once(
    line: str, environment: Path, tmp_path: Path
) -> None:
    name = "kr_called" if line.startswith("install") else "kr_magic"
    file = str(wheel(tmp_path, name))
    env = {"PIP_CONFIG_FILE": os.devnull, "HOME": str(tmp_path), "PYTHONPATH": ""}

    with started(tmp_path, python=str(environment), env=env) as peer:
        peer.run(f"try:\n    import {name}\nexcept ImportError: pass")
        frames = peer.run(line.format(file) + f"\nimport {name}\n{name}.word")

        assert words(frames) == "'installed'\n", words(frames, "stderr")
        assert b"Successfully installed" in read_within(peer.stdout)


def test_a_package_that_cannot_be_had_is_an_error(peer: Peer) -> None:
    pytest.importorskip("pip")

    frames = peer.run("install('--no-index', 'kr-nothing-of-this-name')")

    assert frames[-1].keys["reason"] == "error"
    assert "pip ended with exit code 1" in words(frames, "stderr")


def test_nothing_of_this_is_loaded_by_a_start(peer: Peer) -> None:
    names = ["json", "traceback", "inspect", "jedi", "IPython", "asyncio", "subprocess", "numpy"]

    frames = peer.run(f"import sys; [name for name in {names} if name in sys.modules]")

    assert words(frames) == "[]\n", sys.version
