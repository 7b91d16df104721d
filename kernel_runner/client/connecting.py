"""An address in, a kernel that is connected out."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from kernel_runner.client.errors import (
    IncompatibleRunner,
    RequestRefused,
    RunnerUnreachable,
)
from kernel_runner.client.kernel import Kernel
from kernel_runner.client.socket import ClientSocket
from kernel_runner.keys import read_client
from kernel_runner.messages.session_wire import Received

CONNECT_SECONDS: Final = 10.0


@asynccontextmanager
async def connect(
    address: str,
    *,
    session: str | None = None,
    requests: Sequence[str] = (),
    keep: bool = False,
    key_file: Path | str | None = None,
    timeout_seconds: float = CONNECT_SECONDS,
) -> AsyncIterator[Kernel]:
    """A kernel with a session of its own, or one that takes `session` over.

    A connection that is lost is made again by itself, and what was asked goes on.

    Args:
        address: of the session dialect, as the runner prints it: ``tcp://127.0.0.1:2010``.
        requests: the ids of requests that `session` has had from another process: what is kept of
            their events, and what is to come, is in `Kernel.expected`.
        keep: leave at the runner what is not taken here, and the last that was, until
            `Kernel.forget`: whoever takes the session over after us gets it again.
        key_file: the client's, as `kernel-runner keygen` makes it, for a runner with keys.
        timeout_seconds: how long the runner may take to answer.

    Raises:
        BadAddress: the address cannot be one.
        BadKey: the key file cannot be used.
        KeyRefused: the runner does not know our key, or one side has keys and the other none.
        RunnerUnreachable: nobody answered in time, or the runner has not the key that we expect.
        IncompatibleRunner: what answers is of another version.
        RequestRefused: there is no such session.

    Example:
        ```python
        from kernel_runner.client import connect

        async with connect(kernel.address) as second:
            result = await second.query("print('one runner, two clients')").result()
            print(result.stdout.strip())  # one runner, two clients
        ```

        Work that goes on while nobody is there, and is come back to, from another process as well:

        ```python
        from kernel_runner.client import connect

        async with connect(kernel.address, keep=True) as first:
            reply = first.query("print('done meanwhile')")
            await anext(reply)  # the runner has it
            session = first.welcome.session
        async with connect(kernel.address, session=session, requests=[reply.id]) as later:
            print((await later.expected.result()).stdout.strip())  # done meanwhile
        ```
    """

    keys = None if key_file is None else read_client(Path(key_file))
    link: ClientSocket

    def open_link(on_event: Callable[[Received], None]) -> ClientSocket:
        nonlocal link
        link = ClientSocket(
            address,
            on_event,
            on_cut=lambda: kernel.come_back(),
            on_error=lambda error: kernel.fail(error),
            keys=keys,
        )
        return link

    kernel = Kernel(open_link)
    if requests:
        kernel.expected = kernel.expect(*requests)
    if keep:
        kernel.keep()
    try:
        await _greet(kernel, session, link, timeout_seconds)
        yield kernel
    finally:
        kernel.close()


async def _greet(
    kernel: Kernel, session: str | None, link: ClientSocket, timeout_seconds: float
) -> None:
    try:
        async with asyncio.timeout(timeout_seconds):
            await kernel.hello(session)
    except TimeoutError as error:
        raise RunnerUnreachable(link.address, timeout_seconds, await link.why_silent()) from error
    except RequestRefused as refused:
        if refused.code not in ("bad-request", "unknown-op"):
            raise
        raise IncompatibleRunner(link.address, refused.message) from refused
