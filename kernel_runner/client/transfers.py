"""Files of this side in, files of the work directory out, and the other way round."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from kernel_runner.client import files as local_files
from kernel_runner.client.connection import Connection
from kernel_runner.client.errors import RequestRefused
from kernel_runner.client.files import Content, OnProgress, Progress
from kernel_runner.messages import commands, events

MAX_UPLOAD_BYTES: Final = 64 << 20
"""What a runner takes in one message, if it was not told otherwise."""


class Transfers(Connection):
    """The work directory, as the client sees it."""

    max_upload_bytes: int = MAX_UPLOAD_BYTES
    """The largest file that is sent: less than the runner's ``--max-body-bytes``."""

    async def upload(
        self,
        path: str,
        content: Content,
        *,
        executable: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Write a file of the work directory, and the folders that lead to it.

        Args:
            content: text, bytes, or a `Path` of this side.  A folder is sent with all that it
                holds; of folders that hold nothing nothing is seen on the other side.
            executable: whether it can be run; files of this side say so themselves.
            on_progress: called each time when a file has arrived.

        Raises:
            RequestRefused: the path leads out of the work directory, or cannot be written.
            LocalFileError: a file on this side cannot be read.
            FileTooLarge: a file does not fit into a message.

        Example:
            ```python
            await kernel.upload("data/numbers.txt", "1 2 3")
            result = await kernel.query("print(open('data/numbers.txt').read())").result()
            print(result.stdout.strip())  # 1 2 3
            ```
        """
        sending = local_files.outgoing({path: content}, self.max_upload_bytes)
        if executable:
            sending = [msgspec.structs.replace(file, executable=True) for file in sending]
        await self._upload(sending, on_progress)

    async def _upload(
        self, sending: Sequence[local_files.Outgoing], on_progress: OnProgress | None
    ) -> None:
        done, total = 0, sum(file.size_bytes for file in sending)
        for file in sending:
            is_local = isinstance(file.content, Path)
            data = await asyncio.to_thread(file.read) if is_local else file.read()
            await self._ask(commands.Upload(file.path, data, file.executable), events.Ok)
            done += file.size_bytes
            if on_progress is not None:
                on_progress(Progress(file.path, done, total))

    async def download(self, path: str) -> bytes:
        """The content of a file of the work directory.

        Raises:
            RequestRefused: there is no such file, or it is larger than what a runner sends.

        Example:
            ```python
            await kernel.query("open('made', 'w').write('by the code')").result()
            print(await kernel.download("made"))  # b'by the code'
            ```
        """
        return (await self._ask(commands.Download(path), events.File)).data

    async def download_to(
        self, path: str, local: Path | str, *, on_progress: OnProgress | None = None
    ) -> None:
        """Save a file of the work directory, or a folder with all that it holds, on this side.

        What is neither a file nor a folder, such as a link, is left out of a folder.

        Args:
            on_progress: called each time when a file has arrived.

        Raises:
            RequestRefused: there is no such file, or it is larger than what a runner sends.
            LocalFileError: it cannot be written here.

        Example:
            ```python
            import tempfile
            from pathlib import Path

            await kernel.upload("plots/first.svg", "<svg/>")
            with tempfile.TemporaryDirectory() as folder:
                await kernel.download_to("plots", folder)
                print(Path(folder, "first.svg").read_text())  # <svg/>
            ```
        """
        found = await self._files_below(path, Path(local))
        done, total = 0, sum(size for _, _, size in found)
        for name, target, size in found:
            data = await self.download(name)
            await asyncio.to_thread(local_files.save, target, data)
            done += size
            if on_progress is not None:
                on_progress(Progress(name, done, total))

    async def _files_below(self, path: str, local: Path) -> list[tuple[str, Path, int]]:
        """Each file: its name there, where it goes here, and its size in bytes."""
        try:
            entries = await self.list_files(path)
        except RequestRefused as refused:
            if refused.code != "file-error":  # what is no folder is a file
                raise
            return [(path, local, 0)]
        found: list[tuple[str, Path, int]] = []
        for entry in entries:
            if not local_files.is_plain(entry.name):  # a runner need not be trusted with ours
                continue
            name, target = f"{path}/{entry.name}", local / entry.name
            if entry.kind == "folder":
                found += await self._files_below(name, target)
            elif entry.kind == "file":
                found.append((name, target, entry.size))
        return found

    async def list_files(self, path: str = ".") -> Sequence[events.FileEntry]:
        """What one folder of the work directory holds.

        Raises:
            RequestRefused: there is no such folder.

        Example:
            ```python
            await kernel.upload("folder/a.txt", "a")
            print([entry.name for entry in await kernel.list_files("folder")])  # ['a.txt']
            ```
        """
        return (await self._ask(commands.ListFiles(path), events.Files)).entries
