"""The helper thread: sends output every 20 ms and answers questions while a cell runs."""

from __future__ import annotations

import _thread
from select import select

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from typing import Callable

    from kernel_runner_driver.interrupts import Interrupts
    from kernel_runner_driver.streams import Output
    from kernel_runner_driver.wire import Frame, Wire

TICK_SECONDS = 0.02
TICKS_UNTIL_SLEEP = 50


class Helper:
    """Ticks while cells come; sleeps after about a second without one."""

    def __init__(
        self,
        wire: Wire,
        output: Output,
        interrupts: Interrupts,
        answer: Callable[[Frame], None],
    ) -> None:
        self._wire = wire
        self._output = output
        self._interrupts = interrupts
        self._answer = answer
        self._cell = 0
        self._cells = 0
        self._is_asleep = False
        self._commands_ended = False
        self._nap = _thread.allocate_lock()
        self._nap.acquire()
        output.on_burst = self.wake
        _thread.start_new_thread(self._run, ())

    def begin(self) -> None:
        """A cell starts."""
        self._cells += 1
        self._cell = self._cells
        if self._is_asleep:
            self.wake()

    def end(self) -> None:
        """The cell has ended: the main thread reads the commands again."""
        self._cell = 0

    def wake(self) -> None:
        if self._is_asleep:
            self._is_asleep = False
            try:
                self._nap.release()
            except RuntimeError:  # another thread woke it
                pass

    def _run(self) -> None:
        idle_ticks = 0
        previous = 0
        while True:
            cell = self._cell
            # A short cell never gets a second reader: both would wake for the next command.
            if cell and cell == previous and not self._commands_ended:
                self._serve()
            else:
                self._nap.acquire(True, TICK_SECONDS)
            previous = cell
            moved = self._output.tick()
            self._interrupts.retry()
            idle_ticks = 0 if cell or moved else idle_ticks + 1
            if idle_ticks > TICKS_UNTIL_SLEEP and _thread._count() <= 1:
                self._sleep()
                idle_ticks = 0

    def _sleep(self) -> None:
        self._is_asleep = True
        if self._cell:
            self._is_asleep = False
            return
        self._nap.acquire()

    def _serve(self) -> None:
        """Wait one tick for a question; answer it."""
        wire = self._wire
        if not self._has_command(TICK_SECONDS) or not wire.reading.acquire(False):
            return
        try:
            # Asked again: what was seen may have been the `code` of a cell that now runs.
            if not self._cell or not self._has_command(0):
                return
            frame = wire.read()
        finally:
            wire.reading.release()
        if frame is None:
            self._commands_ended = True
        else:
            # In a thread of its own: whatever time it takes, output goes out meanwhile.
            _thread.start_new_thread(self._answer, (frame,))

    def _has_command(self, within_seconds: float) -> bool:
        wire = self._wire
        if wire.has_read_ahead():
            return True
        return bool(select([wire.commands], [], [], within_seconds)[0])
