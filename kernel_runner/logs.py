"""Log records of any thread in, `log` events of the running task out; never into the user's stderr.

Records of the loop's own thread are posted at once, so that they stand where they belong among
the events; those of other threads go through a janus queue.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal, TypeAlias

import janus

from kernel_runner.messages.events import Log, local_time

ROOT: Final = "kernel_runner"
FOREIGN: Final = "opentelemetry"
"""Others whose words are of interest to whoever reads ours."""

LogFormat: TypeAlias = Literal["text", "json"]


def to_stderr(level: int, form: LogFormat) -> None:
    """Have the runner's own log on its standard error too: what a container's log shows."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    for name in (ROOT, FOREIGN):
        logging.getLogger(name).addHandler(handler)
    logging.getLogger(ROOT).setLevel(min(level, logging.INFO))


@contextmanager
def marked(running: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """Every line that is written while the block is open names the task it belongs to.

    Args:
        running: tells of the task that runs; a record that has a `task` knows better.
    """

    def mark(record: logging.LogRecord) -> bool:
        is_ours = record.name.partition(".")[0] == ROOT
        if is_ours and not hasattr(record, "task"):
            record.task = running()
        return True

    handlers = logging.getLogger(ROOT).handlers.copy()
    for handler in handlers:
        handler.addFilter(mark)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(mark)


class TextLines(logging.Formatter):
    """Lines for people: time, level, logger, the id of the task if there is one, text."""

    def format(self, record: logging.LogRecord) -> str:
        log, name = _event(record), _task_of(record).get("task")
        # clients choose the ids: none of them may look like a line of its own
        task = f" [{name.encode('unicode_escape').decode()}]" if name is not None else ""
        return f"{log.time} {log.level.upper()} {log.logger}{task}: {log.text}"


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII; see docs/operations.md for its fields."""

    def format(self, record: logging.LogRecord) -> str:
        log = _event(record)
        fields = {name: getattr(log, name) for name in log.__struct_fields__}
        return json.dumps({**fields, **_task_of(record)})


def _task_of(record: logging.LogRecord) -> Mapping[str, str]:
    return getattr(record, "task", {})


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
