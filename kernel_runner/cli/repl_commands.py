"""A line that begins with a colon comes in; it is carried out and answered.

Each command is one method of `Commands`; the first line of its docstring is its help.
"""

import difflib
import re
import shlex
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from kernel_runner.cli.repl_screen import Screen
from kernel_runner.client import Kernel
from kernel_runner.errors import KernelRunnerError

Action: TypeAlias = Callable[..., Awaitable[None]]
COMMAND: Final = re.compile(r":[a-z]+")


class Quit(Exception):
    """The user wants to leave."""


class Restart(Exception):
    """The user wants a new runner."""


class CommandError(KernelRunnerError):
    """A command could not be carried out; the text says why."""


class Commands:
    """The commands of one kernel.

    Args:
        run: runs source text as a cell.
        can_restart: the runner is our own.
    """

    def __init__(
        self,
        kernel: Kernel,
        screen: Screen,
        run: Callable[[str], Awaitable[None]],
        *,
        can_restart: bool,
    ) -> None:
        self._kernel = kernel
        self._screen = screen
        self._run = run
        self._can_restart = can_restart

    async def carry_out(self, line: str) -> None:
        """One line.

        Raises:
            CommandError: it is not understood, or a file is not there.
            ClientError: the runner refused it.
        """
        name, _, rest = line.partition(" ")
        if (found := COMMANDS.get(name)) is None:
            close = difflib.get_close_matches(name, COMMANDS, 1)
            hint = f"did you mean {close[0]}?" if close else ":help lists the commands"
            raise CommandError(f"no command {name}; {hint}")
        usage, action = found
        try:
            words = shlex.split(rest)
        except ValueError as error:
            raise CommandError(f"{name}: {error}") from error
        needed = len(re.findall(r"(?<!\[)\b[A-Z]+\b", usage))
        if not needed <= len(words) <= len(usage.split()) - 1:
            raise CommandError(f"write {usage}")
        try:
            await action(self, *words)
        except OSError as error:
            raise CommandError(f"{error.filename or name}: {error.strerror}") from error

    async def help(self) -> None:
        """This list."""
        width = max(len(usage) for usage, _ in COMMANDS.values())
        for usage, action in COMMANDS.values():
            summary = (action.__doc__ or "").partition("\n")[0]
            await self._screen.tell(f"{usage.ljust(width)}  {summary}")
        for line in KEYS:
            await self._screen.tell(line)

    async def upload(self, file: str, name: str = "") -> None:
        """Send a file into the work directory."""
        source = Path(file).expanduser()
        await self._kernel.upload(name or source.name, source)
        await self._screen.tell(f"uploaded {name or source.name}")

    async def download(self, name: str, file: str = "") -> None:
        """Fetch a file of the work directory; never over one that is there."""
        target = Path(file or Path(name).name).expanduser()
        if target.exists():
            raise CommandError(f"{target} is here already; name another one after it")
        await self._kernel.download_to(name, target)
        await self._screen.tell(f"saved as {target}")

    async def files(self, folder: str = ".") -> None:
        """List the work directory, or a folder of it."""
        entries = await self._kernel.list_files(folder)
        for entry in sorted(entries, key=lambda entry: entry.name):
            size = f"{entry.size:>12,}" if entry.kind == "file" else f"{entry.kind:>12}"
            await self._screen.tell(f"{size}  {entry.name}")
        if not entries:
            await self._screen.tell("no files")

    async def restart(self) -> None:
        """Start a new runner; what was defined is lost."""
        if not self._can_restart:
            raise CommandError("this runner was not started here; restart it where it runs")
        raise Restart

    async def queue(self) -> None:
        """List what runs and what waits, of all clients."""
        listing = await self._kernel.queue()
        if listing.running is None and not listing.waiting:
            await self._screen.tell("nothing runs and nothing waits")
        if listing.running is not None:
            await self._screen.tell(f"runs   {listing.running.id}  {listing.running.op}")
        for entry in listing.waiting:
            await self._screen.tell(f"waits  {entry.id}  {entry.op}")

    async def interrupt(self) -> None:
        """Interrupt what runs, whoever sent it."""
        await self._kernel.interrupt()

    async def cancel(self, identifier: str) -> None:
        """Take a task from the queue."""
        await self._kernel.cancel(identifier)

    async def load(self, file: str) -> None:
        """Run a file of this machine as a cell."""
        await self._run(Path(file).expanduser().read_text(encoding="utf-8", errors="replace"))

    async def quit(self) -> None:
        """Leave; so do Ctrl-D and exit."""
        raise Quit


COMMANDS: Final[dict[str, tuple[str, Action]]] = {
    usage.partition(" ")[0]: (usage, action)
    for usage, action in (
        (":help", Commands.help),
        (":upload FILE [NAME]", Commands.upload),
        (":download NAME [FILE]", Commands.download),
        (":files [FOLDER]", Commands.files),
        (":load FILE", Commands.load),
        (":restart", Commands.restart),
        (":queue", Commands.queue),
        (":interrupt", Commands.interrupt),
        (":cancel ID", Commands.cancel),
        (":quit", Commands.quit),
    )
}
"""How each is written, and what it does."""

KEYS: Final = (
    "?NAME, F1              Tell about a name, or about what is at the cursor.",
    "Esc Enter              Run what is typed as it is.",
    "Ctrl-C                 Interrupt the cell; twice in a second: kill it, and lose its state.",
)


def is_command(line: str) -> bool:
    """Whether the line is for us; ``: ${x:=1}`` of a shell is not."""
    return COMMAND.match(line) is not None


def names() -> Sequence[str]:
    return tuple(COMMANDS)
