"""What user code might try: each attempt fails as it should, and is reported."""

import os
import re
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.jail import attempts_calls as calls
from tests.jail import attempts_files as files
from tests.jail.attempts_files import Attempt
from tests.jail.jailing import USER, Jailer
from tests.jail.victim import Victim

CLASSES = {
    "files": (files.HELPERS, files.FILES),
    "proc": (files.HELPERS, files.PROC),
    "processes": (calls.HELPERS, calls.PROCESSES),
    "namespaces": (calls.HELPERS, calls.NAMESPACES),
    "network": (calls.HELPERS, calls.NETWORK),
    "kernel": (calls.HELPERS, calls.KERNEL),
    "terminal": (calls.HELPERS, calls.TERMINAL),
}
OF_PATHS = ("files", "proc")
OF_ROOT = ("files", "proc", "kernel")


def _all(*names: str) -> list[ParameterSet]:
    return [
        pytest.param(name, one, id=f"{name}: {one.does}")
        for name in names
        for one in CLASSES[name][1]
    ]


@pytest.mark.parametrize(("name", "one"), _all(*CLASSES))
def test_user_code_fails_when_it(name: str, one: Attempt, jailer: Jailer, target: Victim) -> None:
    ended = _try(name, one, jailer, target, USER)

    assert re.fullmatch(one.comes_to.replace("[", r"\["), ended[0]), ended
    if one.rule is not None:
        assert one.rule in ended[1], ended


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become root")
@pytest.mark.parametrize(("name", "one"), _all(*OF_ROOT))
def test_root_without_capabilities_fails_as_well_when_it(
    name: str, one: Attempt, jailer: Jailer, target: Victim
) -> None:
    ended = _try(name, one, jailer, target, 0)

    assert ended[0] != "done", ended


def _try(
    name: str, one: Attempt, jailer: Jailer, target: Victim, user: int
) -> tuple[str, set[str], str]:
    code = f"{CLASSES[name][0]}{target.names()}print({one.expression})"
    ended = jailer.python(code, user=user, paths=name in OF_PATHS)
    assert ended.exit_code == 0, ended
    return ended.output.strip(), ended.rules, ended.errors


def test_the_page_of_the_jail_tells_how_many_were_tried() -> None:
    page = (Path(__file__).parents[2] / "docs" / "jail.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([a-z]+) \| (\d+) \| \2 \|", page, re.MULTILINE))

    tried = {name: str(len(attempts)) for name, (_, attempts) in CLASSES.items()}
    assert rows == {**tried, "all": str(sum(map(int, tried.values())))}
