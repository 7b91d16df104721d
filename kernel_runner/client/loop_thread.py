"""Coroutines in, what they return out, for callers without an event loop of their own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from kernel_runner.client.errors import KernelClosed

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own; any other thread can wait for coroutines in it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._block: asyncio.Task[None] | None = None
        # a daemon, since the end of Python waits for others before it calls what ends this one
        self._thread = threading.Thread(target=self._run, name="kernel-runner", daemon=True)
        self._thread.start()

    def enter(self, open_block: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """Enter a block, which is left by `close`; what it gives, or raises on the way in."""
        return self.wait(self._enter(open_block))

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises; a Ctrl-C here cancels it.

        Raises:
            KernelClosed: the loop has ended.
        """
        if not self._thread.is_alive() or self._loop.is_closed():
            work.close()
            raise KernelClosed
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def close(self) -> None:
        """Leave the block and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            if threading.current_thread() is not self._thread:  # it may be the garbage collector's
                self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        await self._stop.wait()
        if self._block is not None:
            await asyncio.wait({self._block})

    async def _enter(self, open_block: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._block = asyncio.create_task(self._hold(open_block, entered), name="block")
        try:
            return await entered
        finally:
            if entered.cancelled():  # nobody waits for it any more
                self._block.cancel()

    async def _hold(
        self,
        open_block: Callable[[], AbstractAsyncContextManager[T]],
        entered: asyncio.Future[T],
    ) -> None:
        """A block is entered and left by the same task."""
        try:
            async with open_block() as inner:
                entered.set_result(inner)
                await self._stop.wait()
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)
