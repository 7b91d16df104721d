"""What a runner might say comes in from a puppet; each of these once brought an agent down."""

import asyncio
from pathlib import Path

import pytest

from kernel_runner.client.agent import CodeRunner, NoAnswer, RunnerLost, Unreadable
from kernel_runner.client.agent import code_runner as agent_module
from kernel_runner.messages import events
from kernel_runner.messages.agent_wire import encode_event
from tests.puppet import Puppet, fed, puppet, result_of

CODE = [b"code", b"x"]


async def say_all_kinds(runner: Puppet) -> None:
    for kind, body in [
        (b"stdout", b"a"),
        (b"stdout", b"b\n"),
        (b"stderr", b"c"),
        (b"stdout", b"d"),
        (b"media", b'{"type": "image/png", "data": "data:image/png;base64,AA=="}'),
        (b"html", b"<b>"),
        (b"log", b'["info", "12:00", "x", "hello"]'),
        (b"stderr", b"e"),
    ]:
        await runner.say(kind, body)
    await runner.finish()


async def test_api_version_1_has_each_kind_by_itself(tmp_path: Path) -> None:
    async with puppet(tmp_path) as (runner, agent):
        run_id = await fed(runner, agent)
        await say_all_kinds(runner)

        result = await result_of(agent, run_id, api_version=1)

    assert result.as_dict() == {
        "runId": run_id,
        "status": "finished",
        "exitCode": 0,
        "options": None,
        "stdout": "ab\nd",
        "stderr": "ce",
        "media": (("image/png", "data:image/png;base64,AA=="),),
        "html": ("<b>",),
    }


@pytest.mark.parametrize("version", [2, 4])
async def test_later_api_versions_have_all_in_order_with_neighbours_put_together(
    tmp_path: Path, version: int
) -> None:
    async with puppet(tmp_path) as (runner, agent):
        run_id = await fed(runner, agent)
        await say_all_kinds(runner)

        result = await result_of(agent, run_id, api_version=version)

    assert result.as_dict() == {
        "runId": run_id,
        "status": "finished",
        "exitCode": 0,
        "options": None,
        "console": (
            ("stdout", "ab\n"),
            ("stderr", "c"),
            ("stdout", "d"),
            ("media", ("image/png", "data:image/png;base64,AA==")),
            ("html", "<b>"),
            ("log", ("info", "12:00", "x", "hello")),
            ("stderr", "e"),
        ),
    }


@pytest.mark.parametrize(
    "frames",
    [
        [b"media", b"<b>not JSON</b>"],
        [b"media", b"\xff"],
        [b"html", b"\xff"],
        [b"log", b"[1]"],
        [b"waiting-input", b""],
        [b"status", b"\xc1"],
        [b"status", b"\x81" * 2_000],
        [b"completion", b"[" * 100_000],
        [b"\xff", b""],
        [b"what", b"{}"],
        [b"one frame"],
        [b"", b"", b""],
    ],
    ids=lambda frames: str(frames[0]),
)
async def test_a_message_that_cannot_be_read_does_not_end_the_reader(
    tmp_path: Path, frames: list[bytes]
) -> None:
    async with puppet(tmp_path) as (runner, agent):
        run_id = await fed(runner, agent)
        await runner.say(*frames)
        await runner.say(b"stdout", b"after")
        await runner.finish()

        result = await result_of(agent, run_id)

    assert result.status == "finished"
    assert ("stdout", "after") in (result.console or ())


async def test_what_of_a_run_cannot_be_read_is_named_at_its_place(tmp_path: Path) -> None:
    async with puppet(tmp_path) as (runner, agent):
        run_id = await fed(runner, agent)
        await runner.say(b"media", b"<b>")
        await runner.finish()

        result = await result_of(agent, run_id)

    ((kind, shown),) = result.console or ()
    assert (kind, shown[0]) == ("log", "warning")
    assert "media" in shown[3]


async def test_an_end_that_cannot_be_read_is_an_error_of_its_run_and_the_next_one_runs(
    tmp_path: Path,
) -> None:
    async with puppet(tmp_path) as (runner, agent):
        broken = await fed(runner, agent)
        following = await agent.feed_code("y")
        await runner.say(b"stdout", b"said")
        await runner.say(b"finished", b'{"exitCode": null}')
        assert await runner.hear() == [b"code", b"y"]
        await runner.finish()

        said = await agent.next_result(broken, flush_timeout_seconds=None)
        with pytest.raises(Unreadable, match="finished"):
            await result_of(agent, broken)
        result = await result_of(agent, following)

    assert (said.status, said.console) == ("continued", (("stdout", "said"),))
    assert result.status == "finished"


async def test_an_answer_that_cannot_be_read_is_an_error_of_its_question(tmp_path: Path) -> None:
    async with puppet(tmp_path) as (runner, agent):
        asking = asyncio.create_task(agent.feed_and_get_completion("a"))
        await runner.hear()
        await runner.say(b"completion", b"not JSON")
        with pytest.raises(Unreadable):
            await asking

        asking = asyncio.create_task(agent.feed_and_get_completion("b"))
        await runner.hear()
        await runner.complete("bb")

        assert await asking == ["bb"]


@pytest.mark.parametrize("gives_up", ["by itself", "cancelled"])
async def test_a_late_answer_is_not_taken_for_the_next_one(
    tmp_path: Path, gives_up: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with puppet(tmp_path) as (runner, agent):
        with monkeypatch.context() as patch:
            patch.setattr(agent_module, "ANSWER_SECONDS", 0.1)
            first = asyncio.create_task(agent.feed_and_get_completion("a"))
            await runner.hear()
            if gives_up == "cancelled":
                first.cancel()
            await asyncio.wait([first])
        second = asyncio.create_task(agent.feed_and_get_completion("b"))
        third = asyncio.create_task(agent.feed_and_get_completion("c"))
        await asyncio.sleep(0)
        await runner.complete("late")

        for name in ("b", "c"):
            _, body = await runner.hear()
            assert f'"code": "{name}"'.encode() in body
            await runner.complete(name)

        assert (await second, await third) == (["b"], ["c"])
    if gives_up == "by itself":
        assert isinstance(first.exception(), NoAnswer)


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(
    tmp_path: Path,
) -> None:
    async with puppet(tmp_path) as (runner, agent):
        run_id = await fed(runner, agent)
        await runner.complete("stray")
        await runner.say(b"stdout", b"x")
        await agent.next_result(run_id)

        asking = asyncio.create_task(agent.feed_and_get_completion("a"))
        await runner.hear()
        await runner.complete("mine")

        assert await asking == ["mine"]


async def test_a_status_of_an_earlier_connection_is_not_taken_for_this_ones(
    tmp_path: Path,
) -> None:
    async with puppet(tmp_path) as (runner, agent):
        asking = asyncio.create_task(agent.feed_and_get_status())
        _, echo = await runner.hear()
        await runner.say(b"status", status_body(echo=None, pid=2))
        await runner.say(b"status", status_body(echo="other", pid=3))
        await runner.say(b"status", status_body(echo=echo.decode(), pid=4))

        assert (await asking).pid == 4


def status_body(*, echo: str | None, pid: int) -> bytes:
    status = events.Status(1.0, "idle", "puppet", "0", 0, None, pid, echo)
    frames = encode_event(status)
    assert frames is not None
    return frames[1]


async def test_a_keepalive_asks_once_and_again_only_when_it_was_answered(tmp_path: Path) -> None:
    async with puppet(tmp_path, keepalive_seconds=0.02) as (runner, agent):
        await runner.answer_status()
        op, echo = await runner.hear()
        run_id = await agent.feed_code("x")

        next_op = await runner.hear()
        await runner.say(b"status", status_body(echo=echo.decode(), pid=1))
        await runner.answer_status()
        await runner.finish()

        assert (op, next_op) == (b"status", CODE)
        assert (await agent.next_result(run_id, flush_timeout_seconds=None)).status == "finished"


async def test_a_runner_that_is_replaced_gets_nothing_that_was_meant_for_the_former(
    tmp_path: Path,
) -> None:
    async with puppet(tmp_path) as (runner, agent):
        asking = asyncio.create_task(agent.feed_and_get_completion("a"))
        await runner.hear()
        run_id = await fed(runner, agent)
        runner.close()
        with pytest.raises(RunnerLost):
            await interrupt_for_ever(agent)
        with pytest.raises(RunnerLost):
            await asking
        with pytest.raises(RunnerLost):
            await result_of(agent, run_id)
        waiting = await agent.feed_code("next")

        following = Puppet(tmp_path)
        try:
            await following.answer_status()
            assert await following.hear() == [b"code", b"next"]
            await following.finish()
            assert (await result_of(agent, waiting)).status == "finished"
        finally:
            following.close()


async def test_what_an_earlier_connection_left_is_not_taken_for_the_output_of_a_run(
    tmp_path: Path,
) -> None:
    runner = Puppet(tmp_path)
    connecting = agent_module.connect(*runner.addresses)
    try:
        entering = asyncio.create_task(connecting.__aenter__())
        await runner.say(b"finished", b'{"exitCode": 9, "reason": "completed"}')
        await runner.answer_status(state="busy", running="agent-1")
        agent = await entering
        run_id = await agent.feed_code("x")
        clean, script = await runner.hear()
        await runner.say(b"stdout", b"of the former")
        await runner.finish("clean-finished")
        await runner.finish()
        await runner.say(b"stdout", script.removeprefix(b"echo ") + b"\n")
        await runner.finish("clean-finished")
        assert (clean, await runner.hear()) == (b"clean", CODE)
        await runner.say(b"stdout", b"mine")
        await runner.finish()

        result = await agent.next_result(run_id, flush_timeout_seconds=None)
        assert result.console == (("stdout", "mine"),)
    finally:
        await connecting.__aexit__(None, None, None)
        runner.close()


async def interrupt_for_ever(agent: CodeRunner) -> None:
    """Until it is known here that the runner is gone."""
    while True:
        await agent.feed_interrupt()
        await asyncio.sleep(0)
