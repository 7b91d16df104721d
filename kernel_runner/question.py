"""A question of the runner itself to the client: input in, one line out."""

import asyncio

from kernel_runner.errors import TaskError


class Question:
    """The input side and the activity of a task that asks; `answer` is the line."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def feed(self, data: bytes) -> asyncio.Future[None]:
        if not self.answer.done():
            self.answer.set_result(data.decode(errors="replace").rstrip("\n"))
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        taken.set_result(None)
        return taken

    def end(self) -> None:
        self.feed(b"")

    def unread(self) -> bool:
        return False

    def asks_for_password(self) -> bool:
        return False

    def is_raw(self) -> bool:
        return False

    def close(self) -> None:
        self.answer.cancel()

    def interrupt(self, *, force: bool) -> None:
        if not self.answer.done():
            self.answer.set_exception(Withdrawn("the question was interrupted"))

    def stop_for_limit(self, name: str) -> None:
        self.interrupt(force=True)


class Withdrawn(TaskError):
    """The task was to end while it waited for an answer."""

    reason = "interrupted"
    exit_code = 130
