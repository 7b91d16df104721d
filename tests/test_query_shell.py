"""Queries to a real runner with a shell by name; what clients are told of it, and shown, out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kernel_runner import config
from kernel_runner.client import launch
from tests.running import connected, conversation, runner
from tests.wire import FINISHES, AgentClient, SessionClient


@pytest.mark.parametrize("shell", ["plain", "ipython"])
async def test_the_status_names_the_shell_of_queries(shell: str, tmp_path: Path) -> None:
    if shell == "ipython":
        pytest.importorskip("IPython")
    async with conversation("session", tmp_path, "python", f"--query-shell={shell}") as talk:
        _, client = talk
        await client.run("code", "1")

        assert (await client.status())["query_shell"] == shell


async def test_the_shell_may_come_from_the_environment(tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    env = {"KERNEL_RUNNER_QUERY_SHELL": "ipython"}
    async with runner(tmp_path, env=env) as started, connected(started) as client:
        assert (await client.run("code", "!echo x")).stdout == b"x\n"


def test_a_shell_that_the_language_does_not_have_is_told(tmp_path: Path) -> None:
    import subprocess

    for language, shell in (("python", "fish"), ("c", "plain")):
        words = [sys.executable, "-m", "kernel_runner", language, "--query-shell", shell]
        ended = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)

        assert ended.returncode == 2
        assert f"query-shell: {shell!r} is none of {language}" in ended.stderr


def test_without_a_word_about_it_there_is_none() -> None:
    assert config.load("python", {}, {}).query_shell is None


async def test_an_update_takes_the_place_of_what_it_updates_in_a_result(tmp_path: Path) -> None:
    async with launch("python", work_dir=tmp_path) as kernel:
        code = "h = display(1, display_id='a')\ndisplay({'text/html': 'b'}, raw=True)\nh.update(2)"
        result = await kernel.query(code).result()

    assert [shown.data for shown in result.media] == [{"text/plain": "2"}, {"text/html": "b"}]
    assert result.media[0].update


async def test_agents_are_sent_an_update_as_one_more_and_nothing_of_what_is_cleared(
    tmp_path: Path,
) -> None:
    async with conversation("agent", tmp_path) as (_, client):
        assert isinstance(client, AgentClient)
        code = (
            "from kernel_runner_display import clear_output\n"
            "h = display({'text/html': 'a'}, raw=True, display_id='a')\nclear_output()\n"
            "h.update({'text/html': 'b'}, raw=True)"
        )
        heard = await client.run("code", code)

    assert [(event.kind, event.body) for event in heard.others] == [("html", b"a"), ("html", b"b")]


async def test_what_a_thread_prints_later_has_the_id_of_its_own_query(tmp_path: Path) -> None:
    async with conversation("session", tmp_path) as (_, client):
        assert isinstance(client, SessionClient)
        first = await client.say(
            "code",
            "import threading\ngo, said = threading.Event(), threading.Event()\n"
            "def late():\n    go.wait(); print('late'); said.set()\n"
            "threading.Thread(target=late, daemon=True).start()",
        )
        await client.hear_finish(first)
        client.checks_turns = False
        second = await client.say("code", "go.set(); _ = said.wait(); print('mine')")

        heard = [await client.hear()]
        while heard[-1].kind not in FINISHES:
            heard.append(await client.hear())

    printed = [(event.id, event.body) for event in heard if event.kind == "stdout"]
    assert printed == [(first, b"late\n"), (second, b"mine\n")]


@pytest.mark.slow
async def test_a_gigabyte_in_one_print_arrives_and_the_next_cell_works(tmp_path: Path) -> None:
    async with conversation("session", tmp_path) as (_, client):
        assert isinstance(client, SessionClient)
        client.acknowledges = True
        size = 1_000_000_000
        await client.say("code", f"print('x' * {size})")
        count = 0
        while (event := await client.hear()).kind not in FINISHES:
            count += len(event.body) if event.kind == "stdout" else 0

        assert (count, event.fields["reason"]) == (size + 1, "completed")
        assert (await client.run("code", "1 + 1")).stdout == b"2\n"
