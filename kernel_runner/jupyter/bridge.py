"""Messages of Jupyter's clients in; what a runner does with them out.  Cells wait in line."""

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, assert_never

import msgspec

from kernel_runner.client import ClientError, Kernel
from kernel_runner.jupyter import contents, requests
from kernel_runner.jupyter.cell import Cell, gone
from kernel_runner.jupyter.requests import Message
from kernel_runner.jupyter.sockets import Sockets
from kernel_runner.messages import commands

PROTOCOL: Final = "5.4"
DIED: Final = 1
"""The exit code when the runner is gone: Jupyter then starts another kernel."""

log = logging.getLogger(__name__)


class Language(msgspec.Struct, frozen=True):
    """What Jupyter wants to know of a language."""

    name: str
    version: str
    file_extension: str

    @property
    def mimetype(self) -> str:
        return f"text/x-{self.name}"


class Bridge:
    """Serves from construction on, until `ended` is done; that is the exit code."""

    def __init__(self, kernel: Kernel, connection_file: Path, language: Language) -> None:
        self._kernel = kernel
        self._language = language
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting: asyncio.Queue[tuple[Message, requests.Execute]] = asyncio.Queue()
        self._count = 0
        self._is_lost = False
        self._cell: Cell | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets = Sockets(
            connection_file,
            on_message=self._receive,
            on_full=kernel.pause,
            on_room=kernel.resume,
        )
        kernel.on_failure = self._runner_lost
        self._sockets.publish("status", {"execution_state": "starting"}, None)
        self._spawn(self._run_cells(), "cells")

    async def close(self) -> None:
        self._kernel.on_failure = lambda error: None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._sockets.close()

    def end(self, exit_code: int = 0) -> None:
        if not self.ended.done():
            self.ended.set_result(exit_code)

    def interrupt(self) -> None:
        """Stop the cell that runs; its answer need not be waited for."""
        self._kernel.send(commands.Interrupt())

    def _spawn(self, work: Coroutine[object, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)
            self.end(DIED)

    def _runner_lost(self, error: ClientError) -> None:
        log.error("%s", error)
        self._is_lost = True
        if self._cell is None:  # else it tells first
            self.end(DIED)

    # What arrives -----------------------------------------------------------------------------

    def _receive(self, message: Message) -> None:
        try:
            request = requests.read(message)
        except ValueError as error:
            log.warning("%s: %s", message.type, error)
            with self._busy(message):
                self._answer(message, _refusal("BadRequest", str(error)))
            return
        match request:
            case None:
                log.warning("nothing answers a message of type %r", message.type)
            case requests.Execute():
                self._waiting.put_nowait((message, request))
            case requests.InputReply(value=line):
                if self._cell is not None:
                    self._cell.give(line)
            case _:
                self._spawn(self._serve(message, request), message.type)

    async def _serve(self, message: Message, request: requests.Request) -> None:
        """Answer what does not wait in line."""
        with self._busy(message):
            try:
                content = await self._content(message, request)
            except ClientError as error:
                content = {"status": "error", **gone(error)}
            if content is not None:
                self._answer(message, {"status": "ok", **content})
        if isinstance(request, requests.Shutdown):
            self.end()

    async def _content(
        self, message: Message, request: requests.Request
    ) -> dict[str, object] | None:
        kernel = self._kernel
        match request:
            case requests.KernelInfo():
                return self._about()
            case requests.Complete(code=code, cursor_pos=at):
                cursor = _cursor(code, at)
                return contents.matches(code, cursor, await kernel.complete(code, cursor))
            case requests.Inspect(code=code, cursor_pos=at):
                text = await kernel.inspect(code, _cursor(code, at))
                data = {"text/plain": text} if text else {}
                return {"found": bool(text), "data": data, "metadata": {}}
            case requests.IsComplete(code=code):
                return {**contents.completeness(code, await kernel.is_complete(code))}
            case requests.History():
                return {"history": []}  # the client keeps its own
            case requests.CommInfo():
                return {"comms": {}}
            case requests.CommOpen(comm_id=comm):
                self._sockets.publish("comm_close", {"comm_id": comm, "data": {}}, message)
                return None
            case requests.Interrupt():
                self.interrupt()
                return {}
            case requests.Shutdown(restart=restart):
                content = {"status": "ok", "restart": restart}
                self._sockets.publish("shutdown_reply", content, message)
                return content
            case requests.Execute() | requests.InputReply():
                raise AssertionError("these are no questions")
            case _:
                assert_never(request)

    def _about(self) -> dict[str, object]:
        welcome = self._kernel.welcome
        assert welcome is not None, "it has said hello"
        language = self._language
        about = {**msgspec.to_builtins(language), "mimetype": language.mimetype}
        return {
            "protocol_version": PROTOCOL,
            "implementation": "kernel-runner",
            "implementation_version": welcome.runner_version,
            "language_info": about,
            "banner": f"{language.name} {language.version}".strip() + ", run by kernel-runner",
            "help_links": [],
        }

    # Cells ------------------------------------------------------------------------------------

    async def _run_cells(self) -> None:
        while True:
            message, request = await self._waiting.get()
            with self._busy(message):
                content = await self._run_cell(message, request)
                self._answer(message, content)
            if content["status"] == "error" and request.stop_on_error:
                self._abort_waiting()
            if self._is_lost:
                self.end(DIED)

    async def _run_cell(self, message: Message, request: requests.Execute) -> dict[str, object]:
        if request.store_history and not request.silent:
            self._count += 1
        self._cell = cell = Cell(
            self._kernel,
            request,
            self._count,
            publish=lambda kind, content: self._sockets.publish(kind, content, message),
            ask=lambda text, is_password: self._sockets.answer(
                message,
                "input_request",
                {"prompt": text, "password": is_password},
                channel="stdin",
            ),
        )
        try:
            return await cell.run()
        except ClientError as error:
            return {"status": "error", "execution_count": self._count, **gone(error)}
        finally:
            self._cell = None

    def _abort_waiting(self) -> None:
        """What was sent behind a cell that failed is not run."""
        while not self._waiting.empty():
            message, _ = self._waiting.get_nowait()
            with self._busy(message):
                content = {"status": "aborted", "execution_count": self._count}
                self._answer(message, content)

    # What leaves ------------------------------------------------------------------------------

    def _answer(self, message: Message, content: dict[str, object]) -> None:
        self._sockets.answer(message, message.type.replace("_request", "_reply"), content)

    @contextmanager
    def _busy(self, message: Message) -> Iterator[None]:
        """Clients are told when we begin with a message and when we are done."""
        self._sockets.publish("status", {"execution_state": "busy"}, message)
        try:
            yield
        finally:
            self._sockets.publish("status", {"execution_state": "idle"}, message)


def _refusal(name: str, value: str) -> dict[str, object]:
    return {"status": "error", "ename": name, "evalue": value, "traceback": []}


def _cursor(code: str, at: int | None) -> int:
    return len(code) if at is None else max(0, min(at, len(code)))
