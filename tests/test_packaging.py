"""The project's folder comes in; what an installed copy of it contains is compared."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
NEEDED_TO_BUILD = ["setup.cfg", "pyproject.toml", "README.md", "LICENSE"]


def files_below(folder: Path) -> set[Path]:
    return {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def install(source: Path, into: Path) -> Path:
    """A fresh venv in `into` with the package installed; the result is its site-packages."""
    venv.create(into, with_pip=True)
    pip = [str(into / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", str(source)], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return into / "lib" / version / "site-packages"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_installed_copy_has_every_file_of_the_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    # a copy, since pip builds in place and old build folders would hide what is missing
    shutil.copytree(
        PROJECT / "kernel_runner",
        source / "kernel_runner",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for name in NEEDED_TO_BUILD:
        shutil.copy(PROJECT / name, source)

    installed = install(source, tmp_path / "venv")

    assert files_below(installed / "kernel_runner") == files_below(source / "kernel_runner")
    assert Path("py.typed") in files_below(installed / "kernel_runner")
