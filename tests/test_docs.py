"""README and docs come in; all that can be run there is run, and prints what stands there."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from kernel_runner.cli import COMMANDS
from tests import pages, walk
from tests.tools import require_tool

NEEDED = re.compile(r"^<!-- needs: (\w+) -->$", re.MULTILINE)
"""What a page says of the tools that its programs need."""
WORKING = [page for page in pages.PAGES if any(b.language != "text" for b in pages.blocks(page))]


def name(page: Path) -> str:
    return page.stem


@pytest.mark.parametrize("page", WORKING, ids=name)
async def test_a_page_prints_what_it_says(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for tool in NEEDED.findall(page.read_text()):
        require_tool(tool)

    await pages.Page(page, tmp_path, lambda: capsys.readouterr().out).run()


def test_what_sets_up_is_a_target_or_an_extra() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (pages.PROJECT / "Makefile").read_text(), re.M)
    setup = ConfigParser()
    setup.read(pages.PROJECT / "setup.cfg")
    extras = [f"pip install '.[{extra}]'" for extra in setup["options.extras_require"]]
    known = {"pip install .", *extras, *(f"make {target}" for target in targets)}

    for page in pages.PAGES:
        for block in pages.blocks(page):
            if block.language == "sh":
                said = [line.partition("#")[0].strip() for line in block.text.splitlines()]
                assert {line for line in said if line.startswith(("make", "pip"))} <= known, page


def test_the_readme_links_to_files_that_are_there() -> None:
    """The links of the other pages are checked where they are built."""
    readme = pages.PAGES[0]

    for target in re.findall(r"\]\((?!https?:)([^)#]+)", pages.FENCE.sub("", readme.read_text())):
        assert (readme.parent / target).exists(), target


def test_every_page_is_in_the_navigation() -> None:
    navigation = (pages.PROJECT / "mkdocs.yml").read_text()

    for page in pages.PAGES[1:]:
        assert f" {page.name}\n" in navigation


def test_the_walk_shows_what_a_terminal_shows() -> None:
    assert walk.masked(walk.WALK.read_text()) == walk.masked(walk.recorded())


def test_every_command_has_its_help_text_on_the_page() -> None:
    page = walk.HELP.read_text()

    for command in COMMANDS:
        assert f"\n$ kernel-runner {command} --help\n" in page
