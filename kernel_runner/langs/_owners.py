"""Tasks whose cells run in one interpreter in; the task that a frame of it belongs to out."""

from typing import Final

from kernel_runner.langs._frames import Frame
from kernel_runner.task import Task

MAX_KNOWN_CELLS: Final = 256
"""The output of threads of older cells belongs to the last one."""


class Owners:
    """Cells are counted as the driver counts them: from 1, in the order of their `code` frames."""

    def __init__(self) -> None:
        self.last: Task | None = None
        self._count = 0
        self._tasks: dict[int, Task] = {}

    def begin(self, task: Task) -> None:
        """The next cell is that of `task`."""
        self.last = task
        self._count += 1
        self._tasks[self._count] = task
        self._tasks.pop(self._count - MAX_KNOWN_CELLS, None)

    def forget(self) -> None:
        """No task takes anything any more."""
        self.last = None
        self._tasks.clear()

    def of(self, frame: Frame) -> Task | None:
        """That of the cell that the frame names; that of the last cell when it names none."""
        cell = frame.keys.get("cell", "")
        return (self._tasks.get(int(cell)) if cell.isdecimal() else None) or self.last
