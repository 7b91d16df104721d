"""Options of the log come in; the lines that a runner writes to standard error go out."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kernel_runner import config, logs
from kernel_runner.errors import ConfigError
from kernel_runner.telemetry import Telemetry
from tests.running import RunnerProcess, conversation

LEAVES_ONE = "sleep 60 & echo left"
"""What the runner tells of: a process that ended with its program."""

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}


def lines(started: RunnerProcess) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in started.log.splitlines()]


async def test_a_line_of_a_task_is_an_object_that_names_it(tmp_path: Path) -> None:
    options = ("--log-format=json", "--log-level=info")
    async with conversation("session", tmp_path, "shell", *options) as (started, client):
        await client.run("exec", LEAVES_ONE, id="r1")
    (line,) = lines(started)

    assert sorted(line) == ["level", "logger", "op", "session", "task", "text", "time"]
    assert (line["task"], line["op"], line["level"]) == ("r1", "exec", "info")
    assert line["text"].startswith("ended with the program: sleep")
    assert len(line["session"]) == 8


async def test_a_line_of_no_task_names_none(tmp_path: Path) -> None:
    options = ("--log-format=json",)
    async with conversation("agent", tmp_path, "shell", *options) as (started, client):
        await client.say("event", '{"type": "oom", "data": {}}')
        await client.say("status")
        await client.hear_until("status")
    (line,) = lines(started)

    assert sorted(line) == ["level", "logger", "text", "time"]
    assert line["level"] == "warning"


async def test_each_end_is_a_line_of_its_own_task_and_not_of_the_one_that_runs(
    tmp_path: Path,
) -> None:
    options = ("--log-format=json", "--log-level=debug")
    async with conversation("session", tmp_path, "shell", *options) as (started, client):
        await client.say("exec", "read line", id="runs")
        await client.hear_until("waiting-input")
        await client.say("exec", "true", id="waits")
        await client.say("cancel", target="waits")
        await client.hear_finish("waits")
        await client.say("input", "\n")
        await client.hear_finish("runs")
    ends = [line for line in lines(started) if line["logger"] == "kernel_runner.metrics"]

    assert [(line["task"], line["text"]) for line in ends] == [
        ("waits", "cancelled, exit code 127"),
        ("runs", "completed, exit code 0"),
    ]


async def test_an_id_cannot_look_like_a_line_of_its_own(tmp_path: Path) -> None:
    async with conversation("session", tmp_path, "shell", "--log-level=info") as (started, client):
        await client.run("exec", LEAVES_ONE, id="a\nb")
    (line,) = started.log.splitlines()

    assert " INFO kernel_runner.task_program [a\\nb]: ended with the program: sleep" in line


def test_an_exception_is_one_line_with_its_traceback_and_any_text_is_ascii() -> None:
    try:
        raise ValueError("\udc80 ü")
    except ValueError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, "f", 1, "it failed", (), (ValueError, error, error.__traceback__)
        )
    text = logs.JsonLines().format(record)

    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text)["text"].endswith("ValueError: \udc80 ü")


def test_the_options_come_from_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('log-format = "json"\nlog-level = "info"\nmetrics = 9100\notel = true\n')

    found = config.load(
        "shell", {"config": str(file)}, {"KERNEL_RUNNER_LOG_LEVEL": "error"}
    ).telemetry

    assert found == Telemetry("json", logging.ERROR, "tcp://127.0.0.1:9100", "yes")


@pytest.mark.parametrize(
    ("environment", "flags", "spans"),
    [
        ({}, {}, "no"),
        ({}, {"otel": True}, "yes"),
        (ENDPOINT, {}, "if possible"),
        (ENDPOINT, {"otel": "false"}, "no"),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, {}, "no"),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, {}, "no"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {}, "no"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ""}, {}, "no"),
    ],
)
def test_spans_are_sent_when_they_are_asked_for(
    environment: dict[str, str], flags: dict[str, str | bool], spans: str
) -> None:
    assert config.load("shell", flags, environment).telemetry.spans == spans


def test_the_level_of_debug_is_debug_unless_another_one_is_given() -> None:
    alone = config.load("shell", {"debug": True}, {})
    with_level = config.load("shell", {"debug": True, "log-level": "error"}, {})

    assert (alone.telemetry.log_level, with_level.telemetry.log_level) == (10, 40)


def test_words_that_are_no_format_or_level_are_said() -> None:
    with pytest.raises(ConfigError) as caught:
        config.load("shell", {"log-format": "xml", "log-level": "loud"}, {})

    assert caught.value.problems == (
        "command line: log-format: has to be text or json, not 'xml'",
        "command line: log-level: has to be debug, info, warning or error, not 'loud'",
    )
