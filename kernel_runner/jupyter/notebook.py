"""A notebook file in; its cells run one after another, and the file with their outputs out."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import nbformat as untyped

from kernel_runner.client import ClientError, Kernel, Limits
from kernel_runner.jupyter.cell import Cell
from kernel_runner.jupyter.requests import Execute

MAY_FAIL: Final = "raises-exception"
LEFT_OUT: Final = "skip-execution"
"""Tags of cells, as Jupyter's own tools have them."""
INTERRUPTED: Final = "KeyboardInterrupt"
OUTPUTS: Final = ("stream", "display_data", "execute_result", "error")

nb: Any = untyped
OnOutput: TypeAlias = Callable[[str, Mapping[str, Any]], None]


class BadNotebook(ClientError):
    """The file is no notebook, or cannot be read or written."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file}: {reason}")


class Notebook:
    """One notebook.

    Raises:
        BadNotebook: the file cannot be read.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # nbformat's, about cells without an id
                self._node = nb.reads(file.read_text(encoding="utf-8"), as_version=4)
                nb.validate(self._node)
        except OSError as error:
            raise BadNotebook(file, (error.strerror or str(error)).lower()) from error
        except (ValueError, AttributeError, KeyError, nb.ValidationError) as error:
            raise BadNotebook(file, f"is not a notebook: {_first_line(error)}") from error

    @property
    def languages(self) -> Sequence[str]:
        """The names of the language that it gives, the best one first."""
        metadata = self._node.metadata
        names = (
            metadata.get("language_info", {}).get("name"),
            metadata.get("kernelspec", {}).get("language"),
        )
        return [str(name).lower() for name in names if name]

    @property
    def kernel_name(self) -> str | None:
        """The name of the kernelspec that it was written with."""
        name = self._node.metadata.get("kernelspec", {}).get("name")
        return str(name) if name else None

    @property
    def cells(self) -> Sequence[Any]:
        """The cells to run; the others hold text, are empty or are to be left out."""
        return [
            cell
            for cell in self._node.cells
            if cell.cell_type == "code" and cell.source.strip() and LEFT_OUT not in _tags(cell)
        ]

    def write(self, file: Path) -> None:
        """Write it as it is now; the file is there as a whole or as it was.

        Raises:
            BadNotebook: it cannot be written.
        """
        file = file.resolve()  # a link stays one
        new = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            new.write_text(nb.writes(self._node) + "\n", encoding="utf-8")
            if file.exists():
                new.chmod(file.stat().st_mode & 0o7777)
            new.replace(file)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise BadNotebook(file, f"cannot be written: {error.strerror}") from error


async def run_cell(
    cell: Any, kernel: Kernel, count: int, *, limits: Limits, on_output: OnOutput
) -> Mapping[str, object]:
    """Run one cell and put its outputs into it; the content of Jupyter's reply.

    Args:
        on_output: called with each output, by its type, when it comes.

    Raises:
        ClientError: the runner is gone; the cell has what came until then.
    """
    cell.outputs, cell.execution_count = [], count

    def publish(kind: str, content: Mapping[str, Any]) -> None:
        if kind in OUTPUTS:
            _append(cell.outputs, kind, content)
            on_output(kind, content)

    request = Execute(cell.source, allow_stdin=False)
    ask: Callable[[str, bool], None] = lambda text, is_password: None  # noqa: E731
    return await Cell(kernel, request, count, publish=publish, ask=ask, limits=limits).run()


def may_fail(cell: Any) -> bool:
    """Whether its author expects that it raises something."""
    return MAY_FAIL in _tags(cell)


def _append(outputs: list[Any], kind: str, content: Mapping[str, Any]) -> None:
    last = outputs[-1] if outputs else {}
    if kind == "stream" and last.get("output_type") == kind and last["name"] == content["name"]:
        last["text"] += content["text"]
        return
    message = {"header": {"msg_type": kind}, "content": content}
    outputs.append(nb.v4.output_from_msg(message))


def _tags(cell: Any) -> Sequence[str]:
    return cell.metadata.get("tags", ())  # type: ignore[no-any-return]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
