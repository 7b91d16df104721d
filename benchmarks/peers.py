"""Nothing comes in; an ipykernel with its asynchronous client goes out, or None without one."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from jupyter_client.asynchronous.client import AsyncKernelClient
    from jupyter_client.manager import AsyncKernelManager

ANSWER_SECONDS: Final = 60.0
"""A client of Jupyter waits for ever when a message is lost."""


class Peer:
    """One kernel; an execution lasts until its `idle`, which comes after all its output."""

    def __init__(self, manager: "AsyncKernelManager", client: "AsyncKernelClient") -> None:
        self._manager = manager
        self._client = client

    @property
    def pid(self) -> int:
        pid = getattr(self._manager.provisioner, "pid", None)
        assert isinstance(pid, int), "a local kernel has a process"
        return pid

    async def output_of(self, code: str) -> str:
        """Run it and return what it printed to its standard output."""
        request = self._client.execute(code)
        output = [text async for text in self._printed(request)]
        await self._client.get_shell_msg(timeout=ANSWER_SECONDS)
        return "".join(output)

    async def query_seconds(self, code: str, times: int) -> list[float]:
        """How long each execution took to its `idle`, one after the other."""
        seconds = []
        for _ in range(times):
            start = perf_counter()
            request = self._client.execute(code)
            async for _text in self._printed(request):
                pass
            seconds.append(perf_counter() - start)
            await self._client.get_shell_msg(timeout=ANSWER_SECONDS)
        return seconds

    async def complete_seconds(self, code: str, times: int) -> list[float]:
        """How long each completion at the end of the code took to its reply."""
        seconds = []
        for _ in range(times):
            start = perf_counter()
            self._client.complete(code, len(code))
            await self._client.get_shell_msg(timeout=ANSWER_SECONDS)
            seconds.append(perf_counter() - start)
        return seconds

    async def interrupt_seconds(self, code: str) -> float:
        """From the interrupt to the `idle` of code that prints a line and goes on for ever."""
        request = self._client.execute(code)
        printed = self._printed(request)
        await anext(printed)
        start = perf_counter()
        await self._manager.interrupt_kernel()
        async for _text in printed:
            pass
        seconds = perf_counter() - start
        await self._client.get_shell_msg(timeout=ANSWER_SECONDS)
        return seconds

    async def _printed(self, request: str) -> AsyncIterator[str]:
        while True:
            message: dict[str, Any] = await self._client.get_iopub_msg(timeout=ANSWER_SECONDS)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                yield content["text"]
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                return


def installed() -> bool:
    return find_spec("jupyter_client") is not None and find_spec("ipykernel") is not None


@asynccontextmanager
async def peer() -> AsyncIterator[Peer | None]:
    """A kernel while the block is open; None where ipykernel or jupyter_client is missing."""
    if not installed():
        yield None
        return
    from jupyter_client.manager import AsyncKernelManager

    manager = AsyncKernelManager(kernel_name="python3")
    await manager.start_kernel(stderr=subprocess.DEVNULL)  # it warns about plain TCP
    try:
        client = manager.client()
        client.start_channels()
        try:
            await client.wait_for_ready(timeout=ANSWER_SECONDS)
            yield Peer(manager, client)
        finally:
            client.stop_channels()
    finally:
        await manager.shutdown_kernel(now=True)
