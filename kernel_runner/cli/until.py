"""A server in; it is told to stop when nobody wants it any more."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel_runner.errors import ConfigError
from kernel_runner.launcher import Launcher

if TYPE_CHECKING:
    from kernel_runner.server import Server

LOOK_SECONDS: Final = 1.0
"""How often a runner looks whether it is done: sessions expire without a word."""
UNUSED_SECONDS: Final = 60.0
"""How long it waits to be asked for the first time."""


class Until:
    """Until when a runner serves, beside signals.

    Args:
        stdin_fd: the standard input that it was started with, if it was told to hear it.  Each line
            is a path that goes with the runner: who started it may be gone, however it has ended.
        eof: the end of that is the runner's.
        fetched: so is the end of its work, when that was fetched, or when its socket was removed,
            as `attach` does at the end: what others have left nobody can fetch any more.
    """

    def __init__(self, stdin_fd: int | None, *, eof: bool, fetched: bool) -> None:
        self._stdin_fd = stdin_fd
        self._eof, self._fetched = eof, fetched
        self._unread = b""
        self._was_used = False

    def watch(
        self, server: "Server", launcher: Launcher, stop: asyncio.Event, session_at: str | None
    ) -> None:
        """Set `stop` when it is time.

        Raises:
            ConfigError: standard input cannot be waited for.
        """
        loop = asyncio.get_running_loop()
        if self._stdin_fd is not None:
            try:
                loop.add_reader(self._stdin_fd, self._read, self._stdin_fd, launcher, stop)
            except OSError as error:  # a file ends at once, and cannot be waited for
                text = "standard input is no pipe that somebody holds"
                raise ConfigError(
                    [f"--until-{'eof' if self._eof else 'fetched'}: {text}"]
                ) from error
        if self._fetched:
            scheme, _, path = (session_at or "").partition("://")
            socket = Path(path) if scheme == "ipc" else None
            self._look(server, stop, socket, loop.time() + UNUSED_SECONDS)

    def _read(self, fd: int, launcher: Launcher, stop: asyncio.Event) -> None:
        if not (data := os.read(fd, 65_536)):
            asyncio.get_running_loop().remove_reader(fd)
            if self._eof:
                stop.set()
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            launcher.remove_at_end(Path(os.fsdecode(line)))

    def _look(
        self, server: "Server", stop: asyncio.Event, socket: Path | None, unused_until: float
    ) -> None:
        loop = asyncio.get_running_loop()
        self._was_used |= server.was_used
        is_lost = socket is not None and not socket.exists()
        is_due = self._was_used or loop.time() > unused_until
        if is_due and server.is_idle and (server.is_fetched or is_lost):
            stop.set()
        else:
            loop.call_later(LOOK_SECONDS, self._look, server, stop, socket, unused_until)
