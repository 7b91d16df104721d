"""The public test suite for kernels of Jupyter, on three of our languages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import jupyter_kernel_test
import pytest

from tests import jupyter_kernels
from tests.tools import require_tool


@pytest.fixture(scope="module", autouse=True)
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder: Path = tmp_path_factory.mktemp("jupyter")
    with jupyter_kernels.installed(folder):
        yield


class PublicTests(jupyter_kernel_test.KernelTests):  # type: ignore[misc]
    @classmethod
    def tearDownClass(cls) -> None:
        super().tearDownClass()
        cls.km.context.destroy()


class TestPython(PublicTests):
    kernel_name = "kernel-runner-python"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples: ClassVar[list[dict[str, Any]]] = [
        {"text": "zi", "matches": {"zip"}},
        {"text": "x = impor", "matches": {"import"}},
    ]
    complete_code_samples: ClassVar[list[str]] = [
        "1",
        "print('hello, world')",
        "def f(x):\n  x*2\n",
    ]
    incomplete_code_samples: ClassVar[list[str]] = ["print('''hello", "def f(x):\n  x*2"]
    invalid_code_samples: ClassVar[list[str]] = ["import = 7q"]
    code_generate_error = "raise ValueError('no')"
    code_execute_result: ClassVar[list[dict[str, str]]] = [
        {"code": "6 * 7", "result": "42"},
        {
            "code": "class Page:\n    def _repr_html_(self): return '<b>7</b>'\nPage()",
            "result": "<b>7</b>",
            "mime": "text/html",
        },
    ]
    code_display_data: ClassVar[list[dict[str, str]]] = [
        {
            "code": "class Dot:\n    def _repr_svg_(self): return '<svg/>'\ndisplay(Dot())",
            "mime": "image/svg+xml",
        }
    ]
    code_inspect_sample = "zip"
    code_clear_output = "from kernel_runner_display import clear_output; clear_output()"


class TestShell(PublicTests):
    kernel_name = "kernel-runner-shell"
    language_name = "shell"
    file_extension = ".sh"
    code_hello_world = "echo hello, world"
    code_stderr = "echo test >&2"
    completion_samples: ClassVar[list[dict[str, Any]]] = [
        {"text": "hist", "matches": {"history"}},
    ]
    complete_code_samples: ClassVar[list[str]] = ["echo 1", "f() { echo 2; }"]
    incomplete_code_samples: ClassVar[list[str]] = ["if true; then", "echo 'open"]
    code_generate_error = "exit 3"


class TestC(PublicTests):
    kernel_name = "kernel-runner-c"
    language_name = "c"
    file_extension = ".c"
    code_hello_world = '#include <stdio.h>\nint main(void) { puts("hello, world"); }'
    code_stderr = '#include <stdio.h>\nint main(void) { fputs("test\\n", stderr); }'
    code_generate_error = "int main(void) { return 3; }"

    @classmethod
    def setUpClass(cls) -> None:
        require_tool("gcc")
        super().setUpClass()


del PublicTests  # it is no test by itself
