"""Tasks come in; the spans that a collector on loopback receives go out."""

import json
import threading
from base64 import b64encode
from pathlib import Path

from tests.collecting import attributes, collector
from tests.commanding import absent
from tests.running import conversation, runner
from tests.test_odd_starts import refused

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def test_each_task_is_one_span_with_its_times_and_its_end(tmp_path: Path) -> None:
    with collector() as found:
        async with conversation("session", tmp_path, "shell", env=found.environment) as (_, client):
            await client.run("exec", "sleep 0.05; exit 3", id="r1")
            await client.run("code", "echo hello", id="r2")

    spans = {attributes(span)["kernel_runner.task"]: span for span in found.spans}
    assert len(found.spans) == len(spans) == 2
    failed, fine = spans["r1"], spans["r2"]
    told = attributes(failed)
    assert (failed["name"], failed["kind"]) == ("exec", "SPAN_KIND_SERVER")
    assert (told["kernel_runner.reason"], told["process.exit.code"]) == ("completed", 3)
    assert failed["status"] == {"code": "STATUS_CODE_ERROR"}
    assert len(told["kernel_runner.session"]) == 8
    (started,) = failed["events"]
    times = [int(failed["startTimeUnixNano"]), int(started["timeUnixNano"])]
    assert times == sorted(times)
    assert int(failed["endTimeUnixNano"]) - times[1] >= 50_000_000
    assert started["name"] == "started"
    assert (fine["name"], fine["status"]) == ("code", {})
    assert attributes(fine)["kernel_runner.usage.output_bytes"] == 6
    resource = found.resources[0]
    assert resource["service.name"] == "kernel-runner"


async def test_a_program_belongs_to_the_span_that_its_environment_names(tmp_path: Path) -> None:
    env = {"TRACEPARENT": f"00-{TRACE}-{PARENT}-01"}
    with collector() as found:
        async with conversation("session", tmp_path, "shell", env=found.environment) as (_, client):
            await client.run("exec", "true", env=env)
            await client.run("exec", "true", env={"TRACEPARENT": "nonsense"})

    parents = {span.get("parentSpanId"): span["traceId"] for span in found.spans}
    assert len(found.spans) == len(parents) == 2
    trace, parent = (b64encode(bytes.fromhex(digits)).decode() for digits in (TRACE, PARENT))
    assert parents[parent] == trace
    assert None in parents


async def test_a_task_that_never_ran_has_no_start(tmp_path: Path) -> None:
    with collector() as found:
        async with conversation("session", tmp_path, "shell", env=found.environment) as (_, client):
            await client.run("exec", "true", limits={"wall_s": -1})

    (span,) = found.spans
    assert "events" not in span
    assert attributes(span)["error.type"] == "bad-request"
    assert "above 0" in span["status"]["message"]


async def test_a_collector_that_does_not_answer_keeps_neither_tasks_nor_the_end_waiting(
    tmp_path: Path,
) -> None:
    holds = threading.Event()
    with collector(holds=holds) as found:
        async with conversation("session", tmp_path, "shell", env=found.environment) as (
            started,
            client,
        ):
            result = await client.run("code", "echo hello")
            started.terminate()
            exit_code = await started.ended()
        assert found.spans == []

    assert (result.stdout, exit_code) == (b"hello\n", 0)


async def test_what_the_sender_of_spans_complains_of_is_no_line_of_the_task_that_runs(
    tmp_path: Path,
) -> None:
    nobody = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "10"}
    until_said = f"until grep -q opentelemetry {tmp_path}/log; do sleep 0.05; done"
    options = ("shell", "--log-format=json")
    async with conversation("session", tmp_path, *options, env=nobody) as (started, client):
        await client.run("exec", "true")
        await client.run("exec", until_said)
        first = json.loads(started.log.splitlines()[0])

    assert first["logger"].startswith("opentelemetry.")
    assert "task" not in first


async def test_the_key_of_a_collector_is_not_for_programs(tmp_path: Path) -> None:
    env = {"OTEL_EXPORTER_OTLP_HEADERS": "key=secret"}
    async with conversation("session", tmp_path, "shell", env=env) as (_, client):
        result = await client.run("exec", "env")

    assert b"secret" not in result.stdout


def test_spans_that_were_asked_for_need_their_package(tmp_path: Path) -> None:
    (said,) = refused(tmp_path, "--session=0", "--otel", env=absent(tmp_path, "opentelemetry"))

    assert said.startswith("kernel-runner: otel: ")
    assert "pip install 'kernel-runner[otel]'" in said


async def test_where_only_the_environment_wants_spans_a_runner_without_the_package_serves(
    tmp_path: Path,
) -> None:
    env = {**absent(tmp_path, "opentelemetry"), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    async with runner(tmp_path, "shell", env=env) as started:
        assert "pip install 'kernel-runner[otel]'" in started.log
