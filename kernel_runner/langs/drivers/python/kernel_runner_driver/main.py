"""The driver's main thread: reads a command, executes the cell, says that it is done."""

from __future__ import annotations

import os
import sys
from _thread import get_ident, start_new_thread

from kernel_runner_driver import asking, display, patches
from kernel_runner_driver.cells import Cells
from kernel_runner_driver.helper import Helper
from kernel_runner_driver.interrupts import Interrupts
from kernel_runner_driver.streams import Output
from kernel_runner_driver.usage import Usage
from kernel_runner_driver.wire import Frame, Wire


class Driver:
    """Everything that lasts as long as the interpreter."""

    def __init__(self, commands: int, events: int, shell: str) -> None:
        self.wire = Wire(commands, events)
        self.interrupts = Interrupts()
        self.output = Output(self.wire, self.interrupts)
        self.asking = asking.Asking(self.output, self.interrupts)
        self.display = display.Display(self.output)
        self.patches = patches.Patches(self.output, self.asking, self.display)
        self.cells = self._cells(shell)
        self.usage = Usage()
        self.is_child = False
        self.helper = Helper(self.wire, self.output, self.interrupts, self.answer)
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=lambda: self.wire.lock.release(),  # a child has a new one
            after_in_child=self._after_fork,
        )

    def _cells(self, shell: str) -> Cells:
        """With the shell that was asked for, or the plain one where that cannot be had."""
        if shell == "ipython":
            try:
                from kernel_runner_driver.ipython import IPythonCells

                return IPythonCells(self.output, self.display, self.patches)
            except Exception as error:
                self.log("warning", f"no IPython, so queries have the plain shell: {error!r}")
        return Cells(self.output, self.display, self.patches)

    def serve(self) -> None:
        """Answer commands until they end."""
        while True:
            try:
                with self.wire.reading:
                    frame = self.wire.read()
            except BaseException as error:  # a signal handler of the user raised in here
                self.wire.check()
                self.log("warning", f"between two cells: {error!r}")
                continue
            if frame is None:
                return
            if frame.type == "code":
                self.display.as_data = "as_data" in frame.options
                self.execute(frame.body.decode("utf-8", "replace"))
            else:
                # Whatever time it takes, the next question is heard.
                start_new_thread(self.answer, (frame,))

    def execute(self, source: str) -> None:
        """Run one cell; exactly one `done` follows."""
        outcome = None
        try:
            self.restore()
            self.helper.begin()
            self.interrupts.start()
            outcome = self.cells.run(source)
            self.interrupts.check()  # one that was held back, and a program had it instead
        except BaseException as error:
            self.interrupts.stop()
            outcome = self.cells.explain(error)
        finally:
            self.interrupts.stop()
            self.interrupts.install()
        if self.is_child:
            self._leave_child(outcome)
        self.cells.flush_c_streams()
        self.output.collect()
        self.wire.check()
        self.helper.end()
        self.wire.post(b"done 0 %s %s\n" % (outcome, self.usage.spent()))
        self.wire.flush()

    def restore(self) -> None:
        """What a cell may have closed or replaced is as it was."""
        self.interrupts.install()
        self.output.install()
        self.output.begin_cell()
        self.asking.install()
        self.display.install()
        self.usage.begin()

    def answer(self, frame: Frame) -> None:
        """Reply to a question about code; nothing that goes wrong there ends the driver."""
        from kernel_runner_driver import answers

        try:
            reply = answers.reply(frame, self.cells)
        except Exception as error:
            self.log("error", f"{frame.type}: {error!r}")
            reply = answers.nothing(frame)
        if reply is not None:
            self.wire.post(reply)
            self.wire.flush()

    def log(self, level: str, text: str) -> None:
        body = text.encode("utf-8", "backslashreplace")
        self.wire.post(b"log %d level=%s\n%s" % (len(body), level.encode(), body))
        self.wire.flush()

    def _before_fork(self) -> None:
        self.output.flush()
        self.wire.lock.acquire()

    def _after_fork(self) -> None:
        if not self.is_child:  # else the numbers belong to other files of the user by now
            self.wire.close()
        self.is_child = True
        self.interrupts.main_thread = get_ident()
        self.wire.after_fork()
        self.output.after_fork()

    def _leave_child(self, outcome: bytes) -> None:
        """A forked child ends with its cell: the next one is its parent's."""
        self.output.collect()
        os._exit(int(outcome.split(b"=", 1)[1].split(b" ", 1)[0]))


def run(commands: int, events: int, shell: str = "plain") -> None:
    """Serve until the end of the commands; then leave as an interpreter does."""
    driver = Driver(commands, events, shell)
    version = sys.version.split(" ", 1)[0].encode()
    driver.wire.post(b"ready 0 version=%s shell=%s\n" % (version, driver.cells.shell))
    driver.wire.flush()
    # Imported first in another thread it would take that one for the main thread.
    import threading  # noqa: F401

    driver.serve()
    import atexit

    atexit._run_exitfuncs()
    driver.output.flush()
    os._exit(0)
