"""The Python driver runs cells: frames in, output and outcome out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.driver_peer import FAILURE_SECONDS, Peer, read_within, shown, words


@pytest.mark.parametrize(
    ("code", "exit", "stdout"),
    [
        ("1 + 1", "0", "2\n"),
        ("None", "0", ""),
        ("'ä'; 5", "0", "5\n"),
        ("import sys; sys.exit(3)", "3", ""),
        ("raise SystemExit", "0", ""),
        ("quit()", "0", ""),
        ("import sys; sys.stdout.buffer.write(b'a\\xff'[:1]); sys.stdout.flush()", "0", "a"),
        ("import pickle\nclass A: pass\ntype(pickle.loads(pickle.dumps(A()))) is A", "0", "True\n"),
        ("__name__, __import__('sys').argv, __import__('sys').path[0]", "0", None),
        ("import asyncio\nawait asyncio.sleep(0)\n7", "0", "7\n"),
        ("print(chr(0xD800))", "0", "\\ud800\n"),
    ],
)
def test_a_cell_ends_with_its_exit_code(
    peer: Peer, code: str, exit: str, stdout: str | None
) -> None:
    frames = peer.run(code)

    assert frames[-1].keys["exit"] == exit, words(frames, "stderr")
    assert words(frames) == ("('__main__', [''], '')\n" if stdout is None else stdout)


def test_state_and_the_last_value_are_kept(peer: Peer) -> None:
    peer.run("a = 20")
    peer.run("a + 1")

    assert words(peer.run("_ + a")) == "41\n"


def test_future_features_are_kept(peer: Peer) -> None:
    peer.run("from __future__ import annotations")

    assert peer.run("def f(x: Unknown): pass")[-1].keys["exit"] == "0"


def test_lines_of_both_streams_keep_their_order(peer: Peer) -> None:
    frames = peer.run(
        "import sys\nfor i in range(1000):\n    print('o', i)\n    print('e', i, file=sys.stderr)\n"
    )

    text = "".join(frame.body.decode() for frame in frames if frame.type != "done")
    assert text == "".join(f"o {i}\ne {i}\n" for i in range(1000))


def test_a_line_comes_while_the_cell_goes_on(peer: Peer) -> None:
    peer.send("code", "import time\nprint('now')\nprint('part', end='')\ntime.sleep(60)")

    assert peer.frame().body == b"now\n"
    assert peer.frame().body == b"part"
    peer.interrupt()
    assert peer.until("done")[-1].keys["exit"] == "130"


def test_a_flood_of_lines_arrives_complete(peer: Peer) -> None:
    frames = peer.run("for i in range(100_000): print(i)")

    assert words(frames) == "".join(f"{i}\n" for i in range(100_000))


def test_a_failing_cell_shows_only_the_users_frames(peer: Peer) -> None:
    frames = peer.run("def f():\n    return 1 / 0\nf()")

    error = json.loads(next(frame.body for frame in frames if frame.type == "error"))
    assert frames[-1].keys["exit"] == "1"
    assert frames[-1].keys["reason"] == "error"
    assert error["name"] == "ZeroDivisionError"
    assert [(one["function"], one["source"]) for one in error["frames"]] == [
        ("<module>", "f()"),
        ("f", "return 1 / 0"),
    ]
    assert "kernel_runner_driver" not in words(frames, "stderr")
    assert "return 1 / 0" in words(frames, "stderr")


@pytest.mark.parametrize(
    "code",
    [
        "x = (",
        "class A:\n    def __repr__(self): raise ValueError\nA()",
        "class A:\n    def _repr_html_(self): raise ValueError\nA()",
        "class A:\n    def _repr_png_(self): return 5\nA()",
        "import sys\nsys.displayhook = None\n1",
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
        "raise ExceptionGroup('g', [ValueError(1)])",
    ],
)
def test_whatever_goes_wrong_is_an_error_of_the_cell(peer: Peer, code: str) -> None:
    frames = peer.run(code)

    assert frames[-1].keys["reason"] == "error"
    assert [frame.type for frame in frames].count("error") == 1
    assert words(peer.run("1")) == "1\n"


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.stdout.close()",
        "import sys; sys.stdout = None",
        "import sys; sys.stdout.detach()",
        "import os; os.close(1); os.close(2); os.close(0)",
        "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)",
        "import sys; sys.stdin.close()",
    ],
)
def test_the_next_cell_prints_whatever_a_cell_closed(peer: Peer, code: str) -> None:
    peer.run(code)

    assert words(peer.run("print('here')")) == "here\n"


def test_a_rich_object_is_sent_with_all_its_representations(peer: Peer) -> None:
    frames = peer.run(
        "class A:\n"
        "    def __repr__(self): return 'plain'\n"
        "    def _repr_html_(self): return '<b>x</b>'\n"
        "    def _repr_png_(self): return b'\\x89PNG'\n"
        "print('before')\ndisplay(A())\nprint('after')"
    )

    assert [frame.type for frame in frames] == ["stdout", "media", "stdout", "done"]
    assert shown(frames[1]) == {
        "text/html": "<b>x</b>",
        "image/png": b"\x89PNG",
        "text/plain": "plain",
    }


def test_an_open_figure_is_sent_at_the_end_of_the_cell(peer: Peer) -> None:
    pytest.importorskip("matplotlib")

    frames = peer.run("import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])")

    assert frames[-2].type == "media", words(frames, "stderr")
    assert shown(frames[-2])["image/png"][:4] == b"\x89PNG"
    assert words(peer.run("plt.get_fignums()")) == "[]\n"


def test_show_sends_the_figure_at_once(peer: Peer) -> None:
    pytest.importorskip("matplotlib")

    frames = peer.run("import matplotlib.pyplot as p\n_ = p.plot([1])\np.show()\nprint('end')")

    assert [frame.type for frame in frames] == ["media", "stdout", "done"]


def test_a_program_is_ordered_between_the_lines_around_it(peer: Peer) -> None:
    frames = peer.run(
        "import subprocess\nprint('before')\n"
        "subprocess.run(['sh', '-c', 'echo program'])\nprint('after')"
    )

    shown = [(frame.body, "drain" in frame.keys) for frame in frames if frame.type == "stdout"]
    assert shown == [(b"before\n", False), (b"after\n", True)]
    assert read_within(peer.stdout) == b"program\n"


def test_a_program_inherits_no_protocol_descriptor(peer: Peer) -> None:
    peer.run("import os\n_ = os.system('ls -l /proc/self/fd | wc -l')")

    assert read_within(peer.stdout).strip() == b"5"  # 0, 1, 2, the folder, and the total


def test_a_forked_child_prints_raw_and_never_returns(peer: Peer) -> None:
    frames = peer.run("import os\npid = os.fork()\nif pid == 0: print('child')\nelse: os.wait()")
    peer.run("1")

    assert [frame.type for frame in frames].count("done") == 1
    assert read_within(peer.stdout) == b"child\n"


def test_what_c_code_printed_is_there_at_the_end_of_the_cell(peer: Peer) -> None:
    peer.run("import ctypes\n_ = ctypes.CDLL(None).printf(b'from C')")

    assert read_within(peer.stdout) == b"from C"


def test_a_thread_prints_after_its_cell(peer: Peer) -> None:
    peer.run(
        "import threading\ngo = threading.Event()\n"
        "def late():\n    go.wait()\n    print('late')\n"
        "threading.Thread(target=late, daemon=True).start()"
    )
    peer.run("threading.Timer(0.1, go.set).start()")

    assert peer.frame().body == b"late\n"


def test_the_users_files_may_have_the_names_of_ours(peer: Peer, tmp_path: Path) -> None:
    for name in ("wire", "display", "errors", "main", "cells", "json", "traceback"):
        (tmp_path / f"{name}.py").write_text(f"name = 'user {name}'\n")

    assert words(peer.run("import wire, display; wire.name + display.name")) == (
        "'user wireuser display'\n"
    )
    assert peer.run("1 / 0")[-1].keys["reason"] == "error"
    assert words(peer.run("1")) == "1\n"


def test_the_driver_leaves_at_the_end_of_its_commands(peer: Peer) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, peer.commands, inheritable=False)
    os.close(null)

    assert peer.process.wait(FAILURE_SECONDS) == 0


def test_a_large_body_arrives_whole(peer: Peer) -> None:
    peer.send("code", "x = '''" + "ü" * 20_000 + "'''\nprint(len(x))\nprint('y' * 1_000_000)")

    frames = peer.until("done")

    assert words(frames) == "20000\n" + "y" * 1_000_000 + "\n"
