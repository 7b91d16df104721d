"""The wire as existing agents know it comes in; what they can count on goes out."""

import asyncio
import json
from pathlib import Path

from tests.running import connected, runner

PAUSE_SECONDS = 1.0


async def test_a_second_puller_steals_nothing_and_takes_over_when_the_first_leaves(
    tmp_path: Path,
) -> None:
    async with runner(tmp_path) as started:
        agent = started.agent()
        await agent.status()
        first = agent.events
        agent.open_events()
        second, agent.events = agent.events, first
        lines = await agent.run("exec", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.02; done")
        waiting = await second.poll(100)
        first.close(linger=0)
        agent.events = second
        after = await agent.run("exec", "echo after")
        agent.close()

    assert lines.stdout == b"1\n2\n3\n4\n5\n6\n"
    assert not waiting, "the second one has got nothing"
    assert after.stdout == b"after\n"


async def test_an_interrupt_works_with_nobody_reading_and_the_output_waits_in_order(
    tmp_path: Path,
) -> None:
    async with runner(tmp_path) as started:
        agent = started.agent()
        await agent.status()
        agent.events.close(linger=0)
        await agent.say("exec", "echo one; echo two; touch printed; sleep 30; echo no")
        await started.file_made("printed")
        await started.process_named("sleep")
        await agent.say("status")
        await agent.say("interrupt")
        await agent.say("exec", "echo three; touch done")
        await started.file_made("done")
        agent.open_events()
        interrupted = await agent.hear_finish()
        after = await agent.hear_finish()
        agent.close()

    assert (interrupted.stdout, interrupted.end) == (b"one\ntwo\n", (130, "interrupted"))
    assert [event.kind for event in interrupted.others] == ["status"]
    assert (after.stdout, after.end) == (b"three\n", (0, "completed"))


async def test_what_is_printed_between_two_readers_reaches_the_second_complete(
    tmp_path: Path,
) -> None:
    async with runner(tmp_path) as started:
        agent = started.agent()
        await agent.say("exec", "echo first; read line; seq 100000; touch printed")
        await agent.hear_until("waiting-input")
        agent.events.close(linger=0)
        await _departure_noticed()
        await agent.say("input", "go on")
        await started.file_made("printed")
        agent.open_events()
        heard = await agent.hear_finish()
        agent.close()

    assert heard.stdout == b"".join(b"%d\n" % i for i in range(1, 100_001))
    assert heard.end == (0, "completed")


async def _departure_noticed() -> None:
    """Closing a socket takes libzmq a moment that nothing tells of."""
    await asyncio.sleep(0.2)


async def test_every_command_with_an_answer_gets_exactly_one_in_the_order_of_asking(
    tmp_path: Path,
) -> None:
    commands = [
        ("complete", '{"code": "impor", "row": 0, "col": 5, "line": "impor"}', "completion"),
        ("status", "", "status"),
        ("start-service", '{"name": "nothing", "port": 1}', "service-result"),
        ("get-apps", "", "apps-result"),
        ("complete", "not json", "completion"),
        ("start-service", "not json", "service-result"),
        ("start-model-service", "not json", "model-service-result"),
        ("status", "", "status"),
    ]
    async with runner(tmp_path) as started, connected(started, "agent") as agent:
        await agent.run("code", "1")
        heard = []
        for op, body, _ in commands:
            await agent.say(op, body)
            heard.append((await agent.hear()).kind)
        await agent.say("shutdown-service", '"nothing"')
        refusal = await agent.hear()
        last = await agent.run("exec", "echo ok")

    assert heard == [answer for _, _, answer in commands]
    assert refusal.kind == "log"
    assert last.others == []


async def test_the_status_has_the_time_of_the_start_in_seconds_since_1970(tmp_path: Path) -> None:
    async with runner(tmp_path) as started, connected(started, "agent") as agent:
        status = await agent.status()

    made = (tmp_path / "log").stat().st_ctime
    assert isinstance(status["started_at"], float)
    assert abs(status["started_at"] - made) < 60


async def test_answers_that_nobody_reads_are_bounded_and_a_log_says_so(tmp_path: Path) -> None:
    asked = 3_000
    async with runner(tmp_path) as started, connected(started) as session:
        agent = started.deaf_agent()
        for _ in range(asked):
            await agent.say("status")
        await agent.say("exec", "touch done")
        await started.file_made("done")
        await session.status()
        agent.open_events()
        heard = await agent.hear_finish()
        agent.close()

    assert 1_000 <= len(heard.others) <= 1_030
    assert [log for log in heard.logs if "answers wait" in log]
    assert len(heard.logs) == 1


async def test_50_mb_reach_a_reader_that_paused_and_the_runner_stays_small(tmp_path: Path) -> None:
    async with runner(tmp_path) as started:
        agent = started.deaf_agent()
        agent.open_events(high_water_mark=1)
        pid = (await agent.status())["pid"]
        await agent.say("exec", "head -c 50000000 /dev/zero; touch printed; echo end >&2")
        await agent.say("status")
        await started.process_named("head")
        await asyncio.sleep(PAUSE_SECONDS)  # the reader is paused
        blocked = not (started.work_dir / "printed").exists()
        heard = await agent.hear_finish()
        peak = _peak_mib(pid)
        agent.close()

    assert blocked
    assert len(heard.stdout) == 50_000_000
    assert heard.stdout.strip(b"\0") == b""
    assert heard.stderr == b"end\n"
    assert [event.kind for event in heard.others] == ["status"]
    assert peak < 150


def _peak_mib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


async def test_characters_that_were_split_come_together_exactly(tmp_path: Path) -> None:
    text = "aé漢😀" * 50_000
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "text").write_text(text)
    async with runner(tmp_path) as started, connected(started, "agent") as agent:
        heard = await agent.run("exec", "dd if=text bs=7 2>/dev/null")

    assert heard.stdout.decode() == text


async def test_a_command_that_comes_before_any_reader_is_kept_and_answered(tmp_path: Path) -> None:
    async with runner(tmp_path, "python", "--in=0", "--out=0") as started:
        agent = started.deaf_agent()
        await agent.say("status")
        await agent.say("exec", "echo one; touch done")
        await started.file_made("done")
        agent.open_events()
        heard = await agent.hear_finish()
        agent.close()

    assert started.addresses["in"].startswith("tcp://127.0.0.1:")
    assert [event.kind for event in heard.others] == ["status"]
    assert heard.stdout == b"one\n"


async def test_input_without_a_final_newline_gets_one(tmp_path: Path) -> None:
    async with runner(tmp_path) as started, connected(started, "agent") as agent:
        await agent.say("exec", "read line; echo got $line")
        await agent.hear_until("waiting-input")
        await agent.say("input", "abc")
        heard = await agent.hear_finish()

    assert heard.stdout == b"got abc\n"


async def test_a_log_is_four_texts_and_valid_utf_8_whatever_was_sent(tmp_path: Path) -> None:
    async with runner(tmp_path) as started:
        agent = started.agent()
        await agent.say_frames(b"\xff\xfe", b"\xff")
        op, body = await agent.events.recv_multipart()
        agent.close()

    assert op == b"log"
    assert json.loads(body.decode())[0] == "warning"
    assert len(json.loads(body.decode())) == 4
