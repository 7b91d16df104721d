"""A case and a session in; the cells are run there, and what comes is compared."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.cases import Block, Case
from tests.wire import FINISHES, STREAMS, Event, SessionClient

PASSED_OVER = ("log", "accepted", "started", "ok")
ANYTHING = "..."


class Player:
    """Runs cells one after another; an `AssertionError` says which line does not hold."""

    def __init__(self, client: SessionClient) -> None:
        self._client = client
        self._held: Event | None = None
        self._swallow = ""
        """A stream of which enough was seen: the rest of it is not looked at."""

    async def play(self, case: Case) -> None:
        limits = _limits(case.settings.get("limits", ""))
        for cell, blocks in case.cells:
            self._held, self._swallow = None, ""
            options = {"limits": limits} if limits else {}
            identity = await self._client.say("code", cell.text, **options)
            await self._follow(cell, blocks, identity)

    async def _follow(self, cell: Block, blocks: list[Block], identity: str) -> None:
        end = Block("end", ["completed", "0"], cell.place)
        error: Block | None = None
        for block in blocks:
            match block.kind:
                case "end":
                    end = block
                case "error":
                    error = block
                case "input":
                    await self._client.say("input", block.text + "\n")
                case "interrupt":
                    await self._client.say("interrupt", target=identity)
                case "stdout" | "stderr":
                    await self._stream(block)
                case "media":
                    self._compare_media(block, await self._next(block))
                case _:
                    self._compare_flags(block, await self._next(block))
        finish = await self._next(end)
        assert finish.kind in FINISHES, f"{end.place}: {_told(finish)} came before the end"
        self._compare_end(end, error, finish.fields)

    async def _next(self, block: Block) -> Event:
        while True:
            event, self._held = self._held or await self._client.hear(), None
            if event.kind not in (*PASSED_OVER, self._swallow):
                return event

    async def _stream(self, block: Block) -> None:
        wanted = block.text + ("" if "no-newline" in block.words else "\n")
        seen = ""
        while not _fits(block, wanted, seen):
            event = await self._next(block)
            if event.kind != block.kind:
                raise AssertionError(f"{block.place}: {seen!r} came, then {_told(event)}")
            seen += event.body.decode(errors="backslashreplace")
            if not block.words or block.words == ["no-newline"]:
                assert wanted.startswith(seen), f"{block.place}: {seen!r} instead of {wanted!r}"
        if {"contains", "matches"} & {*block.words}:
            self._swallow = block.kind

    def _compare_media(self, block: Block, event: Event) -> None:
        assert event.kind == "media", f"{block.place}: {_told(event)} instead"
        wanted = json.loads(block.text)
        data = event.fields["data"]
        assert wanted.keys() == data.keys(), f"{block.place}: there are {sorted(data)}"
        for mime, content in wanted.items():
            found = data[mime] if isinstance(data[mime], str) else data[mime].decode("latin-1")
            content = content if isinstance(content, str) else json.dumps(content)
            assert _is_like(content, found), f"{block.place}: {mime} is {found[:300]!r}"
        for word in block.words:
            name, _, value = word.partition("=")
            held = event.fields.get(name)
            assert held == (value or True), f"{block.place}: {name} is {held!r}"

    def _compare_flags(self, block: Block, event: Event) -> None:
        assert event.kind == block.kind, f"{block.place}: {_told(event)} instead"
        flag = "wait" if block.kind == "clear-output" else "is_password"
        given = bool(event.fields.get(flag))
        assert given == bool(block.words), f"{block.place}: {flag} is {given}"

    def _compare_end(self, block: Block, error: Block | None, finish: Mapping[str, Any]) -> None:
        reason, code, *message = block.words
        found = f"{finish['reason']} {finish['exitCode']}"
        assert found == f"{reason} {code}", f"{block.place}: it ended as {found}: {finish}"
        words = " ".join(message)
        assert words in (finish.get("message") or ""), f"{block.place}: {finish.get('message')!r}"
        if error is not None:
            told = finish.get("traceback")
            assert _holds(json.loads(error.text), told), f"{error.place}: {json.dumps(told)}"


def _fits(block: Block, wanted: str, seen: str) -> bool:
    if "contains" in block.words:
        return block.text in seen
    if "matches" in block.words:
        return re.match(block.text, seen) is not None
    return seen == wanted


def _holds(wanted: object, found: object) -> bool:
    """What is wanted is there; a map may have more than that."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and _holds(wanted[key], found[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_holds, wanted, found))
    if isinstance(wanted, str) and isinstance(found, str):
        return _is_like(wanted, found)
    return wanted == found


def _is_like(wanted: str, found: str) -> bool:
    if wanted == ANYTHING:
        return True
    if len(wanted) > 6 and wanted.startswith(ANYTHING) and wanted.endswith(ANYTHING):
        return wanted[3:-3] in found
    return wanted == found


def _limits(text: str) -> dict[str, int]:
    return {name: int(value) for name, _, value in (one.partition("=") for one in text.split())}


def _told(event: Event) -> str:
    shown = event.body if event.kind in STREAMS else dict(event.fields)
    return f"{event.kind} {shown!r}"[:1_500]
