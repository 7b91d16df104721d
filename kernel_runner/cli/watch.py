"""What is to be run and files in; it runs, and runs again whenever one of the files changes."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from pathlib import Path
from typing import TypeAlias

from watchfiles import Change, awatch

Changes: TypeAlias = AsyncIterator[set[tuple[Change, str]]]


async def run_at_changes(
    run: Callable[[], Coroutine[None, None, int]], names: Collection[str]
) -> int:
    """Goes on until it is cancelled; what still runs when a file changes is ended first."""
    files = {str(Path(name).absolute()) for name in names}
    # editors replace a file, so its folder has to be watched
    changes = aiter(awatch(*{str(Path(file).parent) for file in files}, recursive=False))
    while True:
        running = asyncio.create_task(run(), name="run")
        changed = asyncio.create_task(_change_of(files, changes), name="watch")
        await asyncio.wait({running, changed}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            _tell(f"exit code {running.result()}; waiting for a change")
        else:
            running.cancel()
            await asyncio.wait({running})
        await changed
        _tell("changed; running it again")


async def _change_of(files: set[str], changes: Changes) -> None:
    """Return when one of the files has another content."""
    async for batch in changes:
        if any(path in files and change != Change.deleted for change, path in batch):
            return


def _tell(text: str) -> None:
    print(f"kernel-runner: {text}", file=sys.stderr)
