"""Commands and events of the agent dialect: what one end writes, the other reads."""

import pytest

from kernel_runner.errors import MalformedBody
from kernel_runner.messages import commands, events
from kernel_runner.messages.agent_wire import (
    decode_event,
    encode_command,
    encode_event,
    parse_command,
)
from kernel_runner.messages.options import TaskOptions


@pytest.mark.parametrize(
    "command",
    [
        commands.Clean("*"),
        commands.Build("make"),
        commands.Execute(""),
        commands.Query("é = 1"),
        commands.Input(b"text\n"),
        commands.Complete("a = 1\nimp\nb", 9),
        commands.Complete("", 0),
        commands.Interrupt(),
        commands.GetStatus("token"),
        commands.HostEvent("oom", {"pid": 1}),
        commands.StartService("web", 80, (80, 81), "http", commands.ServiceOptions({"-x": "1"})),
        commands.ShutdownService("web"),
        commands.ListServices("web"),
        commands.StartModelService("m", "/models", {"port": 1}),
    ],
    ids=lambda command: command.op,
)
def test_the_runner_reads_a_command_as_the_agent_meant_it(command: commands.Command) -> None:
    op, body = encode_command(command)

    read = parse_command(op.decode(), body)

    assert read == command


@pytest.mark.parametrize(
    "event",
    [
        events.Output("stderr", b"\xff"),
        events.Media({"text/html": "<b>"}),
        events.Media({"image/svg+xml": "<svg/>"}),
        events.Log("info", "12:00", "x", "hello"),
        events.Finished("build-finished", 3, "completed", signals=("INT",)),
        events.WaitingInput(is_password=True),
        events.Completion(["a"]),
        events.Status(1.0, "idle", "c", "0", 0, None, 1),
        events.ServiceResult("failed", "no"),
        events.AppsResult("done", [{"name": "x"}]),
        events.ModelServiceResult("started"),
    ],
    ids=lambda event: event.type,
)
def test_the_agent_reads_an_event_as_the_runner_meant_it(event: events.AnyEvent) -> None:
    frames = encode_event(event)

    assert frames is not None
    assert decode_event(frames) == event


@pytest.mark.parametrize(
    "command",
    [
        commands.Query("x", TaskOptions(run="r")),
        commands.Query("\ud800"),
        commands.Cancel("r1"),
        commands.Interrupt(force=True),
        commands.Interrupt("r1"),
    ],
    ids=repr,
)
def test_what_the_dialect_cannot_say_is_an_error(command: commands.Command) -> None:
    with pytest.raises(MalformedBody):
        encode_command(command)
