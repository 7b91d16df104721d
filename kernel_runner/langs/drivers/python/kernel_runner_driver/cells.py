"""Source text of a cell in; its effects on the user's namespace and its outcome out."""

from __future__ import annotations

import builtins
import sys

from kernel_runner_driver import figures

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from _ast import Module
    from asyncio import AbstractEventLoop
    from types import CodeType
    from typing import Any

    from kernel_runner_driver.display import Display
    from kernel_runner_driver.patches import Patches
    from kernel_runner_driver.streams import Output

ONLY_AST = 0x400
TOP_LEVEL_AWAIT = 0x2000
IS_COROUTINE = 0x80
FUTURE_FEATURES = 0x1FE_0000  # CO_FUTURE_DIVISION to CO_FUTURE_ANNOTATIONS

FINE = b"exit=0"
RAISED = b"exit=1 reason=error"
INTERRUPTED = b"exit=130"


class Cells:
    """The user's namespace, and the cells that ran in it: the plain shell."""

    shell = b"plain"

    def __init__(self, output: Output, display: Display, patches: Patches) -> None:
        self._output = output
        self._display = display
        self._patches = patches
        self._count = 0
        self._future_features = 0
        self._loop: AbstractEventLoop | None = None
        self._module = module = type(sys)("__main__")
        self.namespace = module.__dict__
        self.namespace["__builtins__"] = builtins
        sys.modules["__main__"] = module
        sys.argv = [""]
        builtins.install = _install  # type: ignore[attr-defined]

    def run(self, source: str) -> bytes:
        """Execute `source`; the outcome of a cell that raised nothing."""
        self._count += 1
        filename = f"<cell {self._count}>"
        self._patches.remember(filename, source)
        self._display.is_echo_wanted = not source.rstrip().endswith(";")
        try:
            for code in self._codes(source, filename):
                if code.co_flags & IS_COROUTINE:
                    self.run_coroutine(eval(code, self.namespace))
                else:
                    exec(code, self.namespace)
        except BaseException:
            figures.show_after(self._display)
            raise
        figures.show(self._display)
        return FINE

    def _codes(self, source: str, filename: str) -> list[CodeType]:
        """What is no Python may be what notebooks have beside it."""
        try:
            return self._compile(source, filename)
        except SyntaxError:
            from kernel_runner_driver import packages

            python = packages.plain_python(source)
            if python == source:
                raise
        return self._compile(python, filename)

    def _compile(self, source: str, filename: str) -> list[CodeType]:
        """The statements, and the last one apart when its value is to be shown."""
        import _ast  # 1.5 ms that the start need not wait for

        flags = self._future_features | TOP_LEVEL_AWAIT
        tree = compile(source, filename, "exec", flags | ONLY_AST, True)
        body = tree.body
        parts: list[tuple[object, str]] = []
        if body and isinstance(body[-1], _ast.Expr):
            # Both parts see each other's `from __future__`: the flags come from the whole.
            last = _ast.Interactive(body=[body.pop()])
            flags |= self._features_of(tree, filename, flags)
            parts = [(tree, "exec")] if body else []
            parts.append((last, "single"))
        else:
            parts = [(tree, "exec")]
        codes = [compile(part, filename, mode, flags, True) for part, mode in parts]  # type: ignore
        self._future_features |= codes[0].co_flags & FUTURE_FEATURES
        return codes

    def _features_of(self, tree: Module, filename: str, flags: int) -> int:
        if not any(getattr(node, "module", None) == "__future__" for node in tree.body):
            return 0
        code: CodeType = compile(tree, filename, "exec", flags, True)
        return code.co_flags & FUTURE_FEATURES

    def run_coroutine(self, coroutine: Any) -> Any:
        """`await` outside a function: one event loop serves all cells."""
        import asyncio

        loop = self._loop
        if loop is None or loop.is_closed():
            loop = self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except BaseException:
            if task.cancel():
                try:
                    loop.run_until_complete(task)
                except BaseException:
                    pass
            raise

    def explain(self, error: BaseException) -> bytes:
        """Report what a cell raised, and the outcome that it gives."""
        if isinstance(error, SystemExit):
            return self._exit_code(error.code)
        from kernel_runner_driver import errors

        try:
            errors.report(error, self._output, self._display.as_data)
        except BaseException as trouble:  # such as a name of the standard library shadowed
            try:
                sys.__excepthook__(type(error), error, error.__traceback__)
            except BaseException:
                self._output.stderr.write(f"{type(error).__name__}: {type(trouble).__name__}\n")
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else RAISED

    def _exit_code(self, code: object) -> bytes:
        if code is None:
            return FINE
        if isinstance(code, int):
            return b"exit=%d" % (code & 0xFF)
        try:
            text = str(code)
        except Exception as error:
            text = type(error).__name__
        self._output.stderr.write(text + "\n")
        return b"exit=1"

    def completeness(self, source: str) -> str:
        """Whether `source` is complete, incomplete or invalid."""
        from kernel_runner_driver import answers

        return answers.completeness(source)

    def magics(self) -> list[str]:
        """What may stand behind a percent sign."""
        return ["pip", "matplotlib"]

    def flush_c_streams(self) -> None:
        """What C code printed goes out with the cell that called it."""
        if "ctypes" in sys.modules:
            try:
                sys.modules["ctypes"].CDLL(None).fflush(None)
            except Exception:
                pass


def _install(*names: str) -> None:
    """Install packages into the environment of this session; they can be imported at once."""
    from kernel_runner_driver import packages

    packages.install(*names)
