"""A connection to one runner: requests in, their replies out, many at a time."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Protocol, TypeAlias, TypeVar, Unpack

from kernel_runner.client.errors import ClientError, RunnerUnreachable
from kernel_runner.client.options import QueuedOptions, task_options
from kernel_runner.client.reply import Reply, is_terminal
from kernel_runner.client.socket import ClientSocket
from kernel_runner.messages import commands, events
from kernel_runner.messages.session_wire import Received

CONNECT_SECONDS: Final = 10.0

Answer = TypeVar("Answer")


class Link(Protocol):
    """What a kernel needs of a connection; never waits."""

    address: str

    def send(self, command: commands.Command, request_id: str) -> None: ...

    def close(self) -> None: ...


OpenLink: TypeAlias = Callable[[Callable[[Received], None]], Link]
"""Opens a link whose events, in the order of arrival, go to the given function."""


@asynccontextmanager
async def connect(address: str, *, session: str | None = None) -> "AsyncIterator[Kernel]":
    """A kernel with a session of its own, or one that takes `session` over.

    Args:
        address: of the session dialect, as the runner prints it: ``tcp://127.0.0.1:2010``.

    Raises:
        RunnerUnreachable: nobody answered within 10 seconds.
        RequestRefused: there is no such session.
    """
    kernel = Kernel(partial(ClientSocket, address))
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await kernel.hello(session)
        yield kernel
    except TimeoutError as error:
        if kernel.welcome is None:
            raise RunnerUnreachable(address, CONNECT_SECONDS) from error
        raise
    finally:
        kernel.close()


class Kernel:
    """Queued requests return at once; what comes back is awaited on the `Reply`.

    Their options are those of `docs/protocol.md`, section 4, as keywords: `run`, `args`, `stdin`
    (``"prompt"``, ``"stream"``, ``"none"`` or bytes), `wall_s`, `env`, `cwd`, `tty` (rows and
    columns, or False) and `keep_background`.  A query takes `run`, `stdin` and `wall_s` only.
    """

    def __init__(self, open_link: OpenLink) -> None:
        self._replies: dict[str, Reply] = {}
        self._numbers = itertools.count(1)
        self._link = open_link(self._receive)
        self._error: ClientError | None = None
        self.welcome: events.Welcome | None = None
        self.on_other: Callable[[Received], None] = lambda received: None
        """Called with events that belong to no request that is open, such as logs."""

    @property
    def address(self) -> str:
        """Where the runner is reached."""
        return self._link.address

    def close(self) -> None:
        self._link.close()

    def send(self, command: commands.Command, request_id: str | None = None) -> Reply:
        """Send any command; without an id it gets one.

        Raises:
            ValueError: a request with this id is still open.
        """
        request_id = request_id or f"r{next(self._numbers)}"
        if request_id in self._replies:
            raise ValueError(f"a request with the id {request_id!r} is still open")
        reply = self._replies[request_id] = Reply(request_id)
        if self._error is not None:
            reply.fail(self._error)
        else:
            self._link.send(command, request_id)
        return reply

    def fail(self, error: ClientError) -> None:
        """The runner is gone: every open request, and every later one, gets this error."""
        self._error = error
        for reply in self._replies.values():
            reply.fail(error)

    async def hello(self, session: str | None) -> None:
        self.welcome = await self._ask(commands.Hello(session), events.Welcome)

    # Queued -----------------------------------------------------------------------------------

    def query(self, code: str, **options: Unpack[QueuedOptions]) -> Reply:
        """Run source text; what it defines is kept."""
        return self.send(commands.Query(code, task_options(options)))

    def clean(self, script: str = "*", **options: Unpack[QueuedOptions]) -> Reply:
        """Remove what a build made: ``*`` as the language does, else a shell command."""
        return self.send(commands.Clean(script, task_options(options)))

    def build(self, script: str = "*", **options: Unpack[QueuedOptions]) -> Reply:
        """Compile: ``*`` as the language does, else a shell command."""
        return self.send(commands.Build(script, task_options(options)))

    def execute(self, script: str = "*", **options: Unpack[QueuedOptions]) -> Reply:
        """Run: ``*`` as the language does, else a shell command."""
        return self.send(commands.Execute(script, task_options(options)))

    # Immediate --------------------------------------------------------------------------------

    async def input(self, text: str | bytes) -> None:
        """Give input to the running program, as it is; returns when the kernel has taken it.

        Raises:
            RequestRefused: nobody waits for input.
        """
        data = text.encode() if isinstance(text, str) else text
        await self._ask(commands.Input(data), events.Ok)

    async def eof(self) -> None:
        """End the input of the running program."""
        await self._ask(commands.EndOfInput(), events.Ok)

    async def interrupt(self, target: str | None = None, *, force: bool = False) -> None:
        """Stop what runs; with a target only that request, by its `Reply.id`.

        Args:
            force: SIGKILL at once; a query's interpreter loses its state.

        Raises:
            RequestRefused: the target does not run.
        """
        await self._ask(commands.Interrupt(target, force), events.Ok)

    async def cancel(self, target: str) -> None:
        """Take a request from the queue by its `Reply.id`, or interrupt it when it runs.

        Raises:
            RequestRefused: it neither waits nor runs.
        """
        await self._ask(commands.Cancel(target), events.Ok)

    async def complete(self, code: str, cursor: int | None = None) -> Sequence[str]:
        """How the code could go on at the cursor, counted in characters; by default its end."""
        request = commands.Complete(code, len(code) if cursor is None else cursor)
        return (await self._ask(request, events.Completion)).suggestions

    async def inspect(self, code: str, cursor: int | None = None) -> str:
        """Signature and help of what stands at the cursor; empty when unknown."""
        request = commands.Inspect(code, len(code) if cursor is None else cursor)
        return (await self._ask(request, events.Inspection)).text

    async def is_complete(self, code: str) -> str:
        """Whether the code could run as it is: complete, incomplete, invalid or unknown."""
        return (await self._ask(commands.IsComplete(code), events.Completeness)).status

    async def status(self) -> events.Status:
        return await self._ask(commands.GetStatus(), events.Status)

    async def queue(self) -> events.QueueListing:
        """What runs and what waits, of all sessions."""
        return await self._ask(commands.ListQueue(), events.QueueListing)

    async def upload(self, path: str, data: bytes, *, executable: bool = False) -> None:
        """Write a file of the work directory, and the folders that lead to it.

        Raises:
            RequestRefused: the path leads out of the work directory.
        """
        await self._ask(commands.Upload(path, data, executable), events.Ok)

    async def download(self, path: str) -> bytes:
        """The content of a file of the work directory.

        Raises:
            RequestRefused: there is no such file.
        """
        return (await self._ask(commands.Download(path), events.File)).data

    async def list_files(self, path: str = ".") -> Sequence[events.FileEntry]:
        """What one folder of the work directory holds."""
        return (await self._ask(commands.ListFiles(path), events.Files)).entries

    async def _ask(self, command: commands.Command, kind: type[Answer]) -> Answer:
        answer = await self.send(command).answer()
        assert isinstance(answer, kind), f"{command.op} was answered by {answer!r}"
        return answer

    def _receive(self, received: Received) -> None:
        reply = self._replies.get(received.id or "")
        if reply is None:
            self.on_other(received)
            return
        if is_terminal(received.event):
            del self._replies[reply.id]
        reply.put(received)
