"""What the runner gives to a language: where things are, and who starts its programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from kernel_runner.launcher import Launcher
from kernel_runner.workspace import Workspace

PROGRAMS: Final = "tmp"


class Host(msgspec.Struct, frozen=True):
    """What is there for every language.

    Args:
        env: the environment of programs.
        scratch: a private folder that goes with the runner.
        runtime_path: the interpreter or compiler to use instead of the one on the PATH.
        batch_only: no query will come, so no interpreter is kept ready.
        query_shell: what executes queries inside the interpreter; None: the language's own choice.
        own_streams: descriptors that programs get as they are, by their number there, when their
            request says ``stream``.
    """

    launcher: Launcher
    workspace: Workspace
    scratch: Path
    env: Mapping[str, str]
    runtime_path: Path | None = None
    batch_only: bool = False
    query_shell: str | None = None
    own_streams: Mapping[int, int] = {}

    @property
    def folder_of_programs(self) -> Path:
        """A folder of the scratch folder that programs may write to; now it is there."""
        folder = self.scratch / PROGRAMS
        folder.mkdir(exist_ok=True)
        return folder
