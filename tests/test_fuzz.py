"""What the fuzzer begins with, and what it has found, comes in; the parsers read or refuse it."""

from collections.abc import Iterable

import msgpack
import pytest

from kernel_runner.messages import commands, events
from tests.fuzz import seeds, targets

FOUND: dict[str, list[bytes]] = {
    "session-request": [msgpack.packb({"v": 2, "op": "event", "id": "x", "type": "", "data": []})],
    "session-event": [msgpack.packb({"v": 2, "type": "ok", "t_ns": 1, "seq": {"x": "y"}})],
    "agent-command": [b"status\n" + b"\xff" * 64],
    "agent-event": [],
}


@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_parsers_keep_what_they_promise_for_every_seed(name: str) -> None:
    for message in [*seeds.SEEDS[name](), *FOUND[name]]:
        targets.TARGETS[name](message)


def _kinds(values: Iterable[object]) -> set[type]:
    return {type(value) for value in values}


def test_there_is_a_seed_for_every_command_and_every_event() -> None:
    assert _kinds(seeds.COMMANDS) == {*commands.COMMANDS.values()}
    assert _kinds(seeds.EVENTS) == {*events.EVENTS.values()}
