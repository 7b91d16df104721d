"""Events of one session in, by their numbers out, until they are acknowledged.

The oldest are in memory.  What goes beyond its share is in files without a name, which nobody else
can open and which go with the process, however it ends.  Where these are full, too, the newest
stay in memory, and whoever posts for a program waits.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from kernel_runner.messages import events
from kernel_runner.messages.request import Envelope
from kernel_runner.spool import Segment, Spool

MERGE_BYTES: Final = 65_536
"""Output that waits is put together up to this size."""
SEGMENT_BYTES: Final = 16 << 20
"""A file is given back as a whole, once all in it is acknowledged."""
LOOKS_IN_A_TURN: Final = 200
"""So many events are looked at for a request before others have their turn."""


def merged(last: Envelope, output: events.Output, request_id: str | None) -> Envelope | None:
    """Both outputs as one event; None when they do not belong together or are too large."""
    if not (
        isinstance(last.event, events.Output)
        and last.event.type == output.type
        and last.id == request_id
        and len(last.event.data) + len(output.data) <= MERGE_BYTES
    ):
        return None
    both = events.Output(output.type, last.event.data + output.data)
    return msgspec.structs.replace(last, event=both)


class Journal:
    """What is kept: the events from `first_seq` to before `next_seq`."""

    def __init__(self, memory_bytes: int, spool: Spool) -> None:
        self.first_seq = self.next_seq = 1
        self._max_memory_bytes = memory_bytes
        self._memory_bytes = 0
        self._spool = spool
        self._head: deque[Envelope] = deque()
        self._segments: deque[Segment] = deque()
        self._overflow: deque[Envelope] = deque()
        self._newest: Envelope | None = None  # not put away yet: it may grow
        self.disk_error: OSError | None = None
        """Why nothing is written to the disk just now."""

    @property
    def full(self) -> bool:
        """Whether whoever has more to say should wait."""
        return self._memory_bytes >= self._max_memory_bytes and not self._has_disk

    @property
    def has_room(self) -> bool:
        """Whether who waited may go on: not as soon as a single event is gone."""
        return self._memory_bytes <= self._max_memory_bytes // 2 or self._has_disk

    @property
    def _has_disk(self) -> bool:
        """Whether the next event may go to the disk: what is after it there must not be before."""
        return self._spool.left_bytes > 0 and self.disk_error is None and not self._overflow

    def append(self, envelope: Envelope) -> None:
        """Keep the next event; never fails."""
        assert envelope.seq == self.next_seq, "events come in order"
        self.next_seq += 1
        former, self._newest = self._newest, envelope
        if former is not None:
            self._put_away(former)

    def merge(self, output: events.Output, request_id: str | None) -> bool:
        """Put output into the newest event, if it belongs there."""
        if self._newest is None or (both := merged(self._newest, output, request_id)) is None:
            return False
        self._newest = both
        return True

    def read(self, seq: int) -> Envelope:
        """One of the events that are kept."""
        if self._newest is not None and seq == self._newest.seq:
            return self._newest
        if self._head and seq <= _seq(self._head[-1]):
            return self._head[seq - _seq(self._head[0])]
        for segment in self._segments:
            if seq < segment.next_seq:
                return segment.read(seq)
        return self._overflow[seq - _seq(self._overflow[0])]

    def forget(self, seq: int) -> None:
        """Let go of all up to `seq`, that one included."""
        while self._segments and self._segments[0].next_seq <= seq + 1:
            self._segments.popleft().close()
        if not self._segments:
            self._head += self._overflow
            self._overflow.clear()
        while self._head and _seq(self._head[0]) <= seq:
            self._memory_bytes -= events.size_of(self._head.popleft().event)
        if self._memory_bytes <= self._max_memory_bytes // 2:
            self.disk_error = None  # it may have room again
        if self._newest is not None and _seq(self._newest) <= seq:
            self._newest = None
        self.first_seq = max(self.first_seq, min(seq + 1, self.next_seq))

    def of_request(self, request_id: str, before_seq: int) -> Iterator[Envelope | None]:
        """The events of one request that are kept, as far as `before_seq`.

        None comes between when others should have their turn.
        """
        for seq in range(self.first_seq, before_seq):
            if seq % LOOKS_IN_A_TURN == 0:
                yield None
            if seq < self.first_seq:  # it was acknowledged meanwhile
                continue
            if (envelope := self.read(seq)).id == request_id:
                yield envelope

    def close(self) -> None:
        """Give the disk back."""
        while self._segments:
            self._segments.popleft().close()

    def _put_away(self, envelope: Envelope) -> None:
        has_memory = not self._segments and self._memory_bytes < self._max_memory_bytes
        if not has_memory and self._has_disk:
            try:
                self._write(envelope)
                return
            except OSError as error:  # the disk is full: memory keeps it, and programs wait
                self.disk_error = error
        (self._overflow if self._segments else self._head).append(envelope)
        self._memory_bytes += events.size_of(envelope.event)

    def _write(self, envelope: Envelope) -> None:
        if self._segments and self._segments[-1].size_bytes < SEGMENT_BYTES:
            self._segments[-1].append(envelope)
            return
        segment = Segment(self._spool, _seq(envelope))
        try:
            segment.append(envelope)
        except OSError:
            segment.close()
            raise
        self._segments.append(segment)


def _seq(envelope: Envelope) -> int:
    assert envelope.seq is not None, "what a journal keeps is numbered"
    return envelope.seq
