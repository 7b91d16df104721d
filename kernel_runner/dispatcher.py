"""Requests in from every channel; to the queue those that wait in line, all others served at once.

It never waits: not for user code, a lock or a send.  What takes time becomes a task of the group.
"""

import logging
import os
import reprlib
import time
from contextlib import suppress
from typing import Final, assert_never

from kernel_runner import __version__, sessions
from kernel_runner.base import BaseRunner
from kernel_runner.errands import Errands
from kernel_runner.errors import (
    NEVER_RAN,
    SEE_THE_LOG,
    Ambiguous,
    KernelRunnerError,
    NoProgram,
    NoPrompt,
    Reason,
    Refusal,
)
from kernel_runner.hooks import attempt
from kernel_runner.lane import KeptSession, Session
from kernel_runner.limits import Allowance
from kernel_runner.look_ups import LookUps
from kernel_runner.messages import commands, events
from kernel_runner.messages.options import Limits
from kernel_runner.messages.request import BadRequest, Peer, Request
from kernel_runner.metrics import SHOWN_OF_SESSION
from kernel_runner.outbox import Outbox
from kernel_runner.supervision import attempt_now
from kernel_runner.task import Task
from kernel_runner.task_queue import QueueFull, TaskQueue

FEATURES: Final = ("batch", "query", "input", "files", "tty", "cancel", "limits")

log = logging.getLogger(__name__)


class Dispatcher:
    """The receiver of all channels.  `state` tells what the runner is doing beside the queue."""

    def __init__(
        self,
        runner: BaseRunner,
        queue: TaskQueue,
        outbox: Outbox,
        allowance: Allowance,
        *,
        max_body_bytes: int,
    ) -> None:
        self._runner = runner
        self._queue = queue
        self._outbox = outbox
        self._allowance = allowance
        self._max_body_bytes = max_body_bytes
        self._look_ups = LookUps(runner, outbox)
        self.errands = Errands(self._refuse)
        self._started_at = time.time()
        self.state: str | None = "initializing"

    # What a channel calls ---------------------------------------------------------------------

    def receive(self, request: Request | BadRequest) -> None:
        if error := attempt_now(lambda: self._receive(request), "a request"):
            self._refuse_failed(request, error)

    def _receive(self, request: Request | BadRequest) -> None:
        if isinstance(request, BadRequest):
            self._refuse_bad(request)
        elif isinstance(request.command, commands.QueuedCommand):
            self._enqueue(request.command, request)
        else:
            try:
                self._serve(request.command, request)
            except Refusal as error:
                self._refuse(request, error.code, str(error), error.hint)

    def attach(self, peer: Peer) -> None:
        if (session := self._outbox.session_of(peer)) is not None:
            session.attach(peer)

    def detach(self, peer: Peer) -> None:
        if (session := self._outbox.session_of(peer)) is not None:
            session.detach()

    def writable(self) -> None:
        self._outbox.pump()

    # What waits in line -----------------------------------------------------------------------

    def _enqueue(self, command: commands.QueuedCommand, request: Request) -> None:
        session = self._outbox.session_of(request.peer)
        if session is None:
            hint = "say hello first, so that there is a session for the events"
            self._refuse(request, "no-session", "this connection has no session", hint)
            return
        if not session.remember(request.id):
            self.errands.begin(self._answer_again(request, session), "answer again", request)
            return
        requested = command.options.limits
        task = Task(command, request.id, session, self._allowance.limits_of(requested))
        if self.state == "stopping":
            _end_unrun(task, "cancelled", "the runner was shut down")
            return
        if (problem := self._allowance.problem_of(requested)) is not None:
            _end_unrun(task, "bad-request", problem)
            return
        self._put(task)

    def _put(self, task: Task) -> None:
        try:
            position = self._queue.put(task)
        except QueueFull:
            _end_unrun(task, "queue-full", "the queue is full; wait for tasks to finish")
            return
        task.post(events.Accepted(position))

    def cancel_all(self) -> None:
        """Answer whatever still waits: the runner stops."""
        for task in list(self._queue.waiting()):
            self._queue.take_out(task)
            _end_unrun(task, "cancelled", "the runner was shut down")

    def _cancel(self, request: Request, target: str) -> None:
        task = self._find(request, target)
        if task is None:
            text = f"no request {target!r} waits or runs"
            self._refuse(request, "not-found", text, "queue tells which do")
            return
        if task is self._queue.running:
            self._interrupt(task, "cancelled", force=False)
        else:
            self._queue.take_out(task)
            _end_unrun(task, "cancelled", "it was taken from the queue")
        self._answer(request, events.Ok())

    def _interrupt_running(self, command: commands.Interrupt, request: Request) -> None:
        running = self._queue.current
        if not self._is_running(command.target, request):
            text = f"request {command.target!r} does not run now"
            self._refuse(request, "not-running", text, "queue tells which does")
            return
        if running is not None and command.typed:
            running.reach(lambda _: self._interrupt_typed(running, force=command.force))
        elif running is not None:
            self._interrupt(running, "interrupted", force=command.force)
        self._answer(request, events.Ok())

    def _interrupt_typed(self, task: Task, *, force: bool) -> None:
        if not task.input.is_raw:
            self._interrupt(task, "interrupted", force=force)

    def _control(self, command: commands.ProgramCommand, request: Request) -> None:
        """Do to the program that runs what its client asks for."""
        running = self._queue.current
        if running is None or not self._is_running(command.target, request):
            raise NoProgram("no such request runs now")
        running.control(command)
        self._answer(request, events.Ok())

    def _is_running(self, target: str | None, request: Request) -> bool:
        running = self._queue.current
        return target is None or (running is not None and self._find(request, target) is running)

    def _find(self, request: Request, target: str) -> Task | None:
        """The task that a request means: of its own session, else the only one of that id.

        Raises:
            Ambiguous: other sessions have several.
        """
        session = self._outbox.session_of(request.peer)
        own = self._queue.find(target, session.name) if session is not None else None
        found = [own] if own is not None else self._queue.all_of(target)
        if len(found) > 1:
            raise Ambiguous(f"{len(found)} sessions have a request {target!r}")
        return found[0] if found else None

    def _interrupt(self, task: Task, reason: Reason, *, force: bool) -> None:
        task.end_reason = task.end_reason or reason
        self.errands.begin(self._call_interrupt(task, force=force), "interrupt")

    async def _call_interrupt(self, task: Task, *, force: bool) -> None:
        if self._queue.running is task:  # it may have ended just now, and the next one is spared
            with suppress(KernelRunnerError):
                await attempt(self._runner.interrupt(force=force), "interrupt")

    # What is served at once -------------------------------------------------------------------

    def _serve(self, command: commands.ImmediateCommand, request: Request) -> None:
        match command:
            case commands.Input(data=data):
                self._feed(request, data)
            case commands.EndOfInput():
                self._feed(request, None)
            case commands.Interrupt():
                self._interrupt_running(command, request)
            case commands.SendSignal() | commands.Resize():
                self._control(command, request)
            case commands.Cancel(target=target):
                self._cancel(request, target)
            case commands.GetStatus(echo=echo):
                self._answer(request, self._status(echo))
            case commands.ListQueue():
                self._answer(request, self._listing())
            case commands.HostEvent(type=kind, data=data):
                log.warning("the host reports %s: %s", kind, reprlib.repr(data))
                self._answer(request, events.Ok())
            case (
                commands.StartService()
                | commands.ShutdownService()
                | commands.ListServices()
                | commands.StartModelService()
            ):
                self._answer(request, _no_service(command))
            case commands.Hello():
                self._hello(command, request)
            case commands.Acknowledge(seq=seq):
                sessions.acknowledge(seq, self._outbox.session_of(request.peer))
                self._answer(request, events.Ok())
            case _:
                self.errands.begin(self._look_ups.answer(command, request), command.op, request)

    def _feed(self, request: Request, data: bytes | None) -> None:
        running = self._queue.current
        if running is None:
            raise NoPrompt("nothing runs that could take input; it was not kept")
        if data is None:
            running.input.end()
            self._answer(request, events.Ok())
        else:
            taken = running.input.feed(data)
            taken.add_done_callback(lambda _: self._answer(request, events.Ok()))

    def _hello(self, command: commands.Hello, request: Request) -> None:
        session = sessions.session_for(command, self._outbox, self._queue.sessions)
        self._answer(
            request,
            events.Welcome(
                session=session.name,
                language=self._runner.name,
                runner_version=__version__,
                features=list(FEATURES),
                first_seq=session.journal.first_seq,
                next_seq=session.next_seq,
                max_body_bytes=self._max_body_bytes,
                max_pending_bytes=session.max_bytes,
            ),
        )
        self._outbox.take_over(session, request.peer, command.after_seq)

    async def _answer_again(self, request: Request, session: Session) -> None:
        """The client is unsure whether it sent this before: it did, and no id is run twice."""
        task = self._queue.find(request.id, session.name)
        if task is not None:
            self._answer(request, events.Accepted(self._queue.position(task)))
        is_kept = isinstance(session, KeptSession) and await self._outbox.send_again(
            request.peer, session, request.id
        )
        if task is None and not is_kept:
            text = f"request {request.id!r} has run, and its events were acknowledged"
            self._refuse(request, "duplicate-id", text, "take an id that is new to the session")

    # Answers ----------------------------------------------------------------------------------

    def _answer(self, request: Request, event: events.AnyEvent) -> None:
        self._outbox.answer(request.peer, event, request.id)

    def _refuse(self, request: Request, code: str, message: str, hint: str) -> None:
        self._answer(request, events.Refused(request.command.op, code, message, hint))

    def _refuse_bad(self, bad: BadRequest) -> None:
        """A queued op ends with its finish message whatever its body was; others with an error."""
        kind = commands.QUEUED_OPS.get(bad.op)
        session = self._outbox.session_of(bad.peer)
        if kind is None or session is None or bad.id is None:
            refusal = events.Refused(bad.op, bad.code, bad.message, bad.hint)
            self._outbox.answer(bad.peer, refusal, bad.id)
            return
        if not session.remember(bad.id):
            request = Request(kind(""), bad.id, bad.peer)
            self.errands.begin(self._answer_again(request, session), "answer again", request)
            return
        task = Task(kind(""), bad.id, session)
        if bad.peer.builtin_session is None:
            _end_unrun(task, "bad-request", bad.message)
            return
        # where answers have no ids, their order has to be that of the requests
        task.end_reason, task.message = "bad-request", bad.message
        self._put(task)

    def _refuse_failed(self, request: Request | BadRequest, error: BaseException) -> None:
        """A bug of ours is answered, too."""
        text = f"the runner failed on it: {type(error).__name__}: {error}"
        session = self._outbox.session_of(request.peer)
        if isinstance(request, BadRequest):
            refusal = events.Refused(request.op, "failed", text, SEE_THE_LOG)
            self._outbox.answer(request.peer, refusal, request.id)
        elif isinstance(request.command, commands.QUEUED) and session is not None:
            if self._queue.find(request.id, session.name) is None:
                unlimited = Task(request.command, request.id, session, Limits())
                _end_unrun(unlimited, "crashed", text)
        else:
            self._refuse(request, "failed", text, SEE_THE_LOG)

    def _status(self, echo: str | None) -> events.Status:
        running = self._queue.running
        busy = "busy" if running is not None or len(self._queue) else "idle"
        return events.Status(
            started_at=self._started_at,
            state=self.state or busy,
            language=self._runner.name,
            runner_version=__version__,
            queue_length=len(self._queue),
            running=running.identity if running is not None else None,
            pid=os.getpid(),
            echo=echo,
            query_shell=self._runner.query_shell,
            counts=self._outbox.metrics.counts(),
        )

    def _listing(self) -> events.QueueListing:
        running = self._queue.running
        return events.QueueListing(
            running=_entry(running) if running is not None else None,
            waiting=[_entry(task) for task in self._queue.waiting()],
        )


def _entry(task: Task) -> events.QueueEntry:
    # who has the whole name of a session can take it over
    return events.QueueEntry(task.identity, task.command.op, task.session.name[:SHOWN_OF_SESSION])


def _end_unrun(task: Task, reason: Reason, message: str) -> None:
    task.finish(events.Finished(task.command.answer, NEVER_RAN, reason, message=message))


def _no_service(command: commands.ServiceCommand) -> events.AnyEvent:
    match command:
        case commands.StartService(name=name):
            return events.ServiceResult("failed", f"no service {name!r} is defined here")
        case commands.StartModelService(name=name):
            return events.ModelServiceResult("failed", f"no service {name!r} is defined here")
        case commands.ListServices():
            return events.AppsResult("done", [])
        case commands.ShutdownService(name=name):
            text = f"no service {name!r} runs"
            return events.Refused(command.op, "not-found", text, "get-apps tells which do")
        case _:
            assert_never(command)
