"""The same client without `await`, for scripts and notebooks: calls in, answers out.

```python
from kernel_runner.client import sync

with sync.launch("python") as kernel:
    print(kernel.query("6 * 7").result().stdout.strip())  # 42
```

Each method waits for what the method of the same name of `kernel_runner.client.Kernel` gives, and
has its arguments and errors.  It works where an event loop runs already, as in a notebook, and from
several threads at once: all that is asynchronous happens in one thread of its own per kernel.

Ctrl-C ends only the waiting: the program goes on until it is interrupted, its reply can be asked
again.  Where no block fits, as over the cells of a notebook, `Kernel.close` ends the kernel; the
end of Python does it at the latest.
"""

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path, PurePath
from typing import Self, Unpack

from kernel_runner import client
from kernel_runner.client.connecting import CONNECT_SECONDS
from kernel_runner.client.files import Content, Files, OnProgress
from kernel_runner.client.launching import START_SECONDS
from kernel_runner.client.loop_thread import LoopThread
from kernel_runner.client.options import LimitValues, QueuedOptions, Tty
from kernel_runner.client.result import Prompt, Result
from kernel_runner.messages import commands, events
from kernel_runner.messages.options import StdinMode

__all__ = ["Kernel", "Reply", "connect", "launch"]


def connect(
    address: str,
    *,
    session: str | None = None,
    key_file: Path | str | None = None,
    timeout_seconds: float = CONNECT_SECONDS,
) -> "Kernel":
    """A kernel at an address, as `kernel_runner.client.connect` gives it.

    Example:
        ```python
        from kernel_runner.client import sync

        with sync.connect(kernel.address) as second:
            print(second.query("2 + 2").result().stdout.strip())  # 4
        ```
    """
    return Kernel(
        lambda: client.connect(
            address, session=session, key_file=key_file, timeout_seconds=timeout_seconds
        )
    )


def launch(
    language: str,
    *,
    work_dir: Path | str | None = None,
    runtime_path: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    python: Path | str = sys.executable,
    options: Sequence[str] = (),
    timeout_seconds: float = START_SECONDS,
) -> "Kernel":
    """A kernel with a runner of its own, as `kernel_runner.client.launch` gives it.

    Example:
        ```python
        from kernel_runner.client import sync

        kernel = sync.launch("python")
        print(kernel.query("2 + 2").result().stdout.strip())  # 4
        kernel.close()
        ```
    """
    return Kernel(
        lambda: client.launch(
            language,
            work_dir=work_dir,
            runtime_path=runtime_path,
            env=env,
            python=python,
            options=options,
            timeout_seconds=timeout_seconds,
        )
    )


class Reply:
    """The events of one request: iterate over it, or ask for its `result`.

    Example:
        ```python
        from kernel_runner.client import events, sync

        with sync.connect(kernel.address) as second:
            for event in second.query("print('one')"):
                if isinstance(event, events.Output):
                    print(event.data.decode().strip())  # one
        ```
    """

    def __init__(self, reply: client.Reply, thread: LoopThread) -> None:
        self._reply = reply
        self._wait = thread.wait

    @property
    def id(self) -> str:
        """What `Kernel.interrupt` and `Kernel.cancel` take as their target."""
        return self._reply.id

    def __iter__(self) -> Iterator[events.AnyEvent]:
        async def following() -> events.AnyEvent | None:
            return await anext(self._reply, None)

        while (event := self._wait(following())) is not None:
            yield event

    def answer(self) -> events.AnyEvent:
        """The terminal event."""
        return self._wait(self._reply.answer())

    def prompt(self) -> Prompt | None:
        """Return when the program waits for input, or None when the request has ended."""
        return self._wait(self._reply.prompt())

    def result(self, *, on_input: Callable[[str, bool], str | None] | None = None) -> Result:
        """How it ended and what it printed; `on_input` is called in the thread that waits here."""
        while on_input is not None and (prompt := self.prompt()) is not None:
            try:
                line = on_input(prompt.text, prompt.is_password)
            except BaseException:
                self.cancel()  # nobody would answer, and others wait in line
                raise
            self._wait(self._reply.give(line))
        return self._wait(self._reply.result())

    def interrupt(self, *, force: bool = False) -> None:
        """Stop it if it runs."""
        self._wait(self._reply.interrupt(force=force))

    def cancel(self) -> None:
        """Take it from the queue, or interrupt it when it runs."""
        self._wait(self._reply.cancel())


class Kernel:
    """One runner; see `kernel_runner.client.Kernel` for what each method does.

    Args:
        open_kernel: gives the block in which the asynchronous kernel is open.
    """

    def __init__(
        self, open_kernel: Callable[[], AbstractAsyncContextManager[client.Kernel]]
    ) -> None:
        thread = LoopThread()
        with ExitStack() as on_failure:
            on_failure.callback(thread.close)
            self._kernel = thread.enter(open_kernel)
            on_failure.pop_all()
        self._thread, self._wait = thread, thread.wait
        # also at the end of Python, where what was made last ends first: so before its folders
        self._end = weakref.finalize(self, thread.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the kernel: its connection, and the runner if it was launched."""
        self._end()

    @property
    def address(self) -> str:
        """Where the runner is reached."""
        return self._kernel.address

    @property
    def welcome(self) -> events.Welcome | None:
        """What the runner told of itself and of our session."""
        return self._kernel.welcome

    @property
    def reconnect_seconds(self) -> float:
        """How long a lost connection may stay away before the open requests are given up."""
        return self._kernel.reconnect_seconds

    @reconnect_seconds.setter
    def reconnect_seconds(self, seconds: float) -> None:
        self._kernel.reconnect_seconds = seconds

    @property
    def max_unread_bytes(self) -> int:
        """How much may arrive and be taken by nobody before more stays with the runner."""
        return self._kernel.max_unread_bytes

    @max_unread_bytes.setter
    def max_unread_bytes(self, size_bytes: int) -> None:
        self._kernel.max_unread_bytes = size_bytes

    def _reply(self, start: Callable[[], client.Reply]) -> Reply:
        async def started() -> client.Reply:
            return start()

        return Reply(self._wait(started()), self._thread)

    # Queued -----------------------------------------------------------------------------------

    def query(self, code: str, **options: Unpack[QueuedOptions]) -> Reply:
        """Run source text; what it defines is kept for the next query."""
        return self._reply(lambda: self._kernel.query(code, **options))

    def run(
        self,
        *,
        files: Files | None = None,
        clean: str = "",
        build: str = "*",
        exec: str = "*",
        args: Sequence[str] = (),
        stdin: StdinMode | bytes = "prompt",
        limits: LimitValues | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        tty: Tty = None,
        sources: Sequence[str] = (),
    ) -> Reply:
        """Send files, then clean, build and run what is in the work directory."""
        return self._reply(
            lambda: self._kernel.run(
                files=files,
                clean=clean,
                build=build,
                exec=exec,
                args=args,
                stdin=stdin,
                limits=limits,
                env=env,
                cwd=cwd,
                tty=tty,
                sources=sources,
            )
        )

    def clean(self, script: str = "*", **options: Unpack[QueuedOptions]) -> Reply:
        """Remove what a build made."""
        return self._reply(lambda: self._kernel.clean(script, **options))

    def build(self, script: str = "*", **options: Unpack[QueuedOptions]) -> Reply:
        """Compile."""
        return self._reply(lambda: self._kernel.build(script, **options))

    def execute(self, script: str = "*", **options: Unpack[QueuedOptions]) -> Reply:
        """Run what is in the work directory, or a shell command."""
        return self._reply(lambda: self._kernel.execute(script, **options))

    def send(self, command: commands.Command, request_id: str | None = None) -> Reply:
        """Send any command."""
        return self._reply(lambda: self._kernel.send(command, request_id))

    # What runs --------------------------------------------------------------------------------

    def input(self, text: str | bytes) -> None:
        """Give input to the running program."""
        self._wait(self._kernel.input(text))

    def eof(self) -> None:
        """End the input of the running program."""
        self._wait(self._kernel.eof())

    def interrupt(
        self, target: str | None = None, *, force: bool = False, typed: bool = False
    ) -> None:
        """Stop what runs; with a target only that request."""
        self._wait(self._kernel.interrupt(target, force=force, typed=typed))

    def signal(self, name: str, target: str | None = None) -> None:
        """Send a signal to the program that runs."""
        self._wait(self._kernel.signal(name, target))

    def resize(self, rows: int, cols: int, target: str | None = None) -> None:
        """Tell the program that its terminal has so many characters now."""
        self._wait(self._kernel.resize(rows, cols, target))

    def cancel(self, target: str) -> None:
        """Take a request from the queue, or interrupt it when it runs."""
        self._wait(self._kernel.cancel(target))

    # What is asked ----------------------------------------------------------------------------

    def complete(self, code: str, cursor: int | None = None) -> Sequence[str]:
        """How the code could go on at the cursor."""
        return self._wait(self._kernel.complete(code, cursor))

    def inspect(self, code: str, cursor: int | None = None) -> str:
        """Signature and help of what stands at the cursor."""
        return self._wait(self._kernel.inspect(code, cursor))

    def is_complete(self, code: str) -> str:
        """Whether the code could run as it is."""
        return self._wait(self._kernel.is_complete(code))

    def status(self) -> events.Status:
        """What the runner is doing."""
        return self._wait(self._kernel.status())

    def queue(self) -> events.QueueListing:
        """What runs and what waits, of all sessions."""
        return self._wait(self._kernel.queue())

    # Files ------------------------------------------------------------------------------------

    def upload(
        self,
        path: str | PurePath,
        content: Content,
        *,
        executable: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Write a file of the work directory; `on_progress` is called in another thread."""
        self._wait(
            self._kernel.upload(path, content, executable=executable, on_progress=on_progress)
        )

    def download(self, path: str) -> bytes:
        """The content of a file of the work directory."""
        return self._wait(self._kernel.download(path))

    def download_to(
        self, path: str, local: Path | str, *, on_progress: OnProgress | None = None
    ) -> None:
        """Save a file or folder here; `on_progress` is called in another thread."""
        self._wait(self._kernel.download_to(path, local, on_progress=on_progress))

    def list_files(self, path: str = ".") -> Sequence[events.FileEntry]:
        """What one folder of the work directory holds."""
        return self._wait(self._kernel.list_files(path))
