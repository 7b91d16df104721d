"""Every language by its name comes in; its own `hello` runs in batch and in query mode."""

import os
from pathlib import Path

import pytest

from kernel_runner import langs
from kernel_runner.base import BaseRunner
from kernel_runner.errors import UnknownLanguage
from kernel_runner.messages import commands, events
from kernel_runner.messages.options import TaskOptions
from kernel_runner.testing import MemoryChannel, running
from tests.tools import require_tool

ENV = {"PATH": os.environ["PATH"]}
NAMES = langs.names()


async def ran(client: MemoryChannel, command: commands.Command, name: str) -> tuple[bytes, int]:
    """What a queued command printed, and its exit code."""
    assert isinstance(command, commands.QUEUED)
    client.say(command, name)
    heard = await client.hear_until(command.answer, name)
    finish = heard[-1]
    assert isinstance(finish, events.Finished)
    printed = b"".join(e.data for e in heard if isinstance(e, events.Output))
    return printed, finish.exit_code


@pytest.mark.parametrize("name", NAMES)
async def test_hello_runs_in_batch_mode(name: str, tmp_path: Path) -> None:
    language = langs.load(name)
    require_tool(language.command)
    run = TaskOptions(run="hello")
    file = f"main{language.extensions[0]}"
    async with running(name, tmp_path, env=ENV) as client:
        client.say(commands.Upload(file, language.hello.encode()), "upload")
        await client.hear_until("ok", "upload")

        built = await ran(client, commands.Build("*", run), "build")
        executed = await ran(client, commands.Execute("*", run), "exec")
        cleaned = await ran(client, commands.Clean("*", run), "clean")

    assert built[1] == 0
    assert executed == (b"hello\n", 0)
    assert cleaned[1] == 0
    assert (tmp_path / file).read_text() == language.hello


@pytest.mark.parametrize("name", NAMES)
async def test_hello_runs_in_query_mode_where_there_is_one(name: str, tmp_path: Path) -> None:
    language = langs.load(name)
    require_tool(language.command)
    if language.query is BaseRunner.query:
        return
    async with running(name, tmp_path, env=ENV) as client:
        first = await ran(client, commands.Query(language.hello), "q1")
        second = await ran(client, commands.Query(language.hello), "q2")

    assert first == second == (b"hello\n", 0)


@pytest.mark.parametrize("name", NAMES)
async def test_with_nothing_to_run_the_reason_is_not_found(name: str, tmp_path: Path) -> None:
    require_tool(langs.load(name).command)
    async with running(name, tmp_path, env=ENV) as client:
        client.say(commands.Execute("*"), "e1")
        finish = (await client.hear_until("finished", "e1"))[-1]

    assert isinstance(finish, events.Finished)
    assert (finish.exit_code, finish.reason) == (127, "not-found")
    assert langs.load(name).extensions[0] in (finish.message or "") or name == "c"


@pytest.mark.parametrize("name", NAMES)
async def test_without_its_tool_a_language_says_what_to_install(name: str, tmp_path: Path) -> None:
    language = langs.load(name)
    (tmp_path / f"main{language.extensions[0]}").write_text(language.hello)
    async with running(name, tmp_path, env={"PATH": str(tmp_path)}) as client:
        has_query = language.query is not BaseRunner.query
        first = commands.Query("x") if has_query else commands.Execute("*")
        steps: list[commands.QueuedCommand] = [first, commands.Build("*")]
        for number, command in enumerate(steps):
            client.say(command, f"r{number}")
            finish = (await client.hear_until(command.answer, f"r{number}"))[-1]
            assert isinstance(finish, events.Finished)
            if finish.exit_code != 0:
                assert finish.reason == "not-found"
                assert f"{language.command} is not installed" in (finish.message or "")
                assert language.package.split()[0] in (finish.message or "")


@pytest.mark.parametrize("name", NAMES)
def test_a_language_declares_what_users_and_images_need(name: str) -> None:
    language = langs.load(name)

    assert language.name == name
    assert language.hello
    assert language.command
    assert all(ending.startswith(".") for ending in language.extensions)
    assert language.package
    assert all(langs.load(alias) is language for alias in language.aliases)


def test_no_name_or_alias_means_two_languages() -> None:
    words = [word for name in NAMES for word in (name, *langs.load(name).aliases)]

    assert len(words) == len(set(words))


@pytest.mark.parametrize("name", ["cobol", "", "_script", "__init__", "../langs/c", "c.py", "C"])
def test_an_unknown_language_is_told_with_those_there_are(name: str) -> None:
    with pytest.raises(UnknownLanguage, match=f"known: {', '.join(langs.names())}"):
        langs.load(name)
