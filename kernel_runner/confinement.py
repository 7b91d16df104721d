"""A policy comes in; where each program of a runner is put goes out, and what it was refused."""

import asyncio
import json
import logging
import marshal
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel_runner.config import MEDIA_VARIABLE
from kernel_runner.errors import ConfigError
from kernel_runner.jail import landlock, launch, places, plan, policy_files
from kernel_runner.jail.errors import JailError, KernelLacks, PolicyError
from kernel_runner.jail.report import printable
from kernel_runner.messages.events import JAIL

if TYPE_CHECKING:
    from kernel_runner.confined import Place

AUTO: Final = "auto"
"""The policy of the language, else `default`."""
NONE: Final = "none"
FIELDS: Final = ("rule", "syscall", "args", "path", "pid", "comm", "action", "count")
READ_BYTES: Final = 65_536
LAST_SECONDS: Final = 1.0
"""What the last words of a jail get to arrive, once its program has ended."""

log = logging.getLogger(JAIL)

OnKilled = Callable[[str], None]


def locate(policy: str, language: str) -> str:
    """The file of a policy: a path, a name of those that are shipped, or `auto`.

    Raises:
        JailError: there is none.
    """
    if policy != AUTO:
        return os.path.realpath(policy_files.locate(policy))
    try:
        return policy_files.locate(language)
    except PolicyError:
        return policy_files.locate("default")


class Confinement:
    """The jail of all programs of one runner.

    Args:
        policy: its file.
        work_dir: the folder of the user's files.
        private: folders for what programs make elsewhere; the first one, in the scratch folder,
            for temporary files.
        tools: what programs have to be able to read and execute beside themselves.

    Raises:
        ConfigError: the policy cannot be used, or not here.
    """

    def __init__(
        self, policy: str, *, work_dir: Path, private: Sequence[Path], tools: Sequence[Path]
    ) -> None:
        self.policy = policy
        try:
            self._plan = plan.load_once(policy)
            lacks = launch.lacking(self._plan, landlock.abi(), listens=True)
            if lacks and not self._plan["best_effort"]:
                raise KernelLacks(self._plan["policy"], lacks)
        except JailError as error:
            raise ConfigError([f"jail: {error}"]) from error
        shown = f"{self._plan['policy']}: not enforced here: {'; '.join(lacks)}"
        self.warning = shown if lacks else ""
        """What this kernel cannot do of it; empty where it does all."""
        for folder in private:
            folder.mkdir(parents=True, exist_ok=True)
        real = os.path.realpath(work_dir)
        self._variables = {
            # nobody may write to the system, whoever's current folder that is
            "work_dir": [] if real in launch.SYSTEM else [real],
            "tmp": [str(folder) for folder in private],
            "home": places.variables(work_dir="", tmp="", program="")["home"],
            "package": [str(Path(__file__).parents[1])],
        }
        self._tools = [str(tool) for tool in tools]
        self._scratch = private[0].parent

    def compiled(self) -> bytes:
        """The policy as the guardian is told of it, so that it is read only once."""
        return marshal.dumps(dict(self._plan))

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What of it programs find."""
        found = launch.environment_of(self._plan, self._variables, environ)
        kept = os.path.realpath(found["TMPDIR"]) if found.get("TMPDIR") else None
        if kept is not None and kept not in launch.SYSTEM:
            self._variables["tmp"].append(kept)
        return found

    def place(
        self, program: str, env: Mapping[str, str], cwd: Path, descriptors: Sequence[int]
    ) -> "Place":
        """Where this program is put, with the terminals that it is given."""
        found = str(cwd / (shutil.which(program, path=env.get("PATH")) or program))
        media = env.get(MEDIA_VARIABLE, "")
        terminals = {os.ttyname(fd) for fd in descriptors if os.isatty(fd)}
        return {
            "policy": self.policy,
            "variables": {
                **self._variables,
                "program": [found, *self._tools],
                "python": places.python_of(found),
                "media": [media] if Path(media).parent == self._scratch else [],
                "terminal": [*sorted(terminals), "/dev/tty"] if terminals else [],
            },
            "guarded": [os.getpid()],
        }


class Refusals:
    """Reads what the jail of one program refuses; each kind is logged once.

    Args:
        on_killed: called with the sentence about what is to end the program.
        on_end: called when no process of the program is left in the jail.
    """

    def __init__(self, on_killed: OnKilled, on_end: Callable[[], None]) -> None:
        self._on_killed = on_killed
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        # the warden serves all programs: it never waits for us
        self._fd, self.write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""
        self._is_open = True
        self._loop.add_reader(self._fd, self.read)

    def read(self) -> None:
        """Tell what there is now."""
        while self._is_open:
            try:
                data = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self.close()
                self._on_end()
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._tell(json.loads(line))

    def close_soon(self) -> None:
        """The program has ended: nobody waits much longer."""
        self._loop.call_later(LAST_SECONDS, self._give_up)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    def _give_up(self) -> None:
        if self._is_open:
            self.close()
            self._on_end()

    def _tell(self, record: Mapping[str, object]) -> None:
        sentence = printable(str(record["sentence"]))
        log.warning("%s %s", sentence, json.dumps({name: record[name] for name in FIELDS}))
        if record["action"] == "kill":
            self._on_killed(sentence)
