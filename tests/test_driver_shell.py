"""The bash driver over real pipes: frames in, frames and raw output out."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import kernel_runner
from tests.driver_peer import FAILURE_SECONDS, next_frame, read_within

DRIVER = Path(kernel_runner.__file__).parent / "langs/drivers/shell.bash"
USAGE = ("cpu_us", "rss_kib")


@dataclass
class Peer:
    """The runner's end of one driver; both raw streams of it are one pipe here."""

    process: subprocess.Popen[bytes]
    commands: int
    events: int
    output: int
    input: int
    incoming: bytearray = field(default_factory=bytearray)
    usage: dict[str, int] = field(default_factory=dict)

    def send(self, header: str, body: str = "") -> None:
        data = body.encode()
        type, _, keys = header.partition(" ")
        os.write(self.commands, f"{type} {len(data)} {keys}".rstrip().encode() + b"\n" + data)

    def frame(self) -> tuple[str, bytes]:
        """Header without its length and what was measured, and body."""
        type, keys, body = next_frame(self.events, self.incoming)
        pairs = dict(key.split("=", 1) for key in keys)
        self.usage = {name: int(pairs.pop(name)) for name in USAGE if name in pairs}
        return " ".join([type, *(f"{name}={text}" for name, text in pairs.items())]), body

    def run(self, code: str) -> str:
        self.send("code", code)
        return self.frame()[0]

    def printed(self) -> str:
        ready, _, _ = select.select([self.output], [], [], 0)
        return os.read(self.output, 65_536).decode() if ready else ""

    def wait_for_words(self, wanted: str) -> None:
        seen = ""
        while wanted not in seen:
            seen += read_within(self.output).decode()

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def interrupt_until_done(self) -> str:
        """bash loses an interrupt for a child that it has forked and not yet executed."""
        for _ in range(FAILURE_SECONDS * 2):
            self.interrupt()
            if select.select([self.events], [], [], 0.5)[0]:
                break
        return self.frame()[0]


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    command_read, commands = os.pipe()
    events, event_write = os.pipe()
    output, output_write = os.pipe()
    input_read, input = os.pipe()
    process = subprocess.Popen(
        ["bash", str(DRIVER), str(command_read), str(event_write)],
        stdin=input_read,
        stdout=output_write,
        stderr=output_write,
        pass_fds=(command_read, event_write),
        cwd=tmp_path,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    for descriptor in (command_read, event_write, output_write, input_read):
        os.close(descriptor)
    peer = Peer(process, commands, events, output, input)
    assert peer.frame()[0].startswith("ready version=")
    yield peer
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for descriptor in (commands, events, output, input):
        os.close(descriptor)


def test_state_is_kept_between_cells(peer: Peer) -> None:
    peer.run("x=1; f() { echo f $x; }; alias hi='echo hello'; mkdir d; cd d; shopt -s nullglob")

    assert peer.run('f; hi; echo ${PWD##*/} "[" none* "]"') == "done exit=0"
    assert peer.printed() == "f 1\nhello\nd [ ]\n"


@pytest.mark.parametrize(
    ("code", "done"),
    [
        ("true", "done exit=0"),
        ("", "done exit=0"),
        ("false", "done exit=1"),
        ("(exit 5)", "done exit=5"),
        ("exit 3; echo no", "done exit=3"),
        ("f() { g; echo no; }; g() { exit 4; echo no; }; f; echo no", "done exit=4"),
        ("echo $(exit 6; echo no) >/dev/null", "done exit=0"),
        ("no-such-program-here 2>/dev/null", "done exit=127"),
        ("{ if then; } 2>/dev/null", "done exit=2 reason=error"),
        ("ls /nowhere/at/all 2>/dev/null", "done exit=2"),
        ("sh -c 'kill -9 $$'", "done exit=137"),
    ],
)
def test_a_cell_ends_with_the_status_of_its_last_command(peer: Peer, code: str, done: str) -> None:
    assert peer.run(code) == done
    assert "no\n" not in peer.printed()


@pytest.mark.parametrize(
    "code",
    [
        "set -e; false",
        "builtin exit 1",
        "set -u; echo $nope",
        ": ${nope?}",
        "f() { f2 ${n:?}; }; f",
    ],
)
def test_the_state_survives_what_leaves_the_shell(peer: Peer, code: str) -> None:
    peer.run("kept=yes; f3() { echo $kept; }")

    for _ in range(3):
        assert peer.run(code) in ("done exit=1", "done exit=127")
    peer.printed()

    assert peer.run("f3") == "done exit=0"
    assert peer.printed() == "yes\n"
    peer.send("code", "echo on; sleep 100; echo no")
    peer.wait_for_words("on\n")

    assert peer.interrupt_until_done() == "done exit=130"


@pytest.mark.parametrize(
    "loop",
    [
        "sleep 100",
        "while :; do :; done",
        "f() { while true; do ((n++)); done; }; f; echo no",
        "sleep 100 | cat; echo no",
        "read line; echo no",
    ],
)
def test_an_interrupt_ends_the_cell_and_keeps_the_state(peer: Peer, loop: str) -> None:
    peer.send("code", f"kept=yes; echo on; {loop}")
    peer.wait_for_words("on\n")

    assert peer.interrupt_until_done() == "done exit=130"
    assert peer.run("echo $kept") == "done exit=0"
    assert peer.printed() == "yes\n"


def test_an_interrupt_of_an_idle_shell_is_ignored(peer: Peer) -> None:
    peer.interrupt()

    assert peer.run("echo alive") == "done exit=0"


def test_a_cell_reads_the_users_input(peer: Peer) -> None:
    os.write(peer.input, b"first\nsecond\n")

    assert peer.run("read a; read b; echo $b $a") == "done exit=0"
    assert peer.printed() == "second first\n"


def test_bodies_are_counted_in_bytes(peer: Peer) -> None:
    peer.run("x='äöü\n€'")

    assert peer.run('echo "$x" ${#x}; : "' + "ü" * 70_000 + '"') == "done exit=0"
    assert peer.printed() == "äöü\n€ 5\n"


def test_a_program_inherits_no_protocol_descriptor(peer: Peer) -> None:
    peer.run("ls /proc/self/fd")

    assert peer.printed() == "0\n1\n2\n3\n"  # 3 is the folder that it lists


def test_messages_of_the_shell_name_the_line_of_the_cell(peer: Peer) -> None:
    peer.run("\nno-such-program-here")

    assert "line 2: no-such-program-here: command not found" in peer.printed()


def test_names_are_completed(peer: Peer) -> None:
    peer.run("long_variable_name=1; long_function_name() { :; }; touch long_file")
    peer.send("complete cursor=9 serial=1", "long_func")
    peer.send("complete cursor=8 serial=2", "cat long")
    peer.send("complete cursor=15 serial=3", "echo $long_vari rest")

    assert peer.frame() == ("completion serial=1", b"long_function_name")
    assert peer.frame() == ("completion serial=2", b"long_file")
    assert peer.frame() == ("completion serial=3", b"$long_variable_name")


@pytest.mark.parametrize(
    ("code", "status"),
    [("echo", "complete"), ("for i in x; do", "incomplete"), ("'", "incomplete"), (")", "invalid")],
)
def test_the_shell_knows_what_is_complete(peer: Peer, code: str, status: str) -> None:
    peer.send("is-complete serial=7", code)

    assert peer.frame() == (f"completeness serial=7 status={status}", b"")


def test_the_driver_leaves_at_the_end_of_its_commands(peer: Peer) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, peer.commands, inheritable=False)
    os.close(null)

    assert peer.process.wait(FAILURE_SECONDS) == 0


def test_what_a_cell_took_is_told_with_its_children_and_without_the_cells_before(
    peer: Peer,
) -> None:
    busy = "for ((i = 0; i < 300000; i++)); do :; done"
    peer.run(f"bash -c '{busy}' | cat")
    by_children = peer.usage
    peer.run(f"set -euC; trap 'echo trapped' ERR; IFS=m; {busy}; x=$(printf %60000000s)")
    by_itself = peer.usage
    peer.run("unset x")
    peer.run(":")

    assert by_children["cpu_us"] > 100_000
    assert by_itself["cpu_us"] > 100_000
    assert by_itself["rss_kib"] > 60_000
    assert peer.usage["cpu_us"] < 50_000
    assert 1_000 < peer.usage["rss_kib"] < 60_000
    assert peer.printed() == ""


def test_what_a_shell_took_is_told_after_another_has_taken_its_place(peer: Peer) -> None:
    assert peer.run("for ((i = 0; i < 300000; i++)); do :; done; set -e; false") == "done exit=1"
    peer.run(":")

    assert 0 <= peer.usage["cpu_us"] < 50_000


def test_no_name_of_a_cell_is_taken_by_the_driver(peer: Peer) -> None:
    peer.run("reason=why usage=how")
    peer.run("echo $reason $usage")

    assert peer.printed() == "why how\n"
