"""Events in, read by their numbers and forgotten: in memory, on disk, and where both are full."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kernel_runner.journal import SEGMENT_BYTES, Journal
from kernel_runner.messages import events
from kernel_runner.messages.request import Envelope
from kernel_runner.spool import Spool

KIB = 1 << 10


def output(seq: int, size: int = 10) -> Envelope:
    data = (b"%d " % seq).ljust(size, b".")
    return Envelope(events.Output("stdout", data), f"r{seq % 3}", seq, seq)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class JournalMachine(RuleBasedStateMachine):
    """The journal beside a plain dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.spool = Spool(Path("/tmp"), 40 * KIB)
        self.journal = Journal(4 * KIB, self.spool)
        self.kept: dict[int, Envelope] = {}

    @rule(sizes=st.lists(st.integers(1, 9 * KIB), min_size=1, max_size=8))
    def append(self, sizes: list[int]) -> None:
        for size in sizes:
            envelope = output(self.journal.next_seq, size)
            self.journal.append(envelope)
            self.kept[self.journal.next_seq - 1] = envelope

    @rule(text=st.binary(max_size=100), request_id=st.sampled_from(["r0", "r1", "r2"]))
    def merge(self, text: bytes, request_id: str) -> None:
        if self.journal.merge(events.Output("stdout", text), request_id):
            last = max(self.kept)
            old = self.kept[last].event
            assert isinstance(old, events.Output)
            self.kept[last] = Envelope(
                events.Output("stdout", old.data + text), request_id, last, self.kept[last].t_ns
            )

    @rule(share=st.floats(0, 1))
    def forget(self, share: float) -> None:
        first, following = self.journal.first_seq, self.journal.next_seq
        seq = first - 1 + int((following - first) * share)
        self.journal.forget(seq)
        for old in [one for one in self.kept if one <= seq]:
            del self.kept[old]

    @invariant()
    def has_what_is_kept(self) -> None:
        assert range(self.journal.first_seq, self.journal.next_seq) == range(
            min(self.kept, default=self.journal.next_seq), self.journal.next_seq
        )
        for seq, envelope in self.kept.items():
            assert self.journal.read(seq) == envelope

    @invariant()
    def is_not_full_when_there_is_room(self) -> None:
        if not self.kept:
            assert not self.journal.full
            assert self.journal.has_room
            assert self.spool.left_bytes == 40 * KIB

    def teardown(self) -> None:
        self.journal.close()
        assert self.spool.left_bytes == 40 * KIB


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)


def test_what_goes_beyond_memory_is_on_disk_under_no_name(tmp_path: Path) -> None:
    before = open_files()
    journal = Journal(100 * KIB, Spool(tmp_path, 1 << 30))
    for seq in range(1, 1_001):
        journal.append(output(seq, 60 * KIB))

    assert not journal.full
    assert list(tmp_path.iterdir()) == []
    assert open_files() - before == 1_000 * 60 * KIB // SEGMENT_BYTES + 1
    assert [journal.read(seq) for seq in (1, 2, 500, 1_000)] == [
        output(seq, 60 * KIB) for seq in (1, 2, 500, 1_000)
    ]
    journal.forget(1_000)
    assert open_files() == before


def test_when_memory_and_disk_are_full_nothing_is_lost_and_whoever_posts_is_told() -> None:
    journal = Journal(10 * KIB, Spool(Path("/tmp"), 50 * KIB))
    seq = 0
    while not journal.full:
        seq += 1
        journal.append(output(seq, 5 * KIB))
    journal.append(output(seq + 1, 5 * KIB))

    assert 12 <= seq <= 14
    assert [journal.read(one) for one in range(1, seq + 2)] == [
        output(one, 5 * KIB) for one in range(1, seq + 2)
    ]
    journal.forget(seq + 1)
    assert journal.has_room


def test_a_disk_that_is_full_costs_nothing_but_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = Journal(10 * KIB, Spool(Path("/tmp"), 1 << 30))
    for seq in range(1, 4):
        journal.append(output(seq, 5 * KIB))
    monkeypatch.setattr(os, "pwritev", refuse)
    for seq in range(4, 8):
        journal.append(output(seq, 5 * KIB))

    assert journal.full
    assert [journal.read(seq) for seq in range(1, 8)] == [output(s, 5 * KIB) for s in range(1, 8)]


def test_a_spool_in_memory_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/dev/shm")

    assert Spool.of(None, None).folder in (None, Path("/var/tmp"))
    assert Spool.of(Path("/dev/shm"), 1_000).left_bytes == 1_000


def test_what_is_left_unacknowledged_at_the_end_keeps_nobody_waiting() -> None:
    journal = Journal(64 * KIB, Spool(Path("/tmp"), 1))
    seq = 0
    while not journal.full:
        seq += 1
        journal.append(output(seq, 5 * KIB))

    journal.forget(seq - 3)

    assert journal.has_room
    assert [journal.read(one) for one in range(seq - 2, seq + 1)] == [
        output(one, 5 * KIB) for one in range(seq - 2, seq + 1)
    ]


def test_a_full_disk_is_told_once_and_no_number_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    journal = Journal(KIB, Spool(Path("/tmp"), 1 << 30))

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwritev", refuse)
    for seq in range(1, 20):
        journal.append(output(seq, KIB))

    assert journal.disk_error is not None
    assert [journal.read(seq).seq for seq in range(1, 20)] == list(range(1, 20))
