"""Modules of others as they are imported in; the same modules, made to fit, out."""

from __future__ import annotations

import os
import sys

from kernel_runner_driver.interrupts import FOLDER

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable

    from kernel_runner_driver.asking import Asking
    from kernel_runner_driver.display import Display
    from kernel_runner_driver.streams import Output


DRAWING = "kernel_runner_drawing"
"""A module of ours for users; the folder that it is in is not on their path."""


class Patches:
    """Each module is changed when the user's code imports it, and costs nothing before."""

    def __init__(self, output: Output, asking: Asking, display: Display) -> None:
        self._output = output
        self._asking = asking
        self._display = display
        self._sources: dict[str, str] = {}
        self._waiting: dict[str, Callable[[ModuleType], None]] = {
            "linecache": self._linecache,
            "getpass": self._getpass,
            "subprocess": self._subprocess,
            "threading": self._threading,
            "matplotlib.pyplot": self._pyplot,
            "IPython.core.display_functions": self._ipython,
            "plotly.io": self._plotly,
        }
        for name in list(self._waiting):
            if name in sys.modules:
                self._waiting.pop(name)(sys.modules[name])
        for name in ("system", "posix_spawn", "posix_spawnp"):
            setattr(os, name, self._flushing(getattr(os, name)))
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """Part of the import system: the spec of a module that is to be changed, or is ours."""
        if name == DRAWING:
            from importlib.util import spec_from_file_location

            return spec_from_file_location(name, f"{os.path.dirname(FOLDER)}/{name}.py")
        patch = self._waiting.get(name)
        if patch is None:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                self._patch_after_loading(spec, name, patch)
                return spec
        return None

    def _patch_after_loading(
        self, spec: Any, name: str, patch: Callable[[ModuleType], None]
    ) -> None:
        execute = getattr(spec.loader, "exec_module", None)
        if execute is None:
            return

        def exec_module(module: ModuleType) -> None:
            del spec.loader.exec_module
            execute(module)
            if self._waiting.pop(name, None) is not None:
                patch(module)

        try:
            spec.loader.exec_module = exec_module
        except AttributeError:  # a frozen module's loader is a class shared by all
            spec.loader = _Loader(spec.loader, exec_module)

    def remember(self, filename: str, source: str) -> None:
        """Tracebacks and `inspect` show the lines of this cell."""
        self._sources[filename] = source
        linecache = sys.modules.get("linecache")
        if linecache is not None and "linecache" not in self._waiting:
            self._add_lines(linecache, filename, source)

    def _linecache(self, module: ModuleType) -> None:
        for filename, source in self._sources.items():
            self._add_lines(module, filename, source)

    def _add_lines(self, module: Any, filename: str, source: str) -> None:
        lines = [line + "\n" for line in source.split("\n")]
        module.cache[filename] = (len(source), None, lines, filename)

    def _getpass(self, module: Any) -> None:
        module.getpass = self._asking.getpass

    def _subprocess(self, module: Any) -> None:
        for holder, name in (
            (module, "_fork_exec"),
            (getattr(module, "_posixsubprocess", None), "fork_exec"),
        ):
            if hasattr(holder, name):
                setattr(holder, name, self._flushing(getattr(holder, name)))

    def _threading(self, module: Any) -> None:
        original = module.Thread.start

        def start(thread: Any) -> None:
            original(thread)
            self._output.thread_started(thread.ident)

        start.__doc__ = original.__doc__
        module.Thread.start = start

    def _pyplot(self, module: Any) -> None:
        from kernel_runner_driver import figures

        original = module.show

        def show(*arguments: Any, **options: Any) -> Any:
            """Send every open figure; with a window of its own, as matplotlib does it."""
            figures.show(self._display)
            return original(*arguments, **options) if module.get_fignums() else None

        module.show = show

    def _ipython(self, module: Any) -> None:
        vars(module).update(self._display.functions())

    def _plotly(self, module: Any) -> None:
        module.show = lambda figure, *_, **_options: self._display.display(figure)

    def _flushing(self, start: Callable[..., Any]) -> Callable[..., Any]:
        """What was printed before a program starts comes before what it prints."""

        def wrapper(*arguments: Any, **options: Any) -> Any:
            self._output.flush()
            return start(*arguments, **options)

        wrapper.__name__ = getattr(start, "__name__", "start")
        wrapper.__doc__ = start.__doc__
        return wrapper


class _Loader:
    def __init__(self, loader: Any, exec_module: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self.exec_module = exec_module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
