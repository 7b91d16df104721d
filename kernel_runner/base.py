"""What every language is: hooks that it may override, and tools that the hooks call."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeAlias

from kernel_runner.errors import NothingToRun, TaskError, Unsupported
from kernel_runner.host import Host
from kernel_runner.launcher import Argv
from kernel_runner.messages import events
from kernel_runner.messages.commands import Complete, Inspect, StartService
from kernel_runner.process import OutputKind
from kernel_runner.question import Question
from kernel_runner.task import Task
from kernel_runner.task_program import run_program

ExitCode: TypeAlias = int
"""As a shell counts: 0 is success, 128+n means "ended by signal n"."""

QUIET_ENV: Mapping[str, str] = {
    "TERM": "dumb",
    "NO_COLOR": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "PIP_PROGRESS_BAR": "off",
}
"""For programs that nobody sees in a terminal."""


class BaseRunner(ABC):
    """One language.  The core calls the hooks one at a time, in the order of the queue.

    `complete`, `inspect`, `is_complete`, `interrupt` and `start_service` are the exception: they
    are called at once, while another hook may be running.
    """

    name: ClassVar[str]
    """The name of its file; set when it is loaded."""

    aliases: ClassVar[Sequence[str]] = ()
    """Other names that users know it by."""

    extensions: ClassVar[Sequence[str]] = ()
    """The endings of its source files, with the dot; the first one is for new files."""

    command: ClassVar[str]
    """The interpreter or compiler: what has to be installed."""

    package: ClassVar[str] = ""
    """The Debian package that has `command`."""

    version_args: ClassVar[Sequence[str]] = ("--version",)
    """What `command` is given to tell its version."""

    hello: ClassVar[str]
    """A program that prints ``hello``; the test suite runs it."""

    env: ClassVar[Mapping[str, str]] = {}
    """What its programs find in their environment unless the client or the image says otherwise."""

    output: ClassVar[OutputKind] = "pipes"
    """Terminals where the language's programs would hold output back in a pipe."""

    shows_media: ClassVar[bool] = False
    """Whether its programs can show pictures to the client; see `kernel_runner.shown`."""

    query_shells: ClassVar[Sequence[str]] = ()
    """Where there is a choice: what can execute queries in its interpreter, the default first."""

    query_shell: str | None = None
    """The one of them that does, once it is known."""

    interpreter_restarts = 0
    """How often an interpreter took the place of one that had ended."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.workspace = host.workspace
        self._task: Task | None = None

    # Hooks: what a language may override ------------------------------------------------------

    async def init(self) -> None:
        """Prepare; the loop runs, and the queue waits for this."""

    async def clean_heuristic(self) -> ExitCode:
        """Bring the work directory back to its sources."""
        if self.has_makefile():
            return await self.run(["make", "clean"])
        import shutil  # late here and below: every start would pay for it

        shutil.rmtree(self.workspace.build_folder, ignore_errors=True)
        return 0

    @abstractmethod
    async def build_heuristic(self) -> ExitCode:
        """Compile what is in the work directory; a `Makefile` has been looked for already."""

    @abstractmethod
    async def execute_heuristic(self) -> ExitCode:
        """Run what is in the work directory."""

    async def query(self, code: str) -> ExitCode:
        """Run a piece of source text."""
        raise Unsupported(f"{self.name} has no query mode; use batch mode")

    async def complete(self, request: Complete) -> Sequence[str]:
        """Words that could stand at the cursor, as they would read in full."""
        return ()

    async def inspect(self, request: Inspect) -> str:
        """The signature and help of what stands at the cursor; empty when unknown."""
        return ""

    async def is_complete(self, code: str) -> events.Completeness:
        """Whether the code could run as it is."""
        return events.Completeness("unknown")

    async def interrupt(self, *, force: bool) -> None:
        """Stop what runs: SIGINT for an interpreter, SIGINT to SIGKILL for a program."""
        if self._task is not None:
            self._task.interrupt(force=force)

    def start_service(self, request: StartService) -> Argv | None:
        """The program of a service that no definition file describes; None when unknown."""
        return None

    def media_environment(self, env: Mapping[str, str]) -> Mapping[str, str]:
        """`env` and what makes the language's libraries show their pictures to the client."""
        return env

    async def shutdown(self) -> None:
        """Let go of what `init` took."""

    # Tools: what a language may call ----------------------------------------------------------

    @property
    def task(self) -> Task:
        """The request that runs now."""
        assert self._task is not None, "tools are for hooks"
        return self._task

    @property
    def args(self) -> Sequence[str]:
        """The arguments that the client gave for the program."""
        return self.task.options.args

    @property
    def cwd(self) -> Path:
        return self.workspace.root / (self.task.options.cwd or "")

    def assign(self, task: Task | None) -> None:
        """Called by the core before and after each hook."""
        self._task = task

    async def run(
        self, argv: Argv, *, output: OutputKind = "pipes", env: Mapping[str, str] | None = None
    ) -> ExitCode:
        """Run a program, streamed to the client, with the task's limits, terminal and input.

        Returns when its whole process tree has ended and all its output was passed on.

        Raises:
            LaunchError: it could not be started.
        """
        return await run_program(
            self.host,
            self.task,
            argv,
            cwd=self.cwd,
            env=self.environment(env or {}),
            output=output,
            media_environment=self.media_environment if self.shows_media else None,
        )

    async def run_shell(self, script: str) -> ExitCode:
        """Run a shell command that came from the client."""
        return await self.run(["/bin/sh", "-c", script, "sh", *self.args])

    async def emit(self, event: events.AnyEvent) -> None:
        """Send an event of the running task; waits while the client reads too slowly."""
        await self.task.emit(event)

    async def ask(self, prompt: str, *, password: bool = False) -> str:
        """A line from the client, without its newline; empty when it ended the input."""
        task = self.task
        task.check_interrupted()
        if prompt:
            task.output("stdout", prompt.encode())
        question = Question()
        task.begin(question)
        task.input.connect(question)
        task.input.open_prompt(certain=True, is_password=password)
        try:
            return await question.answer
        finally:
            task.activity = None
            task.input.disconnect()

    def find(self, name: str) -> Path | None:
        """Where a program of the user's PATH is; None when there is none."""
        import shutil

        found = shutil.which(name, path=self.environment({}).get("PATH", os.defpath))
        return Path(found) if found else None

    @property
    def program(self) -> Path:
        """The interpreter or compiler: `runtime_path`, or `command` on the PATH.

        Raises:
            NothingToRun: it is not installed.
        """
        if (found := self.host.runtime_path or self.find(self.command)) is None:
            raise self._not_installed()
        return found

    def explain(self, error: TaskError) -> TaskError:
        """The same error, or that `command` is not installed when this is why."""
        missing = self.host.runtime_path is None and self.find(self.command) is None
        return self._not_installed() if missing else error

    def _not_installed(self) -> NothingToRun:
        hint = f"; on Debian: apt install {self.package}" if self.package else ""
        return NothingToRun(f"{self.command} is not installed{hint}")

    def sources(self) -> Sequence[Path]:
        """The source files that the client named, the main one first; else all that are there.

        Raises:
            NothingToRun: one that was named is not there.
        """
        named = [self.workspace.root / name for name in self.task.options.sources]
        for file in named:
            if not file.is_file():
                raise NothingToRun(f"{file}: no such file")
        return named or self.workspace.sources(*self.extensions)

    def has_makefile(self) -> bool:
        """Whether the work directory is built by make: not when the client named the sources."""
        if self.task.options.sources:
            return False
        return any((self.workspace.root / name).is_file() for name in ("Makefile", "makefile"))

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """What a program finds in its environment: the client's words win."""
        options = self._task.options if self._task is not None else None
        # who says what the streams are knows what a terminal can show
        quiet = {} if options is not None and options.tty is not None else QUIET_ENV
        requested = options.env if options is not None else {}
        return {**self.env, **self.host.env, **quiet, **extra, **requested}
