"""Requests with ids come in; what the session dialect promises goes out, seen on the raw wire."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgpack
import pytest

from tests.running import RunnerProcess, connected, conversation, runner
from tests.wire import QUEUED, SessionClient

Talk = tuple[RunnerProcess, SessionClient]


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[Talk]:
    """A Python runner and a client with a session."""
    async with runner(tmp_path) as started, connected(started) as client:
        assert isinstance(client, SessionClient)
        yield started, client


async def test_every_answer_carries_the_id_of_its_request_so_none_is_taken_for_another(
    talk: Talk,
) -> None:
    _, client = talk
    await client.run("code", "1")
    kinds = {"status": "status", "queue": "queue", "get-apps": "apps-result", "exec": "finished"}
    asked = {}
    for number in range(40):
        op = list(kinds)[number % len(kinds)]
        asked[await client.say(op, "echo" if op in QUEUED else b"")] = kinds[op]

    answers: dict[str | None, list[str]] = {identity: [] for identity in asked}
    while not all(answers.values()):
        event = await client.hear()
        if event.kind in kinds.values():
            answers[event.id].append(event.kind)

    assert answers == {identity: [kind] for identity, kind in asked.items()}


async def test_a_queued_request_is_accepted_at_once_and_started_when_it_leaves_the_queue(
    talk: Talk,
) -> None:
    _, client = talk

    first = await client.say("exec", "read line")
    await client.hear_until("waiting-input")
    second = await client.say("exec", "echo two")
    accepted = await client.hear()
    await client.say("input", "\n")
    heard = [await client.hear_until("started", "finished") for _ in range(3)]

    assert (accepted.kind, accepted.id, accepted.fields["position"]) == ("accepted", second, 1)
    assert [(event.kind, event.id) for event in heard] == [
        ("finished", first),
        ("started", second),
        ("finished", second),
    ]


async def test_a_request_without_hello_is_refused_and_a_status_is_answered(tmp_path: Path) -> None:
    async with runner(tmp_path) as started:
        client = started.session()
        await client.say("exec", "echo x")
        refused = await client.hear()
        status = await client.status()
        client.close()

    assert (refused.kind, refused.fields["code"]) == ("error", "no-session")
    assert status["language"] == "python"


async def test_hello_for_a_session_that_is_not_there_is_refused(tmp_path: Path) -> None:
    async with runner(tmp_path) as started:
        client = started.session()
        refused = await client.hello(session="nobody's")
        client.close()

    assert (refused.kind, refused.fields["code"]) == ("error", "no-session")


async def test_an_id_that_was_used_before_is_answered_again_and_not_run_again(talk: Talk) -> None:
    started, client = talk

    first = await client.run("exec", "echo x | tee -a ran", id="same")
    client.hears_again = True
    again = await client.run("exec", "echo x | tee -a ran", id="same")

    assert (started.work_dir / "ran").read_text() == "x\n"
    assert (again.stdout, again.end) == (first.stdout, first.end) == (b"x\n", (0, "completed"))


async def test_an_id_whose_events_were_acknowledged_is_refused(talk: Talk) -> None:
    _, client = talk

    await client.run("exec", "echo x", id="same")
    await client.say("ack", seq=4)  # accepted, started, stdout, finished
    await client.hear_until("ok")
    await client.say("exec", "echo x", id="same")
    refused = await client.hear()

    assert (refused.kind, refused.fields["code"]) == ("error", "duplicate-id")


async def test_an_id_that_still_runs_is_answered_again(talk: Talk) -> None:
    _, client = talk

    await client.say("exec", "echo one; read line; echo two", id="same")
    await client.hear_until("waiting-input")
    client.hears_again = True
    await client.say("exec", "echo one; read line; echo two", id="same")
    position = (await client.hear_until("accepted")).fields["position"]
    await client.hear_until("waiting-input")
    await client.say("input", "\n")
    heard = await client.hear_finish("same")

    assert position == 0
    assert (heard.stdout, heard.end) == (b"two\n", (0, "completed"))


async def test_a_malformed_request_does_not_end_another_one_of_its_id(talk: Talk) -> None:
    _, client = talk

    await client.say("exec", "read line; echo on", id="same")
    await client.hear_until("waiting-input")
    client.hears_again = True
    await client.say("exec", "echo again", id="same", nonsense=1)
    await client.hear_until("waiting-input")
    await client.say("input", "\n")
    heard = await client.hear_finish()

    assert (heard.stdout, heard.end) == (b"on\n", (0, "completed"))


async def test_an_id_whose_first_request_was_malformed_is_answered_again(talk: Talk) -> None:
    started, client = talk

    first = await client.run("exec", "echo x > ran", id="same", nonsense=1)
    client.hears_again = True
    again = await client.run("exec", "echo x > ran", id="same")

    assert again.finish == first.finish
    assert first.end == (127, "bad-request")
    assert not (started.work_dir / "ran").exists()


@pytest.mark.parametrize(
    ("op", "fields", "code"),
    [
        ("hello", {"session": "none"}, "no-session"),
        ("hello", {"after_seq": 3}, "no-session"),
        ("hello", {"session": "ours", "after_seq": 0}, "forgotten"),
        ("hello", {"session": "ours", "after_seq": 99}, "unknown-seq"),
        ("hello", {"session": "ours", "after_seq": -2}, "forgotten"),
        ("ack", {"seq": 99}, "unknown-seq"),
        ("ack", {"seq": -1}, "unknown-seq"),
        ("ack", {"seq": "x"}, "bad-request"),
    ],
)
async def test_what_cannot_be_so_is_refused_and_changes_nothing(
    tmp_path: Path, op: str, fields: dict[str, object], code: str
) -> None:
    async with runner(tmp_path) as started:
        client = started.session()
        session = (await client.hello()).fields["session"]
        await client.run("exec", "echo x")
        await client.say("ack", seq=2)
        await client.hear_until("ok")
        if fields.get("session") == "ours":
            fields = {**fields, "session": session}
        await client.say(op, b"", **fields)
        refused = await client.hear()
        second = await client.run("exec", "echo y")
        client.close()

    assert (refused.kind, refused.fields["code"]) == ("error", code)
    assert refused.fields["message"]
    assert refused.fields["hint"]
    assert second.stdout == b"y\n"


async def test_an_ack_needs_a_session(tmp_path: Path) -> None:
    async with runner(tmp_path) as started:
        client = started.session()
        await client.say("ack", seq=0)
        refused = await client.hear()
        client.close()

    assert (refused.kind, refused.fields["code"]) == ("error", "no-session")


@pytest.mark.parametrize("identity", ["", "x" * 65, 7, None])
async def test_an_id_that_is_not_a_text_of_1_to_64_characters_is_refused(
    talk: Talk, identity: object
) -> None:
    _, client = talk

    await client.say("ack", seq=0)
    await client.hear_until("ok")
    await client.say_frames(*_frames({"v": 2, "op": "status", "id": identity}))
    refused = await client.hear()

    assert (refused.kind, refused.fields["code"]) == ("error", "bad-request")


def _frames(header: dict[str, object]) -> tuple[bytes, bytes]:
    return msgpack.packb(header), b""


async def test_another_version_is_refused(talk: Talk) -> None:
    _, client = talk

    await client.say_frames(*_frames({"v": 3, "op": "status", "id": "x"}))
    refused = await client.hear()

    assert (refused.kind, refused.id, refused.fields["code"]) == ("error", "x", "bad-request")


async def test_the_queue_lists_what_runs_and_what_waits(talk: Talk) -> None:
    _, client = talk

    running = await client.say("exec", "read line")
    await client.hear_until("waiting-input")
    waiting = [await client.say("code", "1"), await client.say("build", "")]
    await client.say("queue")
    listing = (await client.hear_until("queue")).fields
    await client.say("interrupt")
    await client.hear_finish(waiting[-1])

    assert (listing["running"]["id"], listing["running"]["op"]) == (running, "exec")
    assert [(task["id"], task["op"]) for task in listing["waiting"]] == [
        (waiting[0], "code"),
        (waiting[1], "build"),
    ]
    assert len(listing["running"]["session"]) == 8  # the whole name would let anybody take it over


async def test_cancel_takes_a_request_out_of_the_queue_and_ends_one_that_runs(talk: Talk) -> None:
    _, client = talk

    running = await client.say("exec", "echo up; read line; echo no")
    await client.hear_until("waiting-input")
    waiting = await client.say("exec", "echo no")
    last = await client.say("exec", "echo last")
    await client.say("cancel", target=waiting)
    taken_out = await client.hear_finish(waiting)
    await client.say("cancel", target=running)
    ended = await client.hear_finish(running)
    after = await client.hear_finish(last)

    assert (taken_out.stdout, taken_out.end) == (b"", (127, "cancelled"))
    assert (ended.stdout, ended.finish["reason"]) == (b"", "cancelled")
    assert ended.finish["exitCode"] != 0
    assert (after.stdout, after.end) == (b"last\n", (0, "completed"))


async def test_cancel_of_a_request_that_is_not_there_is_refused(talk: Talk) -> None:
    _, client = talk

    await client.say("cancel", target="nothing")
    refused = await client.hear()

    assert (refused.kind, refused.fields["code"]) == ("error", "not-found")


async def test_an_interrupt_may_name_a_request_and_spares_every_other(talk: Talk) -> None:
    _, client = talk

    running = await client.say("exec", "read line; echo got $line")
    await client.hear_until("waiting-input")
    await client.say("interrupt", target="another")
    refused = await client.hear()
    await client.say("input", "it\n")
    ended = await client.hear_finish(running)

    assert (refused.kind, refused.fields["code"]) == ("error", "not-running")
    assert (ended.stdout, ended.end) == (b"got it\n", (0, "completed"))


async def test_a_full_queue_refuses_and_says_so(tmp_path: Path) -> None:
    options = ["--max-queue-length=1"]
    async with conversation("session", tmp_path, "python", *options) as (_, client):
        first = await client.say("exec", "read line")
        await client.hear_until("waiting-input")
        second = await client.say("exec", "echo two")
        third = await client.run("exec", "echo three")
        await client.say("input", "\n")
        await client.hear_finish(first)
        two = await client.hear_finish(second)

    assert third.end == (127, "queue-full")
    assert two.stdout == b"two\n"


async def test_a_second_hello_takes_the_session_over_and_the_first_gets_superseded(
    tmp_path: Path,
) -> None:
    async with runner(tmp_path) as started:
        first, second = started.session(), started.session()
        welcome = await first.hello()
        task = await first.say("exec", "echo one; read line; echo got $line")
        asked = await first.hear_until("waiting-input")
        await second.hello(session=welcome.fields["session"], after_seq=asked.seq)
        superseded = await first.hear_until("superseded", "finished")
        await second.say("input", "it\n")
        heard = await second.hear_finish(task)
        for client in (first, second):
            client.close()

    assert superseded.kind == "superseded"
    assert (heard.stdout, heard.end) == (b"got it\n", (0, "completed"))


async def test_a_client_that_comes_back_gets_what_was_printed_meanwhile_and_nothing_twice(
    tmp_path: Path,
) -> None:
    async with runner(tmp_path) as started:
        first = started.session()
        session = (await first.hello()).fields["session"]
        task = await first.say("exec", "read line; seq 5000; touch printed")
        asked = await first.hear_until("waiting-input")
        first.close()
        second = started.session()
        await _noticed(second)
        await second.say("input", "\n")
        await started.file_made("printed")
        await second.hello(session=session, after_seq=asked.seq)
        heard = await second.hear_finish(task)
        second.close()

    assert heard.stdout == b"".join(b"%d\n" % i for i in range(1, 5001))
    assert heard.end == (0, "completed")


async def _noticed(client: SessionClient) -> None:
    """Closing a socket takes libzmq a moment that nothing tells of."""
    await client.status()
    await asyncio.sleep(0.2)


async def test_status_and_interrupt_work_from_a_second_connection_while_the_first_does_not_read(
    talk: Talk,
) -> None:
    started, client = talk

    task = await client.say("exec", "yes; echo no")
    await started.process_named("yes")
    second = started.session()
    status = await second.status()
    await second.say("interrupt", target=task)
    answer = await second.hear()
    await _idle(second)
    heard = await client.hear_finish(task)
    second.close()

    assert (status["state"], status["running"]) == ("busy", task)
    assert answer.kind == "ok"
    assert heard.end == (130, "interrupted")
    assert heard.stdout.startswith(b"y\ny\n")
    assert heard.stdout.replace(b"y\n", b"") in (b"", b"y")
    assert heard.finish["usage"]["output_bytes"] == len(heard.stdout)


async def _idle(client: SessionClient) -> None:
    async with asyncio.timeout(10):
        while (await client.status())["state"] != "idle":
            pass


async def test_a_program_waits_while_its_client_acknowledges_nothing_and_there_is_no_disk(
    tmp_path: Path,
) -> None:
    options = ["--max-spool-bytes=0"]
    async with conversation("session", tmp_path, "python", *options) as (started, client):
        assert isinstance(client, SessionClient)
        task = await client.say("exec", "head -c 50000000 /dev/zero; touch printed")
        await started.process_named("head")
        second = started.session()
        pid = (await second.status())["pid"]
        await asyncio.sleep(1)  # the reader is paused
        blocked = not (started.work_dir / "printed").exists()
        client.acknowledges = True
        heard = await client.hear_finish(task)
        peak = _peak_kib(pid)
        second.close()

    assert blocked
    assert len(heard.stdout) == 50_000_000
    assert peak < 150_000


async def test_a_program_goes_on_while_its_client_does_not_read_and_the_runner_stays_small(
    talk: Talk,
) -> None:
    started, client = talk

    task = await client.say("exec", "seq 20000000; touch printed")
    second = started.session()
    pid = (await second.status())["pid"]
    await started.file_made("printed")
    peak = _peak_kib(pid)
    heard = await client.hear_finish(task)
    second.close()

    assert len(heard.stdout) == 168_888_897
    assert heard.stdout.endswith(b"\n19999999\n20000000\n")
    assert peak < 150_000


def _peak_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0])


async def test_a_failed_build_skips_no_exec_of_another_session_with_a_run_of_that_name(
    talk: Talk,
) -> None:
    started, client = talk

    async with connected(started) as other:
        built = await client.run("build", "exit 3", run="a")
        elsewhere = await other.run("exec", "echo other", run="a")
        skipped = await client.run("exec", "echo no", run="a")

    assert built.end == (3, "completed")
    assert elsewhere.stdout == b"other\n"
    assert (skipped.stdout, skipped.end) == (b"", (127, "skipped"))


async def test_the_tasks_of_all_sessions_stand_in_one_queue(talk: Talk) -> None:
    started, client = talk

    async with connected(started) as other:
        first = await client.say("exec", "read line; echo first >> order")
        await client.hear_until("waiting-input")
        second = await other.say("exec", "echo second >> order")
        await other.hear_until("accepted")
        third = await client.say("exec", "echo third >> order")
        await client.say("input", "\n")
        await client.hear_finish(first)
        await other.hear_finish(second)
        await client.hear_finish(third)

    assert (started.work_dir / "order").read_text() == "first\nsecond\nthird\n"


async def test_files_go_up_and_down_without_a_session_and_never_leave_the_work_directory(
    tmp_path: Path,
) -> None:
    async with runner(tmp_path) as started:
        client = started.session()
        answers = []
        for op, body, path in [
            ("upload", b"\0data", "folder/file"),
            ("download", b"", "folder/file"),
            ("list-files", b"", "folder"),
            ("download", b"", "../log"),
            ("upload", b"x", "/tmp/x"),
            ("download", b"", "nothing"),
        ]:
            await client.say(op, body, path=path)
            answers.append(await client.hear())
        client.close()

    assert [answer.kind for answer in answers] == ["ok", "file", "files", *["error"] * 3]
    assert answers[1].body == b"\0data"
    assert [entry["name"] for entry in answers[2].fields["entries"]] == ["file"]
    assert [answer.fields["code"] for answer in answers[3:]] == [
        "bad-path",
        "bad-path",
        "not-found",
    ]
