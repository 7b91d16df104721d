"""HTTP requests with code come in, by ASGI; what it printed goes out as JSON.  A kernel per user.

Any ASGI server serves `app`; here `main` is the server, so that nothing has to be installed.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

from kernel_runner import Kernel, launch
from kernel_runner.client import ClientError

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

WALL_SECONDS = 10.0


class Kernels:
    """The kernels of all users; each starts with the first request of its user."""

    def __init__(self) -> None:
        self._block = AsyncExitStack()
        self._kernels: dict[str, asyncio.Task[Kernel]] = {}

    async def of(self, user: str) -> Kernel:
        """Two requests of a new user at the same time get the same one."""
        if user not in self._kernels:
            start = self._block.enter_async_context(launch("python"))
            self._kernels[user] = asyncio.create_task(start)
        return await asyncio.shield(self._kernels[user])

    def forget(self, user: str) -> None:
        """The next request of this user gets a new kernel."""
        self._kernels.pop(user, None)

    async def close(self) -> None:
        """End all of them; nothing of them is left."""
        await asyncio.gather(*self._kernels.values(), return_exceptions=True)
        await self._block.aclose()


kernels = Kernels()


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """`POST /run` with the code as the body; the header `user` says whose kernel it is."""
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    user = dict(scope["headers"]).get(b"user", b"").decode()
    if scope["method"] != "POST" or scope["path"] != "/run" or not user:
        await answer(send, 404, {"error": "POST /run, with a header `user`"})
        return
    code = await body(receive)
    try:
        kernel = await kernels.of(user)
        result = await kernel.query(code, stdin="none", wall_s=WALL_SECONDS).result()
    except ClientError as error:
        kernels.forget(user)
        await answer(send, 503, {"error": str(error)})
        return
    await answer(send, 200, {"output": result.output, "reason": result.reason})


async def live(receive: Receive, send: Send) -> None:
    """The server starts and ends."""
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await kernels.close()
    await send({"type": "lifespan.shutdown.complete"})


async def body(receive: Receive) -> str:
    data, more = b"", True
    while more:
        message = await receive()
        data += message.get("body", b"")
        more = message.get("more_body", False)
    return data.decode(errors="replace")


async def answer(send: Send, status: int, content: object) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


# In place of a server ------------------------------------------------------------------------


async def post(user: str, code: str) -> str:
    """The body of the response."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/run",
        "headers": [(b"user", user.encode())],
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": code.encode()}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return str(sent[-1]["body"].decode())


async def main() -> None:
    await asyncio.gather(post("ada", "x = 41"), post("bob", "x = 'mine'"))
    for user in ("ada", "bob"):
        print(user, await post(user, "print(x)"))
    print("ada", await post("ada", "x / 0"))
    await kernels.close()


if __name__ == "__main__":
    asyncio.run(main())
