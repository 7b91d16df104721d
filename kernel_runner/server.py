"""Puts the stages together: channels and a language in, an exit code out.

Every long-lived task of the program is made here, and here is the order of its end.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from kernel_runner.base import BaseRunner
from kernel_runner.bugs import Bugs
from kernel_runner.channels import Channel
from kernel_runner.dispatcher import Dispatcher
from kernel_runner.errors import KernelRunnerError, RunnerBroken
from kernel_runner.hooks import Hooks, attempt
from kernel_runner.limits import Allowance
from kernel_runner.logs import LogStream, marked
from kernel_runner.messages.events import Log
from kernel_runner.metrics import Metrics, Now, task_words
from kernel_runner.outbox import Outbox
from kernel_runner.spool import Spool
from kernel_runner.supervision import reported
from kernel_runner.task_queue import TaskQueue

FLUSH_SECONDS: Final = 1.0
"""What the last events get to leave, once everything else has ended."""

SHUTDOWN_SECONDS: Final = 5.0
"""What a language gets to let go of what it has."""

SWEEP_SECONDS: Final = 300.0
"""How often sessions are looked for that nobody uses any more."""

log = logging.getLogger(__name__)


class Server:
    """One runner.  `serve` runs once.

    Args:
        ready: done when the language can take tasks; the queue starts then.
        announce: called with the bound addresses, before anything else happens.
        allowance: the limits of requests.
        metrics: what counts; None: only `status` asks.
    """

    def __init__(
        self,
        runner: BaseRunner,
        channels: Sequence[Channel],
        *,
        ready: Awaitable[None],
        announce: Callable[[Mapping[str, str]], None],
        max_queue_length: int,
        max_body_bytes: int,
        max_pending_bytes: int,
        spool: Spool,
        allowance: Allowance,
        metrics: Metrics | None = None,
    ) -> None:
        self._runner = runner
        self._channels = channels
        self._ready = ready
        self._announce = announce
        soon = asyncio.get_running_loop().call_soon
        self._outbox = Outbox(max_pending_bytes, soon, spool, metrics)
        self._outbox.metrics.look = self._look
        self._hooks = Hooks(runner)
        self._queue = TaskQueue(self._hooks.run, max_queue_length)
        self._dispatcher = Dispatcher(
            runner, self._queue, self._outbox, allowance, max_body_bytes=max_body_bytes
        )

    @property
    def was_used(self) -> bool:
        """Whether a client of a session that is still there has ever asked for work."""
        return self._outbox.has_told

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or runs."""
        return self._queue.current is None

    @property
    def is_fetched(self) -> bool:
        """Whether all that was to tell was fetched or has expired."""
        return self._outbox.is_fetched

    async def serve(self, stop: asyncio.Event) -> None:
        """Answer commands until `stop` is set.  No child process is left on return.

        Commands end first and the channels last, so the last words still leave.

        Raises:
            ConfigError: an address could not be bound.
        """
        logs = LogStream(self._post_log)
        bugs = Bugs(self._queue)
        try:
            self._open()
            with bugs.heard(), marked(self._running_words):
                await self._run_stages(logs, bugs, stop)
        finally:
            self._hooks.close()
            await logs.stop()
            await self._close()

    async def _run_stages(self, logs: LogStream, bugs: Bugs, stop: asyncio.Event) -> None:
        """Without any of these the runner cannot go on: a bug in one ends all of them."""
        stages = {
            "commands": self._answer(),
            "logs": logs.pump(),
            "idle sessions": self._end_idle_sessions(),
            "bugs": bugs.too_many(),
        }

        def tell(error: Exception) -> None:
            self._hooks.stopping = True
            bugs.crash(error)

        async with asyncio.TaskGroup() as tasks:
            started = [
                tasks.create_task(reported(work, tell), name=name) for name, work in stages.items()
            ]
            stopped = tasks.create_task(stop.wait(), name="stop")
            try:
                await asyncio.wait({started[0], stopped}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._dispatcher.state = "stopping"
                self._hooks.stopping = True
            if not stop.is_set():
                raise RunnerBroken("the queue has ended by itself")
            for task in (*started, stopped):
                task.cancel()

    async def _answer(self) -> None:
        """Cancelling this ends the running command and whatever else was started."""
        dispatcher = self._dispatcher
        try:
            async with asyncio.TaskGroup() as tasks:
                dispatcher.errands.tasks = tasks
                with suppress(KernelRunnerError):  # the log has it; what needs no init still works
                    await attempt(self._ready, "init")
                dispatcher.state = None
                await self._queue.consume()
        finally:
            dispatcher.cancel_all()
            try:
                async with asyncio.timeout(SHUTDOWN_SECONDS):
                    await self._runner.shutdown()
            except TimeoutError as error:
                raise RunnerBroken("the language does not shut down") from error

    async def _end_idle_sessions(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._outbox.end_idle(time.monotonic(), self._queue.sessions)

    def _open(self) -> None:
        """Bind; what arrives meanwhile is received once the loop goes on."""
        addresses: dict[str, str] = {}
        for channel in self._channels:
            addresses |= channel.open(self._dispatcher)
        self._announce(addresses)

    async def _close(self) -> None:
        """Let the last events leave; what nobody takes is counted in the last log."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._outbox.flush()
        if left := self._outbox.pending:
            log.warning("%d events were not delivered", left)
        for channel in self._channels:
            channel.close(linger_ms=0 if left else int(FLUSH_SECONDS * 1_000))

    def _look(self) -> Now:
        return Now(
            queue_length=len(self._queue),
            running=int(self._queue.running is not None),
            sessions=self._outbox.sessions,
            readers=self._outbox.readers,
            pending_events=self._outbox.pending,
            interpreter_restarts=self._runner.interpreter_restarts,
        )

    def _running_words(self) -> Mapping[str, str]:
        """The task that runs; none when none does."""
        task = self._queue.running
        if task is None:
            return {}
        return task_words(task.identity, task.command.op, task.session.name)

    def _post_log(self, record: Log) -> None:
        """To whoever's task is running, else to the agent."""
        running = self._queue.running
        if running is not None:
            running.post(record)
        elif (agent := self._outbox.find_builtin("agent")) is not None:
            agent.answer(record, None)
