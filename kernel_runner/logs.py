"""Log records of any thread in, `log` events of the running task out; never into the user's stderr.

Records of the loop's own thread are posted at once, so that they stand where they belong among
the events; those of other threads go through a janus queue.
"""

import logging
import sys
import threading
from collections.abc import Callable
from typing import Final

import janus

from kernel_runner.messages.events import Log, local_time

ROOT: Final = "kernel_runner"
FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def to_stderr(level: int) -> None:
    """Have the runner's own log on its standard error too: what a container's log shows."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter(FORMAT))
    logger = logging.getLogger(ROOT)
    logger.addHandler(handler)
    logger.setLevel(min(level, logging.INFO))


class LogStream(logging.Handler):
    """Made on the loop; `pump` runs until cancelled, `stop` ends it."""

    def __init__(self, post: Callable[[Log], None]) -> None:
        super().__init__(logging.INFO)
        self._post = post
        self._loop_thread = threading.get_ident()
        self._from_threads: janus.Queue[Log] = janus.Queue()
        logging.getLogger(ROOT).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        log = _event(record)
        if threading.get_ident() == self._loop_thread:
            self._post(log)
        else:
            self._from_threads.sync_q.put_nowait(log)

    async def pump(self) -> None:
        """Post what other threads log."""
        while True:
            self._post(await self._from_threads.async_q.get())

    async def stop(self) -> None:
        """Post what is left; nothing is posted after this."""
        logging.getLogger(ROOT).removeHandler(self)
        while not self._from_threads.async_q.empty():
            self._post(self._from_threads.async_q.get_nowait())
        self._from_threads.close()
        await self._from_threads.wait_closed()


def _event(record: logging.LogRecord) -> Log:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return Log(record.levelname.lower(), local_time(record.created), record.name, text)
