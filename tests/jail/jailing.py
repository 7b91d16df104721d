"""A program comes in; how it ended in a jail goes out, with all that was reported."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).parents[2]
USER: Final = 1000 if os.getuid() == 0 else os.getuid()
PYTHON: Final = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
"""One that every user can execute, and that the default policy allows."""

PRELUDE: Final = """
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *(
        ctypes.c_long(one) if isinstance(one, int) else one for one in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def attempt(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "done"
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """What is left of a program that ran in a jail."""

    exit_code: int
    output: str
    errors: str
    records: Sequence[Mapping[str, Any]]

    @property
    def rules(self) -> set[str]:
        return {record["rule"] for record in self.records}


class Jailer:
    """Runs programs in jails, one after another, each as the user `USER` unless it says so."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self._folder = folder
        self.work = folder / "work"
        self.outside = folder / "outside"

    def run(
        self,
        *command: str,
        policy: Path | None = None,
        user: int = USER,
        abi: int | None = None,
        paths: bool = True,
        strict: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Ended:
        names = {one: str(self._folder / one) for one in ("output", "errors", "records")}
        order = {
            "command": command,
            "policy": str(policy) if policy else "",
            "work": str(self.work),
            "uid": user,
            "abi": abi,
            "paths": paths,
            "strict": strict,
            "env": {"PATH": "/usr/bin:/bin", "SECRET": "of the runner", **(env or {})},
            "input": os.devnull,
            **names,
        }
        assert self._process.stdin is not None, "it is a pipe"
        assert self._process.stdout is not None, "it is a pipe"
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        exit_code = json.loads(self._process.stdout.readline())
        output, errors, records = (Path(name).read_text("utf-8") for name in names.values())
        return Ended(exit_code, output, errors, [json.loads(one) for one in records.splitlines()])

    def python(self, code: str, **options: Any) -> Ended:
        return self.run(PYTHON, "-I", "-c", PRELUDE + code, **options)


@contextmanager
def jailer(folder: Path) -> Iterator[Jailer]:
    """The folders `work` and `outside` in it belong to `USER`; so nothing but the jail protects."""
    for path in (folder, folder / "work", folder / "outside"):
        path.mkdir(exist_ok=True)
        os.chown(path, USER, USER)
        path.chmod(0o777)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.jail.jailer"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Jailer(process, folder)
        assert process.stdin is not None, "it is a pipe"
        process.stdin.close()
