"""Keys typed into a terminal, scene by scene, come in; the screens go out as `docs/walk.md`.

`python -m tests.walk` records the page again, and the help texts of `docs/cli.md` with it.
"""

import platform
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests import pages
from tests.commanding import command, environment
from tests.screen import Terminal

WALK: Final = pages.PROJECT / "docs" / "walk.md"
HELP: Final = pages.PROJECT / "docs" / "cli.md"
ROWS, COLUMNS = 40, 100
PROMPT: Final = "$"
FILES: Final = {
    "greet.py": 'name = input("What is your name? ")\nprint("Hello,", name)\n',
    "busy.py": 'import time\nprint("working", flush=True)\ntime.sleep(600)\n',
    "area.sh": 'echo "$1 x $2 = $(($1 * $2))"\n',
}
INTRODUCTION: Final = """\
# A walk through the terminal

These are screens of a real terminal, as `make record` wrote them down; a test types the same keys
and compares. What is typed stands behind `$` and behind the prompts.
"""


class Stage:
    """A terminal with a shell in it, in a folder with the files of the walk."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "walk"
        self.folder.mkdir()
        for name, text in FILES.items():
            (self.folder / name).write_text(text)
        private = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state")}
        self.terminal = Terminal(
            ["bash", "--norc", "--noprofile"],
            cwd=self.folder,
            env={**environment(private), "PS1": "$ ", "NO_COLOR": "1", "HISTFILE": ""},
            rows=ROWS,
            columns=COLUMNS,
        )
        self.shell()

    def shell(self) -> None:
        """Wait for the prompt of the shell."""
        self.terminal.until_prompt(PROMPT)

    def type(self, line: str) -> None:
        """Type a line; it is seen before it is sent, so that the next prompt is a new one."""
        self.terminal.type(line)
        self.terminal.until_typed(line)
        self.terminal.type("<enter>")

    def run(self, line: str) -> None:
        """A command that ends by itself."""
        self.type(line)
        self.shell()

    def screen(self) -> str:
        """What stands there, without the last prompt; then it is wiped."""
        text = self.terminal.text.removesuffix(PROMPT).rstrip()
        text = text.replace(str(self.folder), "/home/ada/walk")
        release = platform.release()
        text = text.replace(release, "6.12.0".ljust(len(release)))
        self.terminal.type("\x0c")  # Ctrl-L
        self.terminal.until(r"\A\$$")
        return text


def run(stage: Stage) -> str:
    """`run` is the command of the file's language, and passes the terminal on to the program."""
    stage.type("kernel-runner run greet.py")
    stage.terminal.until(r"^What is your name\?")
    stage.type("Ada")
    stage.shell()
    stage.run("kernel-runner run area.sh -- 6 7")
    stage.type("kernel-runner run busy.py")
    stage.terminal.until("^working$")
    stage.terminal.until_prompt("")  # the end of the line, too
    stage.terminal.type("<ctrl-c>")
    stage.shell()
    stage.run("echo $?")
    stage.run("kernel-runner run gret.py")
    return stage.screen()


def repl(stage: Stage) -> str:
    """`repl` keeps what is defined, an interrupt too."""
    stage.type("kernel-runner repl python")
    prompt(stage)
    cell(stage, "prices = [3, 5, 8]")
    cell(stage, "sum(prices)")
    cell(stage, "def double(x):", "return 2 * x", "")
    cell(stage, "double(21)")
    stage.type("name = input('Who? ')")
    stage.terminal.until(r"^Who\?")
    stage.type("Ada")
    prompt(stage)
    stage.type("print('busy'); import time; time.sleep(600)")
    stage.terminal.until("^busy$")
    stage.terminal.until_prompt("")
    stage.terminal.type("<ctrl-c>")
    prompt(stage)
    cell(stage, "name, max(prices)")
    cell(stage, ":files")
    stage.terminal.type("<ctrl-d>")
    stage.shell()
    return stage.screen()


def cell(stage: Stage, *lines: str) -> None:
    for line in lines[:-1]:
        stage.type(line)
        stage.terminal.until_prompt("    ...")
    stage.type(lines[-1])
    prompt(stage)


def prompt(stage: Stage) -> None:
    stage.terminal.until_prompt("python>")


def doctor(stage: Stage) -> str:
    """`doctor` tells what works on a machine, and what to do about the rest."""
    stage.run("kernel-runner doctor shell")
    return stage.screen()


SCENES: Final = {"Run files": run, "Type code": repl, "See what works here": doctor}


def recorded() -> str:
    """The whole page."""
    # the path of a file is to fit into a line of the screen, wherever temporary files are
    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        return INTRODUCTION + "".join(_scenes(Path(home)))


def _scenes(home: Path) -> Iterator[str]:
    stage = Stage(home)
    try:
        for title, scene in SCENES.items():
            yield f"\n## {title}\n\n{scene.__doc__}\n\n```text\n{scene(stage)}\n```\n"
    finally:
        stage.terminal.close()


def masked(page: str) -> str:
    """The page without what is different on another machine, or at another time."""
    page = re.sub(r"kernel-runner \d+(\.\w+)*", "kernel-runner VERSION", page)
    place = r'  File "[^\n]*\n.*?(?=^KeyboardInterrupt)'  # where the key was pressed
    page = re.sub(place, "", page, flags=re.MULTILINE | re.DOTALL)
    before, heading, table = page.partition(f"## {[*SCENES][-1]}")
    rows = re.findall(r"^(?:ok|warn|missing) +(\w+: [\w-]+)", table, re.MULTILINE)
    return "\n".join([before, heading, *rows])


def with_help(page: str) -> str:
    """The page with each help text as it is now."""

    block = r"```console\n\$ kernel-runner ([^\n]*--help)\n.*?```"

    def renewed(found: re.Match[str]) -> str:
        words = found[1].split()
        return f"```console\n$ kernel-runner {found[1]}\n{help_text(*words)}```"

    return re.sub(block, renewed, page, flags=re.DOTALL)


def help_text(*words: str) -> str:
    return command(*words, env={"COLUMNS": "80"}).stdout.rstrip() + "\n"


if __name__ == "__main__":
    WALK.write_text(recorded())
    HELP.write_text(with_help(HELP.read_text()))
