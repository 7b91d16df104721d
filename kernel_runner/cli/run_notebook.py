"""A notebook in; its cells run, are shown or written back, and the exit code out."""

import argparse
import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kernel_runner import langs
from kernel_runner.cli import media
from kernel_runner.cli.key_option import key_file_of
from kernel_runner.cli.remote import ANSWER_SECONDS, in_full
from kernel_runner.cli.status_line import StatusLine
from kernel_runner.client import Kernel, connect, launch
from kernel_runner.errors import UnknownLanguage, UsageError
from kernel_runner.messages import events
from kernel_runner.messages.options import Limits

if TYPE_CHECKING:
    from kernel_runner.jupyter.notebook import Notebook

FAILED: Final = 1
INTERRUPTED: Final = 128 + signal.SIGINT
WIDTH: Final = 60


def run_notebook(options: argparse.Namespace, limits: Limits, jail: str | None) -> int:
    """Run its cells to the first that fails; 0 when all went well, 1, or 130 after Ctrl-C.

    What came until then is written, too.

    Raises:
        UsageError: the packages for notebooks are missing, or its language is not known.
        ClientError: the file cannot be read or written, or the runner is gone.
    """
    try:
        from kernel_runner.jupyter.notebook import Notebook
    except ImportError:
        hint = "pip install 'kernel-runner[jupyter]'"
        raise UsageError(f"notebooks need a package: {hint}") from None
    notebook = Notebook(Path(options.files[0]))
    target = notebook.file if options.in_place else options.save_as
    language = _language(notebook, options.lang)
    try:
        return asyncio.run(_run(notebook, language, options, limits, jail, shows=target is None))
    finally:
        if target is not None:
            notebook.write(target)


def _language(notebook: "Notebook", chosen: str | None) -> str:
    """Of ours, else that of the Jupyter kernel that the notebook was written with."""
    if chosen is not None:
        return langs.load(chosen).name
    for name in notebook.languages:
        try:
            return langs.load(name).name
        except UnknownLanguage:
            continue
    if notebook.kernel_name is not None:
        return langs.load(f"jupyter:{notebook.kernel_name}").name
    raise UsageError(f"{notebook.file}: it does not say its language; say --lang")


async def _run(
    notebook: "Notebook",
    language: str,
    options: argparse.Namespace,
    limits: Limits,
    jail: str | None,
    *,
    shows: bool,
) -> int:
    from kernel_runner.jupyter.notebook import may_fail, run_cell

    cells = notebook.cells
    status = StatusLine(_write_status if os.isatty(2) else lambda data: None)
    on_output = _Shown(status).show if shows else _ignore
    async with _kernel(notebook, language, options, jail) as kernel:
        with _on_ctrl_c(kernel):
            for number, cell in enumerate(cells, 1):
                first_line = media.printable(cell.source.strip().splitlines()[0])[:WIDTH]
                with status.showing(f"cell {number} of {len(cells)}: {first_line}"):
                    reply = await run_cell(cell, kernel, number, limits=limits, on_output=on_output)
                if reply["status"] == "ok" or may_fail(cell):
                    continue
                if reply["ename"] == "KeyboardInterrupt":
                    return INTERRUPTED
                if not options.allow_errors:
                    _tell(f"cell {number} of {len(cells)} failed: {_why(reply)}")
                    return FAILED
    return 0


def _why(reply: Mapping[str, object]) -> str:
    return media.printable(f"{reply['ename']}: {reply['evalue']}".splitlines()[0])


@asynccontextmanager
async def _kernel(
    notebook: "Notebook", language: str, options: argparse.Namespace, jail: str | None
) -> AsyncIterator[Kernel]:
    """A runner of our own in the notebook's folder, or the one that is asked for."""
    if options.connect is None:
        folder = notebook.file.resolve().parent
        # a kernel of Jupyter keeps its history and more in the home folder
        is_ours = not language.startswith("jupyter:") or options.jail
        words = [f"--jail={jail}"] if jail is not None and is_ours else []
        tool = options.runtime_path
        async with launch(language, work_dir=folder, runtime_path=tool, options=words) as kernel:
            yield kernel
        return
    address, key_file = in_full(options.connect), key_file_of(options)
    async with connect(address, key_file=key_file, timeout_seconds=ANSWER_SECONDS) as kernel:
        assert kernel.welcome is not None, "it has said hello"
        if kernel.welcome.language != language:
            raise UsageError(f"{address} runs {kernel.welcome.language}, and this is {language}")
        yield kernel


@contextmanager
def _on_ctrl_c(kernel: Kernel) -> Iterator[None]:
    """The cell is interrupted; a second time its interpreter is killed."""
    from kernel_runner.messages.commands import Interrupt

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: kernel.send(Interrupt()))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


class _Shown:
    """Outputs as a program's: text to our own streams, pictures drawn or saved."""

    def __init__(self, status: StatusLine) -> None:
        self._status = status
        self._terminal: media.TerminalKind | None = None

    def show(self, kind: str, content: Mapping[str, Any]) -> None:
        self._status.hide()
        match kind:
            case "stream":
                stream = sys.stderr if content["name"] == "stderr" else sys.stdout
                stream.write(content["text"])
            case "error":
                sys.stderr.write("\n".join(content["traceback"]) + "\n")
            case _:
                if self._terminal is None:
                    self._terminal = media.terminal_kind(os.environ, 0, 1)
                shown = media.show(_as_media(content), self._terminal, Path.cwd())
                # where standard output is no terminal it belongs to the cells alone
                stream = sys.stdout if os.isatty(1) or _is_text(content) else sys.stderr
                stream.flush()
                stream.buffer.write(shown)
        sys.stdout.flush()
        sys.stderr.flush()


def _as_media(content: Mapping[str, Any]) -> events.Media:
    return events.Media({mime: _part(mime, part) for mime, part in content["data"].items()})


def _is_text(content: Mapping[str, Any]) -> bool:
    return not media.PICTURES.keys() & content["data"].keys() and "text/plain" in content["data"]


def _part(mime: str, part: Any) -> str | bytes:
    if not isinstance(part, str):
        return json.dumps(part)
    is_binary = mime in media.PICTURES and "xml" not in mime
    return base64.b64decode(part) if is_binary else part


def _ignore(kind: str, content: Mapping[str, Any]) -> None:
    """What is written into the file is not shown."""


def _write_status(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()


def _tell(text: str) -> None:
    print(f"kernel-runner: {text}", file=sys.stderr)
