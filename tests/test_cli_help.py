"""Help texts come in; each of their examples is run as it stands there."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kernel_runner import __version__, cli
from tests.commanding import COMMAND, assert_one_sentence, command, environment, shell
from tests.wire import SessionClient

EXAMPLE = re.compile(r"^  ((?:.*[ (])?kernel-runner .*)$", re.MULTILINE)
SOCKETS = ("--in=none", "--out=none", "--session=ipc://kernel.session")


def examples(name: str) -> Sequence[str]:
    text = command(name, "--help").stdout
    return EXAMPLE.findall(text.partition("examples:")[2])


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_a_help_text_with_examples(name: str) -> None:
    done = command(name, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: kernel-runner {name}")
    assert "xamples:\n  " in done.stdout


def test_the_first_help_names_every_command_and_the_version_is_ours() -> None:
    text = command("--help").stdout

    assert [name for name in cli.COMMANDS if f"\n    {name}" not in text] == []
    assert command("--version").stdout == f"kernel-runner {__version__}\n"


@pytest.mark.parametrize("name", ["langs", "doctor", "completion", "keygen"])
def test_examples_that_need_no_runner_work(tmp_path: Path, name: str) -> None:
    assert examples(name)
    for example in examples(name):
        done = shell(example, cwd=tmp_path)

        assert (done.returncode, done.stderr) == (0, ""), example
        if "--json" in example:
            json.loads(done.stdout)


def test_examples_of_serve_start_a_runner_that_tells_its_addresses(tmp_path: Path) -> None:
    assert examples("serve")
    for example in examples("serve"):
        done = shell(
            f"{example} > out & until test -s out; do sleep 0.02; done; kill $!; wait $!",
            cwd=tmp_path,
        )

        assert (done.returncode, done.stderr) == (0, ""), example
        assert json.loads((tmp_path / "out").read_text())["session"]
        (tmp_path / "out").unlink()


@asynccontextmanager
async def busy_runner(folder: Path) -> AsyncIterator[None]:
    """What the examples speak of: a runner with two requests, of which one runs."""
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "serve", "shell", *SOCKETS, "--address-file=kernel.json"),
        cwd=folder,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    client = SessionClient(f"ipc://{folder}/kernel.session")
    try:
        await client.hello()
        for name in ("r1", "r2"):
            await client.say("exec", "sleep 60", id=name)
        await client.hear_until("started")
        yield
    finally:
        client.close()
        process.terminate()
        await process.communicate()


@pytest.mark.parametrize("name", ["status", "queue", "cancel", "connect"])
async def test_examples_that_need_a_runner_work(tmp_path: Path, name: str) -> None:
    assert examples(name)
    async with busy_runner(tmp_path):
        if name == "connect":  # its cells wait for their turn
            for request in ("r2", "r1"):
                command("cancel", "ipc://kernel.session", request, cwd=tmp_path)
        for example in examples(name):
            done = await asyncio.to_thread(shell, example, cwd=tmp_path)

            assert (done.returncode, done.stderr) == (0, ""), example
            if "--json" in example:
                json.loads(done.stdout)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["statsu"], ["'statsu'", "did you mean `kernel-runner status`"]),
        (["lang", "--json"], ["'lang'", "did you mean `kernel-runner langs`"]),
        (["pyhton"], ["'pyhton'", "did you mean `kernel-runner python`"]),
        (["serve", "pyhton"], ["'pyhton'", "did you mean `kernel-runner python`"]),
        (["help"], ["did you mean `kernel-runner --help`"]),
        (["run", "hello.py", "-x"], ["-x", "words for the program go behind --"]),
        (["hello.py"], ["did you mean `kernel-runner run hello.py`"]),
        (["a b.c", "--watch"], ["did you mean `kernel-runner run 'a b.c'`"]),
        (["langs", "--jsno"], ["--jsno"]),
        (["langs", "c", "python"], ["python"]),
        ([], ["COMMAND", "kernel-runner --help"]),
    ],
)
def test_words_that_are_not_understood_are_one_sentence_with_advice(
    words: list[str], parts: list[str]
) -> None:
    assert_one_sentence(command(*words), *parts)
