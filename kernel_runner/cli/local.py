"""A language in, a kernel out: client and runner in this one process, its guardian a child."""

import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from kernel_runner import config
from kernel_runner.base import BaseRunner
from kernel_runner.channels.local import LocalChannel
from kernel_runner.client.kernel import Kernel
from kernel_runner.embedded import serving
from kernel_runner.host import Host
from kernel_runner.launcher import Launcher
from kernel_runner.messages.commands import Command
from kernel_runner.messages.session_wire import Received
from kernel_runner.workspace import Workspace


def _tell(sentence: str) -> None:
    print(f"kernel-runner: {sentence}", file=sys.stderr)


class LocalLink:
    """The link between a kernel and a runner of the same process."""

    address = "this process"

    def __init__(self, on_event: Callable[[Received], None]) -> None:
        self.channel = LocalChannel(on_event)

    def send(self, command: Command, request_id: str) -> None:
        self.channel.say(command, request_id)

    def pause(self) -> None:
        self.channel.reading = False

    def resume(self) -> None:
        self.channel.read_on()

    def close(self) -> None:
        self.channel.close()


@asynccontextmanager
async def local_kernel(
    language: type[BaseRunner],
    launcher: Launcher,
    *,
    work_dir: Path,
    own_streams: Mapping[int, int],
    runtime_path: Path | None = None,
    jail: str | None = None,
) -> AsyncIterator[Kernel]:
    """A kernel for batch requests; nothing is written into the work directory.

    Args:
        jail: the policy of the jail that programs are put into; None: they are in none.
        own_streams: descriptors that a program gets as they are, asked for with ``stream``.
    """
    scratch = config.make_scratch(os.environ)
    launcher.remove_at_end(scratch)
    build_folder = scratch / "build"
    env = dict(os.environ)
    if jail is not None:
        from kernel_runner.cli.jailed import jailed

        words = (jail, language.name, work_dir, scratch, env, build_folder)
        env = jailed(launcher, *words, tell=_tell)
    runner = language(
        Host(
            launcher,
            Workspace(work_dir, build_folder=build_folder),
            scratch,
            env,
            runtime_path,
            batch_only=True,
            own_streams=own_streams,
        )
    )
    links: list[LocalLink] = []

    def open_link(on_event: Callable[[Received], None]) -> LocalLink:
        links.append(LocalLink(on_event))
        return links[0]

    kernel = Kernel(open_link)
    async with serving(runner, links[0].channel):
        yield kernel
