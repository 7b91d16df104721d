"""What is measured, in the order of the table: the name of each subject and its module."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias

from benchmarks.rounds import Effort
from benchmarks.subjects import (
    batch,
    client,
    command,
    completion,
    idle,
    interrupt,
    jail,
    journal,
    lines,
    query,
    queue,
    start,
    unread,
)
from benchmarks.table import Row

Subject: TypeAlias = Callable[[Effort], Awaitable[Sequence[Row]]]

SUBJECTS: Final[Mapping[str, Subject]] = {
    "query": query.measure,
    "lines": lines.measure,
    "journal": journal.measure,
    "start": start.measure,
    "interrupt": interrupt.measure,
    "queue": queue.measure,
    "unread": unread.measure,
    "batch": batch.measure,
    "completion": completion.measure,
    "client": client.measure,
    "command": command.measure,
    "idle": idle.measure,
    "jail": jail.measure,
}
