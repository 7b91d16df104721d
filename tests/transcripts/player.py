"""A transcript and a client come in; the conversation is had, and any difference fails the test.

language c                  the runner's language; python when this is missing
dialects agent              when it is not for both
file "lib/a b.c"            a file of the work directory; the indented lines below it
→ exec "echo B", run="a"    a command; the fields after its body are for the session dialect
→ frames b"one", b"two"     frames as they are
← stdout "B\\n"              what one stream wrote; … stands for anything
← finished 5 completed      a finish: its exit code and reason
← status {"state": "busy"}  another event; these fields of it
← log "… not kept …"        a log that came before, or comes now; logs are skipped elsewhere
within 3 s                  how long the next ← may take
some process sleep          wait until there is one of this name
no process sleep            none of this name is left
no file PWNED               none of this name is in the work directory
"""

import ast
import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.running import RunnerProcess
from tests.wire import FAILURE_SECONDS, FINISHES, STREAMS, Client, Event, log_text
from tests.wire import AgentClient as Agent
from tests.wire import SessionClient as Session

FOLDER: Final = Path(__file__).parent
UNSEEN: Final = ("accepted", "started", "ok")
"""Answers that only the session dialect has."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """The lines of one conversation, with their numbers."""

    language: str
    dialects: tuple[str, ...]
    files: Mapping[str, str]
    lines: tuple[tuple[int, str], ...]


def read(name: str) -> Transcript:
    language = "python"
    dialects: tuple[str, ...] = ("agent", "session")
    files: dict[str, str] = {}
    lines: list[tuple[int, str]] = []
    file = ""
    for number, line in enumerate((FOLDER / f"{name}.txt").read_text().splitlines(), 1):
        word, _, rest = line.partition(" ")
        if line.startswith("    ") and file:
            files[file] += line[4:] + "\n"
        elif word == "language":
            language = rest
        elif word == "dialects":
            dialects = tuple(rest.split())
        elif word == "file":
            file = ast.literal_eval(rest)
            files[file] = ""
        elif line and not line.startswith("#"):
            lines.append((number, line))
    return Transcript(language, dialects, files, tuple(lines))


def said(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Op, body or frames, and fields of a line that begins with an arrow to the right."""
    op, _, rest = text.partition(" ")
    call = ast.parse(f"f({rest})", mode="eval").body
    assert isinstance(call, ast.Call)
    words = [ast.literal_eval(word) for word in call.args]
    return op, words, {word.arg or "": ast.literal_eval(word.value) for word in call.keywords}


class Player:
    """One side of a conversation, as a transcript has it."""

    def __init__(self, started: RunnerProcess, client: Client) -> None:
        self._runner = started
        self._client = client
        self._output = dict.fromkeys(STREAMS, b"")
        self._next: Event | None = None
        self._logs: list[str] = []
        self._limit_seconds = FAILURE_SECONDS

    async def play(self, transcript: Transcript) -> None:
        for number, line in transcript.lines:
            try:
                await self._line(line)
            except (AssertionError, TimeoutError) as error:
                raise AssertionError(f"line {number}: {line}\n{error!r}") from error
        await self._nothing_more()

    async def _line(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        match word:
            case "→":
                await self._say(rest)
            case "←":
                async with asyncio.timeout(self._limit_seconds):
                    await self._expect(rest)
                self._limit_seconds = FAILURE_SECONDS
            case "within":
                self._limit_seconds = float(rest.removesuffix(" s"))
            case "some":
                await self._runner.process_named(rest.removeprefix("process "))
            case "no":
                self._expect_none(rest)
            case _:
                raise ValueError(f"no line of a transcript: {line}")

    async def _say(self, text: str) -> None:
        op, words, fields = said(text)
        if op == "frames":
            assert isinstance(self._client, Agent | Session)
            await self._client.say_frames(*words)
            return
        await self._client.say(op, *words, **fields)

    async def _expect(self, text: str) -> None:
        kind, _, rest = text.partition(" ")
        if kind in STREAMS:
            await self._expect_output(kind, ast.literal_eval(rest))
        elif kind == "log":
            await self._expect_log(ast.literal_eval(rest))
        else:
            self._assert_no_output()
            event = await self._take()
            assert event.kind == kind, f"heard {event}"
            _compare(_wanted(kind, rest), event)

    async def _expect_output(self, stream: str, text: str | bytes) -> None:
        wanted = text.encode() if isinstance(text, str) else text
        if "…".encode() in wanted:
            while (await self._peek()).kind in STREAMS:
                self._add_output(await self._take())
            heard, self._output[stream] = self._output[stream], b""
            assert _pattern(wanted).fullmatch(heard), f"heard {heard!r}"
            return
        while len(self._output[stream]) < len(wanted):
            self._add_output(await self._take())
        heard = self._output[stream][: len(wanted)]
        assert heard == wanted, f"heard {self._output[stream]!r}"
        self._output[stream] = self._output[stream][len(wanted) :]

    async def _expect_log(self, text: str) -> None:
        pattern = _pattern(text.encode())
        while not any(pattern.fullmatch(log.encode()) for log in self._logs):
            event = await self._client.hear()
            assert event.kind == "log", f"heard {event} and the logs {self._logs}"
            self._logs.append(log_text(event))
        self._logs.clear()

    def _expect_none(self, text: str) -> None:
        kind, _, name = text.partition(" ")
        if kind == "process":
            assert self._runner.processes(name) == []
        else:
            assert list(self._runner.work_dir.rglob(name)) == []

    async def _nothing_more(self) -> None:
        """A status comes after whatever else was said."""
        self._assert_no_output()
        await self._client.say("status")
        event = await self._take()
        assert event.kind == "status", f"heard {event} at the end"

    def _add_output(self, event: Event) -> None:
        assert event.kind in STREAMS, f"heard {event} and the output {self._output}"
        self._output[event.kind] += event.body

    def _assert_no_output(self) -> None:
        assert self._output == dict.fromkeys(STREAMS, b"")

    async def _peek(self) -> Event:
        if self._next is None:
            self._next = await self._take()
        return self._next

    async def _take(self) -> Event:
        """The next event that a transcript has a line for."""
        if self._next is not None:
            event, self._next = self._next, None
            return event
        while (event := await self._client.hear()).kind in ("log", *UNSEEN):
            if event.kind == "log":
                self._logs.append(log_text(event))
        return event


def _wanted(kind: str, text: str) -> Mapping[str, Any]:
    if kind in FINISHES:
        exit_code, reason = text.split()
        return {"exitCode": int(exit_code), "reason": reason}
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {"body": value}


def _compare(wanted: Mapping[str, Any], event: Event) -> None:
    for name, value in wanted.items():
        heard = event.body.decode() if name == "body" else event.fields.get(name)
        if isinstance(value, str) and "…" in value:
            assert _pattern(value.encode()).fullmatch(str(heard).encode()), f"heard {event}"
        else:
            assert heard == value, f"heard {event}"


def _pattern(text: bytes) -> re.Pattern[bytes]:
    return re.compile(b".*".join(map(re.escape, text.split("…".encode()))), re.DOTALL)
