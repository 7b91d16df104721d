"""The Python driver while a cell runs: questions, input and interrupts in, frames out."""

from __future__ import annotations

import os
import random
import select

import pytest

from tests.driver_peer import Frame, Peer, words


@pytest.mark.parametrize(
    ("call", "password"),
    [("input('name? ')", "0"), ("__import__('getpass').getpass('name? ')", "1")],
)
def test_a_question_waits_for_a_line(peer: Peer, call: str, password: str) -> None:
    peer.send("code", f"x = {call}")
    before = peer.until("waiting")
    os.write(peer.terminal, "Bob ü\n".encode())
    peer.until("done")

    assert words(before) == "name? "
    assert before[-1].keys == {"password": password}
    assert words(peer.run("x")) == "'Bob ü'\n"


def test_the_end_of_input_is_an_eof_error_once(peer: Peer) -> None:
    peer.send("code", "try:\n    input()\nexcept EOFError:\n    print('end')\nprint(input())")
    peer.until("waiting")
    os.write(peer.terminal, b"\x04")
    peer.until("waiting")
    os.write(peer.terminal, b"more\n")

    assert words(peer.until("done")).endswith("more\n")


def test_an_interrupt_ends_a_question(peer: Peer) -> None:
    peer.send("code", "input()")
    peer.until("waiting")
    peer.interrupt()

    assert peer.until("done")[-1].keys["exit"] == "130"


def test_an_interrupt_of_an_idle_driver_is_ignored(peer: Peer) -> None:
    peer.interrupt()

    assert words(peer.run("1")) == "1\n"


def test_interrupts_at_any_moment_leave_one_done_for_each_cell(peer: Peer) -> None:
    chance = random.Random(1)
    cells = [
        "for i in range(3000): print(i)",
        "1 + 1",
        "import sys\nfor i in range(300): print(i, file=sys.stderr)",
        "sum(range(3000))",
        "x = [str(i) for i in range(20000)]",
        "1 / 0",
    ]
    for number in range(300):
        peer.send("code", chance.choice(cells))
        for _ in range(chance.randrange(3)):
            select.select([], [], [], chance.random() * 0.002)
            peer.interrupt()
        last = peer.until("done")[-1]
        assert last.keys["exit"] in ("0", "1", "130"), number

    assert words(peer.run("print('alive')")) == "alive\n"


def test_a_question_between_short_cells_never_swallows_a_cell(peer: Peer) -> None:
    answers = 0
    for number in range(60):
        peer.send("code", f"for i in range({number * 1000}): pass")
        peer.send("complete", "pri", cursor=3, serial=number)
        frames = [peer.frame(), peer.frame()]
        answers += sorted(frame.type for frame in frames) == ["completion", "done"]

    assert answers == 60


def test_a_question_about_code_is_answered_while_a_cell_runs(peer: Peer) -> None:
    peer.run("import os, time")
    peer.send("code", "print('on')\ntime.sleep(60)")
    peer.frame()
    peer.send("complete", "os.pa", cursor=5, serial=4)

    answer = peer.frame()
    assert (answer.type, answer.keys) == ("completion", {"serial": "4"})
    assert "os.path" in answer.body.decode().splitlines()
    peer.interrupt()
    peer.until("done")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("1 + 1", "complete"),
        ("for i in x:", "incomplete"),
        ("for i in x:\n    pass", "incomplete"),
        ("for i in x:\n    pass\n", "complete"),
        ("(", "incomplete"),
        (")", "invalid"),
    ],
)
def test_the_driver_knows_what_is_complete(peer: Peer, code: str, status: str) -> None:
    peer.send("is-complete", code, serial=9)

    answer = peer.frame()

    assert answer == Frame("completeness", {"serial": "9", "status": status}, b"")


def test_inspecting_a_name_gives_its_signature_and_words(peer: Peer) -> None:
    peer.run("def area(width, height=2):\n    'How large it is.'")
    peer.send("inspect", "area(3)", cursor=2, serial=1)

    answer = peer.frame()

    assert answer.body.decode() == "area(width, height=2)\n\nHow large it is."
