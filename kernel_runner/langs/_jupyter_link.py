"""Requests to a Jupyter kernel in, its messages out: jupyter_client's end of its five sockets."""

import asyncio
import itertools
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.connect import write_connection_file
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

from kernel_runner.errors import NothingToRun
from kernel_runner.supervision import watched

PYTHONS: Final = ("python", "python3", f"python3.{sys.version_info[1]}")
"""A spec that begins with one of these means the Python that its kernel was installed with."""

HANDSHAKE_SUCCEEDED: Final = 0x1000
"""ZeroMQ's event of that name."""

Content: TypeAlias = Mapping[str, Any]
Message: TypeAlias = Mapping[str, Any]

log = logging.getLogger(__name__)

_numbers = itertools.count(1)


def find_spec(name: str) -> KernelSpec:
    """The kernelspec of exactly this name.

    Raises:
        NothingToRun: there is none.
    """
    manager = KernelSpecManager()
    known = manager.find_kernel_specs()
    if name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise NothingToRun(f"no Jupyter kernel {name!r} is installed; there are: {names}")
    return manager.get_kernel_spec(name)


def command_of(spec: KernelSpec, connection_file: Path) -> Sequence[str]:
    """The command line that the spec asks for."""
    values = {
        "{connection_file}": str(connection_file),
        "{prefix}": sys.prefix,
        "{resource_dir}": spec.resource_dir,
    }
    words = list(spec.argv)
    for template, value in values.items():
        words = [word.replace(template, value) for word in words]
    return [sys.executable, *words[1:]] if words[0] in PYTHONS else words


class Link:
    """Connected from `open` to `close`.

    Args:
        folder: where the connection file is made, and the sockets of a kernel that can do without
            tcp; nobody else can read there.
        on_published: awaited with each message for all clients, in order.
        on_question: awaited with each request for input.
    """

    def __init__(
        self,
        spec: KernelSpec,
        folder: Path,
        *,
        on_published: Callable[[Message], Awaitable[None]],
        on_question: Callable[[Content], Awaitable[None]],
    ) -> None:
        self._on_published, self._on_question = on_published, on_question
        stem = folder / f"jupyter-{next(_numbers)}"
        # Over tcp every user of the machine can read what is published, though not send.  ipykernel
        # can do without; xeus-python 0.19 cannot.
        by_file = "supported_encryption" in spec.metadata
        file, info = write_connection_file(
            f"{stem}.json",
            transport="ipc" if by_file else "tcp",
            ip=str(stem) if by_file else "127.0.0.1",
            key=os.urandom(32).hex().encode(),
        )
        self.connection_file = Path(file)
        self.client = AsyncKernelClient()
        # kernels drop what they publish for a reader that is slow; so we are not
        self.client.context.rcvhwm = 0
        self.client.load_connection_info(info)
        self._replies: dict[str, asyncio.Future[Content]] = {}
        self._readers: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Before the kernel starts, so that its greeting is not missed."""
        client = self.client
        client.start_channels()
        self._greetings = client.stdin_channel.socket.get_monitor_socket(HANDSHAKE_SUCCEEDED)

        async def ask(message: Message) -> None:
            await self._on_question(message["content"])

        channels: Sequence[tuple[AsyncZMQSocketChannel, Callable[[Message], Awaitable[None]]]] = (
            (client.shell_channel, self._hear_reply),
            (client.control_channel, self._hear_reply),
            (client.stdin_channel, ask),
            (client.iopub_channel, self._on_published),
        )
        self._readers = [watched(_read(*one), "Jupyter kernel") for one in channels]

    async def until_greeted(self) -> None:
        """Return when its questions can arrive: a kernel drops those for whom it does not know."""
        await self._greetings.recv_multipart()
        self.client.stdin_channel.socket.disable_monitor()

    async def close(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        if self._readers:
            self.client.stop_channels()
        self.connection_file.unlink(missing_ok=True)

    @property
    def is_beating(self) -> bool:
        """Whether the kernel has answered the last heartbeat."""
        return bool(self.client.hb_channel.is_beating())

    def reply_to(self, request_id: str) -> asyncio.Future[Content]:
        """Done with the content of the reply; cancel it when nobody waits any more."""
        reply: asyncio.Future[Content] = asyncio.get_running_loop().create_future()
        self._replies[request_id] = reply
        reply.add_done_callback(lambda _: self._replies.pop(request_id, None))
        return reply

    def interrupt(self) -> None:
        """For kernels that are interrupted by a message."""
        session = self.client.session
        self.client.control_channel.send(session.msg("interrupt_request", {}))

    def fail(self, error: Exception) -> None:
        """The kernel is gone: whoever waits for a reply gets this error."""
        for reply in list(self._replies.values()):
            if not reply.done():
                reply.set_exception(error)
                reply.exception()  # it may be that nobody waits

    async def _hear_reply(self, message: Message) -> None:
        reply = self._replies.get(message["parent_header"].get("msg_id", ""))
        if reply is not None and not reply.done():
            reply.set_result(message["content"])


async def _read(
    channel: AsyncZMQSocketChannel, on_message: Callable[[Message], Awaitable[None]]
) -> None:
    while True:
        try:
            message = await channel.get_msg()
        except ValueError as error:  # not signed, or not JSON
            log.warning("a message of the Jupyter kernel is dropped: %s", error)
            continue
        await on_message(message)
