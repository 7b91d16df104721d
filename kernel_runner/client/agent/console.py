"""Events of one run in; what was printed since the last look, put together for an API, out."""

import codecs
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import msgspec

from kernel_runner.messages import events

Status: TypeAlias = Literal[
    "continued", "clean-finished", "build-finished", "finished", "waiting-input"
]
ConsoleItem: TypeAlias = tuple[str, str | tuple[str, ...]]
"""``(stdout, text)``, ``(stderr, text)``, ``(html, fragment)``, ``(media, (MIME type, data))`` or
``(log, (level, time, logger, text))``."""

ITEM_BYTES: Final = 256
"""What an item is counted with beside its text."""


class Stop(msgspec.Struct, frozen=True):
    """Where one result ends."""

    status: Status
    exit_code: int | None = None
    options: dict[str, bool] | None = None


CONTINUED: Final = Stop("continued")


class NextResult(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What happened since the last one.  `as_dict` is what an API sends to its client.

    API version 1 has `stdout`, `stderr`, `media` and `html`, and no logs; version 2 and later have
    all of it in order in `console`.
    """

    run_id: str
    status: Status
    exit_code: int | None
    options: dict[str, bool] | None
    stdout: str | None = None
    stderr: str | None = None
    media: tuple[tuple[str, ...], ...] | None = None
    html: tuple[str, ...] | None = None
    console: tuple[ConsoleItem, ...] | None = None

    def as_dict(self) -> dict[str, object]:
        fields: dict[str, object] = msgspec.to_builtins(self)
        return fields


@dataclass(slots=True)
class _Item:
    kind: str
    data: tuple[str, ...] = ()
    parts: list[str] = field(default_factory=list)

    @property
    def content(self) -> str | tuple[str, ...]:
        return self.data or "".join(self.parts)


@dataclass(slots=True)
class _Gap:
    """What was thrown away at this place; API version 1, which has no logs, has it in `stderr`."""

    time: str
    dropped_bytes: int = 0

    @property
    def text(self) -> str:
        return f"{self.dropped_bytes} bytes of output were thrown away here: nobody asked for them"

    def as_item(self, api_version: int) -> _Item:
        if api_version >= 2:
            return _Item("log", ("warning", self.time, __name__, self.text))
        return _Item("stderr", parts=[f"[{self.text}]\n"])


class Console:
    """What one run said and nobody has taken yet, in order; `size_bytes` of it."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._items: deque[_Item | _Gap | Stop] = deque()
        self._stops = 0
        self._decoders = {name: _decoder() for name in ("stdout", "stderr")}

    @property
    def has_stop(self) -> bool:
        """Whether a result can end with more than `continued`."""
        return self._stops > 0

    @property
    def is_empty(self) -> bool:
        return not self._items

    def put(self, event: events.AnyEvent) -> None:
        """Keep it; an event that is no part of a run is none of ours."""
        match event:
            case events.Output(type=stream, data=data):
                self._put_text(stream, self._decoders[stream].decode(data))
            case events.Media(data=representations):
                for mime, shown in representations.items():
                    self._put_shown(mime, shown if isinstance(shown, str) else "")
            case events.Log():
                self._put(_Item("log", (event.level, event.time, event.logger, event.text)))
            case events.WaitingInput(is_password=is_password):
                self._stop(Stop("waiting-input", options={"is_password": is_password}))
            case events.Finished():
                self._end_characters()
                self.stop(event.type, event.exit_code)

    def skip(self, event: events.AnyEvent) -> None:
        """Throw away what an event shows and keep only how much it was; an end is kept."""
        match event:
            case events.Output(data=shown):
                self._gap().dropped_bytes += len(shown)
            case events.Media(data=representations):
                self._gap().dropped_bytes += sum(map(len, representations.values()))
            case events.Log(text=text):
                self._gap().dropped_bytes += len(text)
            case _:
                self.put(event)

    def _gap(self) -> _Gap:
        if not (self._items and isinstance(self._items[-1], _Gap)):
            self._end_characters()
            self._items.append(_Gap(events.local_time(time.time())))
        gap = self._items[-1]
        assert isinstance(gap, _Gap), "it was just put there"
        return gap

    def stop(self, kind: str, exit_code: int) -> None:
        """A step has ended."""
        self._stop(Stop(msgspec.convert(kind, Status), exit_code))

    def take(self, run_id: str, api_version: int) -> NextResult:
        """Everything up to the next stop; it is forgotten here."""
        items: list[_Item] = []
        stop = CONTINUED
        while self._items and stop is CONTINUED:
            item = self._items.popleft()
            match item:
                case Stop():
                    stop = item
                    self._stops -= 1
                case _Gap():
                    items.append(item.as_item(api_version))
                case _:
                    items.append(item)
                    self.size_bytes -= _size(item)
        return _result(run_id, stop, items, api_version)

    def clear(self) -> int:
        """Forget all of it; how many bytes that was."""
        size_bytes, self.size_bytes, self._stops = self.size_bytes, 0, 0
        self._items.clear()
        return size_bytes

    def _put_text(self, stream: str, text: str) -> None:
        if not text:
            return
        last = self._items[-1] if self._items else None
        if isinstance(last, _Item) and last.kind == stream:
            last.parts.append(text)
            self.size_bytes += len(text) + ITEM_BYTES
        else:
            self._put(_Item(stream, parts=[text]))

    def _put_shown(self, mime: str, shown: str) -> None:
        if mime == "text/html":
            self._put(_Item("html", parts=[shown]))
        else:
            self._put(_Item("media", (mime, shown)))

    def _put(self, item: _Item) -> None:
        self._items.append(item)
        self.size_bytes += _size(item)

    def _end_characters(self) -> None:
        """The next step starts afresh; a character that was not finished shows as U+FFFD."""
        for stream, decoder in self._decoders.items():
            self._put_text(stream, decoder.decode(b"", final=True))

    def _stop(self, stop: Stop) -> None:
        self._items.append(stop)
        self._stops += 1


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")


def _size(item: _Item) -> int:
    texts = item.data or item.parts
    return sum(map(len, texts)) + ITEM_BYTES * max(1, len(item.parts))


def _result(run_id: str, stop: Stop, items: list[_Item], api_version: int) -> NextResult:
    def all_of(kind: str) -> list[_Item]:
        return [item for item in items if item.kind == kind]

    def text_of(kind: str) -> str:
        return "".join("".join(item.parts) for item in all_of(kind))

    head = (run_id, stop.status, stop.exit_code, stop.options)
    if api_version >= 2:
        return NextResult(*head, console=tuple((item.kind, item.content) for item in items))
    return NextResult(
        *head,
        stdout=text_of("stdout"),
        stderr=text_of("stderr"),
        media=tuple(item.data for item in all_of("media")),
        html=tuple("".join(item.parts) for item in all_of("html")),
    )
