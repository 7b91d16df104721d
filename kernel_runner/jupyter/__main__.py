"""What Jupyter starts: a language and a connection file in; a kernel until it is told to end."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

from kernel_runner.client.launching import launch
from kernel_runner.errors import KernelRunnerError
from kernel_runner.jupyter.bridge import Bridge, Language

PARENT: str = "JPY_PARENT_PID"
"""Where Jupyter says whose kernel this is; it ends with that process, however that ends."""


def main(argv: Sequence[str]) -> int:
    """Serve one kernel; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kernel_runner.jupyter", allow_abbrev=False)
    parser.add_argument("language", metavar="LANG")
    parser.add_argument("-f", dest="connection_file", type=Path, required=True, metavar="FILE")
    parser.add_argument("--extension", default=".txt", metavar="ENDING", help="of source files")
    parser.add_argument("--tool-version", default="", metavar="VERSION", help="of the language")
    parser.epilog = "more words for the runner go behind --"
    words = list(takewhile(lambda word: word != "--", argv))
    options = parser.parse_args(words)
    options.rest = argv[len(words) + 1 :]
    try:
        return asyncio.run(_serve(options))
    except KernelRunnerError as error:
        print(f"kernel-runner: {error}", file=sys.stderr)
        return 1


async def _serve(options: argparse.Namespace) -> int:
    language = Language(options.language, options.tool_version, options.extension)
    async with launch(language.name, work_dir=Path.cwd(), options=options.rest) as kernel:
        bridge = Bridge(kernel, options.connection_file, language)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, bridge.interrupt)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, bridge.end)
        _at_end_of_parent(bridge.end)
        try:
            return await bridge.ended
        finally:
            await bridge.close()


def _at_end_of_parent(call: Callable[[], None]) -> None:
    parent = os.environ.get(PARENT, "")
    if not parent.isdecimal():
        return
    try:
        descriptor = os.pidfd_open(int(parent))
    except ProcessLookupError:
        call()
        return
    asyncio.get_running_loop().add_reader(descriptor, call)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
