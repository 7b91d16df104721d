"""The examples of the client's docstrings come in; each runs and prints what it says."""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from types import ModuleType

import pytest

from kernel_runner import client
from kernel_runner.client import ProgramFailed, launch

BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
SAID = re.compile(r"^ *(?:print\(.*\)  )?# (.*)$", re.MULTILINE)
"""What a line prints stands behind it, or in lines of their own at the end."""
LEFT_OUT = ("kernel_runner.client.agent",)


def modules() -> Iterator[ModuleType]:
    yield client
    for found in pkgutil.iter_modules(client.__path__, f"{client.__name__}."):
        if not found.name.startswith(LEFT_OUT):
            yield importlib.import_module(found.name)


def documented(module: ModuleType) -> Iterator[tuple[str, str]]:
    """The names of a module and what is said of them."""
    yield module.__name__, module.__doc__ or ""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{module.__name__}:{node.name}", ast.get_docstring(node) or ""


def examples() -> Iterator[object]:
    for module in modules():
        for name, text in documented(module):
            for number, block in enumerate(BLOCK.findall(text)):
                yield pytest.param(textwrap.dedent(block), id=f"{name}-{number}")


@pytest.mark.parametrize("example", list(examples()))
async def test_an_example_runs_and_prints_what_it_says(
    example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = compile(example, "example", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    async with launch("python") as kernel:
        await kernel.query("pass").result()  # it is ready
        names = {"kernel": kernel, "ProgramFailed": ProgramFailed}
        if (running := eval(code, names)) is not None:
            await running

    said = [line for line in SAID.findall(example) if not line.startswith("nothing")]
    assert capsys.readouterr().out.splitlines() == said


def test_every_method_of_a_kernel_has_an_example() -> None:
    methods = {
        name: method.__doc__ or ""
        for name, method in inspect.getmembers(client.Kernel, inspect.isfunction)
        if not name.startswith("_")
    }
    without = {name for name, text in methods.items() if "```python" not in text}
    assert without == {
        "close",
        "come_back",
        "expect",
        "fail",
        "hello",
        "keep",
    }  # by connect, launch
