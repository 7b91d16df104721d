"""One runner, as its client sees it: a method for each thing that can be asked of it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypeAlias, Unpack

from kernel_runner.client import files as local_files
from kernel_runner.client.errors import ClientError, RequestWithdrawn
from kernel_runner.client.files import Files
from kernel_runner.client.options import LimitValues, QueuedOptions, Tty, task_options
from kernel_runner.client.reply import Reply
from kernel_runner.client.transfers import Transfers
from kernel_runner.messages import commands, events
from kernel_runner.messages.options import StdinMode


class Kernel(Transfers):
    """What runs user code.  Many requests can be open at a time; they wait in one line.

    `query`, `run`, `clean`, `build` and `execute` return a `Reply` at once; all other methods
    return when they are answered, whatever is running.  Every request fails with a
    `kernel_runner.client.errors.ClientError` when the kernel is closed or its runner is gone.
    """

    # Queued -----------------------------------------------------------------------------------

    def query(self, code: str, **options: Unpack[QueuedOptions]) -> Reply:
        """Run source text; what it defines is kept for the next query.

        The options are those of `kernel_runner.client.options.QueuedOptions`, such as
        ``wall_s=10``.

        Raises:
            ValueError: an option has a value that it cannot have.

        Example:
            ```python
            await kernel.query("x = 41").result()
            result = await kernel.query("print(x + 1)").result()
            print(result.stdout.strip())  # 42
            ```
        """
        return self.send(commands.Query(code, task_options(options)))

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
        """Send files, then clean, build and run what is in the work directory.

        Each step is ``"*"``, as the language does it; ``""``, not at all; or a shell command.  The
        program is not run when the build has failed: then the result is that of the build.  A run
        with files takes its place in the line once they have arrived.

        Args:
            files: text, bytes or a local `Path` for each name; a folder is sent with all it holds.
            args: what the program gets on its command line.
            stdin: the input of the program: ``"prompt"``, ``"stream"``, ``"none"`` or bytes.
            limits: what each step may use, such as ``{"wall_s": 10}``.
            env: variables that each step has beside those of the runner.
            cwd: where each step runs, below the work directory.
            tty: a terminal of (rows, columns) for the program, or False for pipes.
            sources: the files of the program, where the language is not to look for them.

        Raises:
            ValueError: no step is left, or an option has a value that it cannot have.
            LocalFileError: a file on this side cannot be read.

        Example:
            ```python
            result = await kernel.run(
                files={"main.py": "import sys\\nprint(sys.argv[1], input())"},
                args=["hello"],
                stdin=b"world\\n",
            ).result()
            print(result.check().stdout.strip())  # hello world
            ```
        """
        every: QueuedOptions = {"limits": limits, "env": env or {}, "cwd": cwd, "sources": sources}
        program: QueuedOptions = {**every, "args": args, "stdin": stdin, "tty": tty}
        name = self._new_id()
        steps = _steps({"clean": clean, "build": build, "exec": exec}, name, every, program)
        last_step = [*steps.values()][-1].op
        reply = Reply(tuple(steps), self.send, last_step, self._intake)
        if files:
            sending = local_files.outgoing(files)
            preparing = self._spawn(self._prepare(sending, steps, reply), f"files of {name}")
            preparing.add_done_callback(lambda task: self._withdraw(reply, task))
            reply.preparing = preparing
        else:
            self._post_all(steps, reply)
        return reply

    async def _prepare(
        self, sending: Sequence[local_files.Outgoing], steps: "Steps", reply: Reply
    ) -> None:
        try:
            await self._upload(sending, None)
        except ClientError as error:
            reply.fail(error)
        else:
            self._post_all(steps, reply)

    def _withdraw(self, reply: Reply, preparing: asyncio.Task[None]) -> None:
        if preparing.cancelled():
            reply.fail(self._error or RequestWithdrawn())

    def _post_all(self, steps: "Steps", reply: Reply) -> None:
        for request_id, command in steps.items():
            self._post(command, request_id, reply)

    def clean(self, script: str = "*", **options: Unpack[QueuedOptions]) -> Reply:
        """Remove what a build made: ``*`` as the language does, else a shell command.

        Example:
            ```python
            result = await kernel.clean("rm -f *.o").result()
            print(result.step, result.exit_code)  # clean 0
            ```
        """
        return self.send(commands.Clean(script, task_options(options)))

    def build(self, script: str = "*", **options: Unpack[QueuedOptions]) -> Reply:
        """Compile: ``*`` as the language does, else a shell command.

        Example:
            ```python
            result = await kernel.build("echo made > product").result()
            print((await kernel.download("product")).decode().strip())  # made
            ```
        """
        return self.send(commands.Build(script, task_options(options)))

    def execute(self, script: str = "*", **options: Unpack[QueuedOptions]) -> Reply:
        """Run: ``*`` as the language does, else a shell command.  The options are those of `run`.

        Example:
            ```python
            result = await kernel.execute("echo $NAME; exit 3", env={"NAME": "Ada"}).result()
            print(result.stdout.strip(), result.exit_code)  # Ada 3
            ```
        """
        return self.send(commands.Execute(script, task_options(options)))

    # What runs --------------------------------------------------------------------------------

    async def input(self, text: str | bytes) -> None:
        """Give input to the running program, as it is; returns when the kernel has taken it.

        Raises:
            RequestRefused: nobody waits for input.

        Example:
            ```python
            reply = kernel.query("name = input()")
            await reply.prompt()
            await kernel.input("Ada\\n")
            print((await reply.result()).ok)  # True
            ```
        """
        data = text.encode() if isinstance(text, str) else text
        await self._ask(commands.Input(data), events.Ok)

    async def eof(self) -> None:
        """End the input of the running program.

        Raises:
            RequestRefused: nothing runs that could take input.

        Example:
            ```python
            from kernel_runner.client import events

            reply = kernel.execute("cat; echo at the end", stdin="stream")
            async for event in reply:
                if isinstance(event, events.Started):
                    await kernel.eof()
                elif isinstance(event, events.Output):
                    print(event.data.decode().strip())  # at the end
            ```
        """
        await self._ask(commands.EndOfInput(), events.Ok)

    async def interrupt(
        self, target: str | None = None, *, force: bool = False, typed: bool = False
    ) -> None:
        """Stop what runs; with a target only that request, by its `Reply.id`.

        Args:
            force: SIGKILL at once; a query's interpreter loses its state.
            typed: Ctrl-C was typed, so it does nothing to a program that reads its terminal raw.

        Raises:
            RequestRefused: the target does not run.

        Example:
            ```python
            await kernel.interrupt()  # nothing runs, so nothing happens
            ```
        """
        await self._ask(commands.Interrupt(target, force, typed), events.Ok)

    async def signal(self, name: str, target: str | None = None) -> None:
        """Send a signal, such as ``TERM``, to the program that runs; not to an interpreter.

        Raises:
            RequestRefused: the target does not run, or there is no such signal.

        Example:
            ```python
            from kernel_runner.client import events

            reply = kernel.execute("trap 'exit 7' USR1; echo ready; while :; do :; done")
            async for event in reply:
                if isinstance(event, events.Output):
                    await kernel.signal("USR1")
                    break
            print((await reply.result()).exit_code)  # 7
            ```
        """
        await self._ask(commands.SendSignal(name, target), events.Ok)

    async def resize(self, rows: int, cols: int, target: str | None = None) -> None:
        """Tell the program that its terminal has so many characters now.

        Raises:
            RequestRefused: the target does not run, or has no terminal of its own.

        Example:
            ```python
            from kernel_runner.client import events

            script = "trap 'stty size; exit' WINCH; echo ready; while :; do :; done"
            reply = kernel.execute(script, tty=(24, 80))
            async for event in reply:
                if isinstance(event, events.Output) and b"ready" in event.data:
                    await kernel.resize(40, 100)
                elif isinstance(event, events.Output):
                    print(event.data.decode().strip())  # 40 100
            ```
        """
        await self._ask(commands.Resize(rows, cols, target), events.Ok)

    async def cancel(self, target: str) -> None:
        """Take a request from the queue by its `Reply.id`, or interrupt it when it runs.

        Raises:
            RequestRefused: it neither waits nor runs.

        Example:
            ```python
            reply = kernel.query("while True: pass")
            await kernel.cancel(reply.id)
            print((await reply.result()).reason)  # cancelled
            ```
        """
        await self._ask(commands.Cancel(target), events.Ok)

    # What is asked ----------------------------------------------------------------------------

    async def complete(self, code: str, cursor: int | None = None) -> Sequence[str]:
        """How the code could go on at the cursor, counted in characters; by default its end.

        Example:
            ```python
            print(await kernel.complete("impor"))  # ['import']
            ```
        """
        request = commands.Complete(code, len(code) if cursor is None else cursor)
        return (await self._ask(request, events.Completion)).suggestions

    async def inspect(self, code: str, cursor: int | None = None) -> str:
        """Signature and help of what stands at the cursor; empty when unknown.

        Example:
            ```python
            print((await kernel.inspect("len")).splitlines()[0])  # len(obj, /)
            ```
        """
        request = commands.Inspect(code, len(code) if cursor is None else cursor)
        return (await self._ask(request, events.Inspection)).text

    async def is_complete(self, code: str) -> str:
        """Whether the code could run as it is: complete, incomplete, invalid or unknown.

        Example:
            ```python
            print(await kernel.is_complete("for i in range(3):"))  # incomplete
            ```
        """
        return (await self._ask(commands.IsComplete(code), events.Completeness)).status

    async def status(self) -> events.Status:
        """What the runner is doing.

        Example:
            ```python
            print((await kernel.status()).state)  # idle
            ```
        """
        return await self._ask(commands.GetStatus(), events.Status)

    async def queue(self) -> events.QueueListing:
        """What runs and what waits, of all sessions.

        Example:
            ```python
            print((await kernel.queue()).waiting)  # []
            ```
        """
        return await self._ask(commands.ListQueue(), events.QueueListing)


Steps: TypeAlias = Mapping[str, commands.QueuedCommand]
"""The commands of a run by the ids of their requests."""


def _steps(
    scripts: Mapping[str, str], name: str, every: QueuedOptions, program: QueuedOptions
) -> Steps:
    """The steps of a run that are not skipped; the last one has the name of the run."""
    wanted = [op for op, script in scripts.items() if script]
    if not wanted:
        raise ValueError("a run without clean, build and exec does nothing")
    steps: dict[str, commands.QueuedCommand] = {}
    for op in wanted:
        options = task_options(
            {**program, "run": name} if op == "exec" else {**every, "run": name, "stdin": "none"}
        )
        request_id = name if op == wanted[-1] else f"{name}-{op}"
        steps[request_id] = commands.QUEUED_OPS[op](scripts[op], options)
    return steps
