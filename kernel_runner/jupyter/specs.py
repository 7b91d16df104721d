"""Languages in; the files by which Jupyter finds them as kernels out."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
from jupyter_client.kernelspec import KernelSpecManager

PREFIX: Final = "kernel-runner-"
MARK: Final = "kernel_runner"
"""Below `metadata`: what tells our own files from others."""


class Spec(msgspec.Struct, frozen=True):
    """What Jupyter is told of one language.

    Args:
        options: words for the runner of each kernel, such as ``--limits=memory=1G``.
    """

    language: str
    version: str
    file_extension: str
    options: Sequence[str] = ()

    @property
    def name(self) -> str:
        return PREFIX + self.language

    def content(self) -> Mapping[str, object]:
        rest = ["--", *self.options] if self.options else []
        return {
            "argv": [
                *(sys.executable, "-m", "kernel_runner.jupyter", self.language),
                *("-f", "{connection_file}"),
                *("--extension", self.file_extension, "--tool-version", self.version),
                *rest,
            ],
            "display_name": f"{self.language.capitalize()} (kernel-runner)",
            "language": self.language,
            "interrupt_mode": "message",
            "metadata": {"debugger": False, MARK: {"language": self.language}},
        }


class Installed(msgspec.Struct, frozen=True):
    """A kernel of ours that Jupyter knows; `options` are the words for its runner."""

    name: str
    language: str
    folder: str
    options: Sequence[str]


def install(spec: Spec, *, user: bool, prefix: str | None) -> str:
    """Write the files of one kernel, in place of former ones; their folder.

    Args:
        prefix: below it, as a virtual environment has it; else for the user or for all.

    Raises:
        OSError: they cannot be written there.
    """
    with TemporaryDirectory(prefix="kernel-runner-") as folder:
        Path(folder).chmod(0o755)
        Path(folder, "kernel.json").write_text(json.dumps(spec.content(), indent=1) + "\n")
        manager = KernelSpecManager()
        return manager.install_kernel_spec(folder, spec.name, user=user, prefix=prefix)


def installed() -> Sequence[Installed]:
    """All kernels of ours that Jupyter finds here."""
    found: list[Installed] = []
    manager = KernelSpecManager()
    for name in sorted(manager.find_kernel_specs()):
        spec = manager.get_kernel_spec(name)
        mark = spec.metadata.get(MARK)
        if isinstance(mark, dict):
            rest = spec.argv[spec.argv.index("--") + 1 :] if "--" in spec.argv else []
            language = str(mark.get("language"))
            found.append(Installed(name, language, spec.resource_dir, tuple(rest)))
    return found


def remove(installed: Installed) -> None:
    """Raises `OSError`: its files cannot be removed."""
    KernelSpecManager().remove_kernel_spec(installed.name)
