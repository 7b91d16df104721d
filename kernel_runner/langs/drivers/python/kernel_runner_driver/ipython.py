"""Cells as `Cells` takes them, executed by IPython's shell; the same output and outcomes out."""

from __future__ import annotations

import sys
import warnings

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type
from traitlets.config import Config

from kernel_runner_driver import figures
from kernel_runner_driver.cells import FINE, Cells

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from typing import Any

    from kernel_runner_driver.display import Display
    from kernel_runner_driver.patches import Patches
    from kernel_runner_driver.representations import Bundle
    from kernel_runner_driver.streams import Output


class IPythonCells(Cells):
    """One IPython shell for all cells: magics, `!command`, `?`, history, `Out`."""

    shell = b"ipython"

    def __init__(self, output: Output, display: Display, patches: Patches) -> None:
        super().__init__(output, display, patches)
        config = Config()
        config.HistoryManager.enabled = False  # in memory; no file, and no thread that writes it
        config.InteractiveShell.colors = "NoColor"
        config.InteractiveShell.ast_node_interactivity = "last_expr"
        config.InteractiveShell.enable_tip = False
        Shell.runner_display = display
        self._shell = shell = Shell.instance(config=config, user_module=self._module)
        # the driver has asked objects to display themselves, but for those that it knows better
        shell.display_formatter.ipython_display_formatter.enabled = False
        shell.display_formatter.mimebundle_formatter.enabled = False
        shell.loop_runner = self.run_coroutine
        shell.set_hook("show_in_pager", _print_page, 0)
        self.namespace = shell.user_ns
        self._own_representations = display.represent
        display.represent = self._represent
        display.text = self._text
        warnings.filterwarnings("ignore", "To exit: use")

    def run(self, source: str) -> bytes:
        """Execute `source`; the outcome of a cell that raised nothing."""
        sys.displayhook = self._shell.displayhook
        result = self._shell.run_cell(source, store_history=True)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            figures.show_after(self._display)
            raise error
        figures.show(self._display)
        return FINE

    def completeness(self, source: str) -> str:
        status: str = self._shell.check_complete(source)[0]
        return status

    def magics(self) -> list[str]:
        return [name for kind in self._shell.magics_manager.magics.values() for name in kind]

    def _text(self, value: object) -> str:
        """As IPython lays it out; what raises there does so in `repr`, and is the user's error."""
        text: str | None = self._shell.display_formatter.formatters["text/plain"](value)
        return repr(value) if text is None else text

    def _represent(self, value: object) -> Bundle:
        """What its class says, and what the user has told IPython's formatters about it."""
        data, metadata = self._own_representations(value)
        formatters = self._shell.display_formatter
        told, more = formatters.format(value, exclude=[*data, "text/plain"])
        if told:
            data, metadata = {**data, **told}, {**metadata, **more}
            data.setdefault("text/plain", repr(value))
        return data, metadata


class Echo(DisplayHook):
    """The value of the last expression: kept in `Out`, shown by the driver."""

    def write_output_prompt(self) -> None:
        """There is none: the client has its own."""

    def compute_format_data(self, result: object) -> Bundle:
        """Nothing yet: the driver asks when it shows the object."""
        self._result = result
        return {"text/plain": ""}, {}

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        """Show it as the plain shell does, but text as IPython writes it."""
        display = Shell.runner_display
        display.is_echo_wanted = True
        display.echo(self._result)
        self._result = None

    def finish_displayhook(self) -> None:
        """Nothing was begun."""


class Publisher(DisplayPublisher):
    """What IPython's own code shows."""

    def publish(self, data: Any, metadata: Any = None, **options: Any) -> None:  # type: ignore
        options.pop("source", None)
        Shell.runner_display.publish_display_data(data, metadata, **options)

    def clear_output(self, wait: bool = False) -> None:
        Shell.runner_display.clear_output(wait)


class Compiler(CachingCompiler):
    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        """Cells have the names that they have in the plain shell."""
        return f"<cell {number}>"


class Shell(InteractiveShell):
    runner_display: Display
    displayhook_class = Type(Echo)
    display_pub_class = Type(Publisher)
    compiler_class = Type(Compiler)

    def showtraceback(self, *_: object, **_options: object) -> None:
        """The driver reports what a cell raised."""

    def showsyntaxerror(self, *_: object, **_options: object) -> None:
        """As above."""

    def _format_exception_for_storage(self, *_: object, **_options: object) -> dict[str, Any]:
        """Nobody reads what IPython would keep of it, and to make that runs code of the user."""
        return {}

    def system(self, command: str) -> None:
        """`!command`: with the input, output and interrupts that programs have."""
        import importlib
        import subprocess

        self.user_ns["_exit_code"] = subprocess.call(self.var_expand(command, depth=1), shell=True)
        importlib.invalidate_caches()  # it may have been pip

    def ask_exit(self) -> None:
        """`exit` ends the cell, as in the plain shell."""
        raise SystemExit

    def enable_matplotlib(self, gui: Any = None) -> Any:
        """Figures are shown at the end of a cell without it."""
        if gui in (None, "inline", "agg"):
            return "inline", "agg"
        return super().enable_matplotlib(gui)


def _print_page(shell: Any, data: Any, *_: object, **_options: object) -> None:
    text = data.get("text/plain", "") if isinstance(data, dict) else str(data)
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
