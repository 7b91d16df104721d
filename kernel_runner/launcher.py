"""The runner's side of the guardian: programs to start in, their ends and usage out.

The wire is described in `kernel_runner.guardian`.
"""

import asyncio
import errno
import logging
import marshal
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from kernel_runner import cgroup, guardian
from kernel_runner.errors import LaunchError

if TYPE_CHECKING:
    from kernel_runner.confinement import Confinement, Refusals
    from kernel_runner.program_start import Spec

Argv: TypeAlias = Sequence[str | Path]
Scope: TypeAlias = Literal["program", "group", "tree"]
Message: TypeAlias = tuple[str | int | dict[str, float] | dict[int, int], ...]
Used: TypeAlias = tuple[float, int]
"""Seconds of processor time, and the most bytes of memory at a time."""
Waiting: TypeAlias = Literal["certain", "maybe"] | None

MESSAGE_BYTES: Final = 65_536

log = logging.getLogger(__name__)


class Exit(msgspec.Struct, frozen=True):
    """How the first process of a program ended; `background` when it left others behind."""

    exit_code: int
    signal: int | None
    background: bool


class Budget(msgspec.Struct, frozen=True):
    """What a program may use, as the kernel and its keeper are told.

    `watched` has `cpu_s`, `memory_bytes` and `processes`; `rlimits` are resource limits by number.
    """

    watched: Mapping[str, float] = {}
    rlimits: Mapping[int, int] = {}


class TreeEnd(msgspec.Struct, frozen=True):
    """No process of the program is left.  `swept` names those that had to be killed."""

    swept: tuple[str, ...] = ()
    cpu_seconds: float = 0.0
    max_rss_bytes: int = 0
    refused: tuple[str, ...] = ()
    """The limits that made calls fail, as far as that is known."""


class Spawned:
    """A started program, as its keeper tells of it."""

    def __init__(
        self,
        keeper: socket.socket,
        what: str,
        on_stopped: Callable[[int], None],
        on_limit: Callable[[str], None],
        on_killed: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._keeper = keeper
        self._what = what
        self._on_stopped = on_stopped
        self._looks: list[asyncio.Future[Waiting]] = []
        self._watches: list[asyncio.Future[Used]] = []
        self.on_limit = on_limit
        """Called with each limit that it goes beyond."""
        self._on_killed = on_killed
        self._refusals: Refusals | None = None
        self._end: TreeEnd | None = None
        self.pid = 0
        self.started: asyncio.Future[None] = self._loop.create_future()
        self.exited: asyncio.Future[Exit] = self._loop.create_future()
        self.ended: asyncio.Future[TreeEnd] = self._loop.create_future()
        self._loop.add_reader(keeper, self._receive)

    def hear_jail(self, refusals: "Refusals") -> None:
        """Its end waits for what these still have to tell."""
        self._refusals = refusals

    def read_refusals(self) -> None:
        """Tell what its jail has refused it until now."""
        if self._refusals is not None:
            self._refusals.read()

    def kill_for_violation(self, sentence: str) -> None:
        """Its jail says that it has to end."""
        self._on_killed(sentence)
        self.sweep()

    def jail_is_empty(self) -> None:
        """No process of it is left in its jail."""
        self._refusals = None
        if self._end is not None and not self.ended.done():
            self.ended.set_result(self._end)

    async def until_started(self) -> None:
        """Return when it runs; raises `LaunchError`.  Cancelling it ends the program."""
        try:
            await asyncio.shield(self.started)
        except asyncio.CancelledError:
            self.sweep()
            self.started.add_done_callback(asyncio.Future.exception)  # nobody asks any more
            raise

    def signal(self, number: int, scope: Scope) -> None:
        """Send a signal to the processes that are left; it is no error when none is."""
        self._tell(("signal", int(number), scope))

    def sweep(self) -> None:
        """Kill every process of the program until none is left."""
        self._tell(("sweep",))

    async def look(self) -> Waiting:
        """Whether a process of the program waits for its standard input just now."""
        if self._end is not None:
            return None
        answer: asyncio.Future[Waiting] = self._loop.create_future()
        self._looks.append(answer)
        self._tell(("look",))
        return await answer

    def watch(self, budget: Budget) -> asyncio.Future[Used]:
        """Have it measured from now on; done when it is."""
        return self._ask_meter(("watch", dict(budget.watched), dict(budget.rlimits)))

    def unwatch(self) -> asyncio.Future[Used]:
        """What was used since `watch`."""
        return self._ask_meter(("unwatch",))

    def _ask_meter(self, message: Message) -> asyncio.Future[Used]:
        answer: asyncio.Future[Used] = self._loop.create_future()
        self._watches.append(answer)
        if self._end is not None:
            self._answer_watch(*_used_at_last(self._end))
        else:
            self._tell(message)
        return answer

    def _tell(self, message: Message) -> None:
        with suppress(OSError):  # the keeper has gone, and with it whoever was meant
            self._keeper.send(marshal.dumps(message))

    def _receive(self) -> None:
        try:
            message = self._keeper.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            # The keeper ended with a word of ours unread.  What it said before is still there, and
            # libuv never again tells of a descriptor that once had an error.
            while self._keeper.fileno() >= 0:
                self._receive()
            return
        except OSError:
            message = b""
        if not message:
            self._lost()
            return
        match marshal.loads(message):
            case ("started", int(pid)):
                self.pid = pid
                self.started.set_result(None)
            case ("failed", int(number), str(what)):
                exit_code = 127 if number == errno.ENOENT else 126
                error = LaunchError(what or self._what, os.strerror(number), exit_code)
                self.started.set_exception(error)
            case ("refused", str(sentence)):
                self.started.set_exception(LaunchError(self._what, sentence, 126))
            case ("stopped", int(number)):
                self._on_stopped(number)
            case ("exited", int(status), bool(background)):
                self.exited.set_result(_exit(status, background=background))
            case ("waiting", answer):
                self._answer_look(answer)
            case ("limit", str(name)):
                self.on_limit(name)
            case ("watched",):
                self._answer_watch(0.0, 0)
            case ("used", float(cpu_seconds), int(peak_bytes)):
                self._answer_watch(cpu_seconds, peak_bytes)
            case ("ended", names, cpu_seconds, max_rss_bytes, refused):
                end = TreeEnd(tuple(names), cpu_seconds, max_rss_bytes, tuple(refused))
                self._finish(end)

    def _finish(self, end: TreeEnd) -> None:
        """Nothing of it is left; its jail may have something to say."""
        self._end = self._end or end
        self.read_refusals()
        if self._refusals is not None:
            self._refusals.close_soon()
        elif not self.ended.done():
            self.ended.set_result(self._end)

    def _lost(self) -> None:
        """The keeper has gone; if it did not say farewell, it was killed, and its tree with it."""
        self._loop.remove_reader(self._keeper)
        self._keeper.close()
        if not self.started.done():
            self.started.set_exception(LaunchError(self._what, "its keeper was killed", 126))
        if not self.exited.done():
            self.exited.set_result(Exit(128 + signal.SIGKILL, signal.SIGKILL, background=False))
        if not self.ended.done():
            self._finish(TreeEnd())
        while self._looks:
            self._answer_look(None)
        while self._watches:
            self._answer_watch(*_used_at_last(self._end or TreeEnd()))

    def _answer_watch(self, cpu_seconds: float, peak_bytes: int) -> None:
        if not (watch := self._watches.pop(0)).done():
            watch.set_result((cpu_seconds, peak_bytes))

    def _answer_look(self, answer: Waiting) -> None:
        if not (look := self._looks.pop(0)).done():  # who asked may have been cancelled
            look.set_result(answer)


def _used_at_last(end: TreeEnd) -> Used:
    return end.cpu_seconds, end.max_rss_bytes


def _exit(status: int, *, background: bool) -> Exit:
    code = os.waitstatus_to_exitcode(status)
    return Exit(code if code >= 0 else 128 - code, -code if code < 0 else None, background)


class Launcher:
    """Asks the guardian at the other end of `control` to start programs.

    Args:
        cgroup: the folder of a cgroup v2, below which limited programs get theirs; None: none.
    """

    def __init__(self, control: socket.socket, cgroup: str | None = None) -> None:
        self._control = control
        self._confinement: Confinement | None = None
        self._cgroup = cgroup
        self._cgroup_parent: str | None = None
        self._to_remove: list[Path] = []
        control.setblocking(False)

    async def spawn(
        self,
        argv: Argv,
        *,
        env: Mapping[str, str],
        cwd: Path,
        descriptors: Sequence[tuple[int, int]],
        terminal: int | None,
        budget: Budget | None = None,
        on_stopped: Callable[[int], None] = lambda _: None,
        on_limit: Callable[[str], None] = lambda _: None,
        on_killed: Callable[[str], None] = lambda _: None,
    ) -> Spawned:
        """Start a program in a session of its own.

        Args:
            env: the complete environment; nothing of ours is added.
            descriptors: pairs of the number in the program and our descriptor; it gets no others.
            terminal: which of the numbers becomes its controlling terminal.
            budget: what it may use; None: it is not measured before `Spawned.watch`.
            on_stopped: called with each signal that stops it, as Ctrl-Z does.
            on_limit: called with each limit that it goes beyond.
            on_killed: called with the reason when its jail ends it.

        Raises:
            LaunchError: not found, not executable, no such directory, no memory.
        """
        words = [os.fspath(word) for word in argv]
        spec: Spec = {
            "argv": words,
            "env": dict(env),
            "cwd": str(cwd),
            "targets": [target for target, _ in descriptors],
            "terminal": terminal,
            "rlimits": dict(budget.rlimits) if budget is not None else {},
            "limits": dict(budget.watched) if budget is not None else None,
            "cgroup": self._cgroup_of_programs() if budget and budget.watched else None,
            "jail": None,
        }
        if self._confinement is not None:
            theirs = [fd for _, fd in descriptors]
            spec["jail"] = self._confinement.place(words[0], env, cwd, theirs)
        ours, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with keepers, _payload(marshal.dumps(dict(spec))) as payload:
            ours.setblocking(False)
            spawned = Spawned(ours, words[0], on_stopped, on_limit, on_killed)
            fds = [keepers.fileno(), payload, *(fd for _, fd in descriptors)]
            with self._refusals_of(spawned) as records:
                fds += records
                await self._send(marshal.dumps(("spawn", len(fds))), fds)
        await spawned.until_started()
        return spawned

    def confine(self, confinement: "Confinement") -> None:
        """Put every program that starts from now on into this jail."""
        self._confinement = confinement
        with _payload(confinement.compiled()) as plan:
            socket.send_fds(self._control, [marshal.dumps(("jail", confinement.policy))], [plan])

    @contextmanager
    def _refusals_of(self, spawned: Spawned) -> Iterator[list[int]]:
        """Where its jail is to write what it refuses, while the block is open; nothing without."""
        if self._confinement is None:
            yield []
            return
        from kernel_runner.confinement import Refusals

        refusals = Refusals(spawned.kill_for_violation, spawned.jail_is_empty)
        spawned.hear_jail(refusals)
        try:
            yield [refusals.write_fd]
        finally:
            os.close(refusals.write_fd)

    def _cgroup_of_programs(self) -> str | None:
        """That of ours which holds theirs; made when it is needed first."""
        if self._cgroup is not None and self._cgroup_parent is None:
            try:
                name = f"kernel-runner-{os.getpid()}-{os.urandom(4).hex()}"
                self._cgroup_parent = cgroup.make_parent(self._cgroup, name)
                self.remove_at_end(Path(self._cgroup_parent))
            except OSError as error:  # a read-only one, as in most containers
                log.debug("no cgroups in %s: %s", self._cgroup, error.strerror)
                self._cgroup = None
        return self._cgroup_parent

    def remove_at_end(self, path: Path) -> None:
        """Have this file or folder removed when the runner has ended, however it ends."""
        self._to_remove.append(path)
        self._control.send(marshal.dumps(("remove", str(path))))

    def remove_now(self) -> None:
        """Do what `remove_at_end` asks for: the guardian may have been killed."""
        guardian.remove_paths([str(path) for path in self._to_remove])

    async def _send(self, message: bytes, fds: Sequence[int]) -> None:
        while True:
            try:
                socket.send_fds(self._control, [message], fds)
                return
            except BlockingIOError:
                await _writable(self._control)
            except OSError as error:
                raise LaunchError("a program", f"the guardian is gone ({error})", 126) from error


@contextmanager
def _payload(content: bytes) -> Iterator[int]:
    """A memory file with what is too large for a message: arguments and environment, a plan."""
    fd = os.memfd_create("kernel-runner-spawn", os.MFD_CLOEXEC)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        yield fd


async def _writable(control: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(control, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(control)


@asynccontextmanager
async def own_guardian(cgroup: str | None = None) -> AsyncIterator[Launcher]:
    """A launcher for tests and for embedding: the guardian is a child of this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kernel_runner.guardian", str(theirs.fileno())),
            pass_fds=[theirs.fileno()],
            stdin=asyncio.subprocess.DEVNULL,
        )
    try:
        with ours:
            yield Launcher(ours, cgroup)
    finally:
        await process.wait()
