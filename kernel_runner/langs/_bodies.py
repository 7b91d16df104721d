"""Bodies of driver frames in, what the client is told out; see docs/drivers.md.

User code has a hand in them, so one that cannot be read costs a log and nothing else.
"""

import base64
import json
import logging
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from kernel_runner.messages import events

TEXT_TYPES: Final = ("text/", "image/svg+xml", "application/json", "application/javascript")
UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

Told = TypeVar("Told")

log = logging.getLogger(__name__)


def media(body: bytes) -> events.Media | None:
    """The body of a `media` frame."""
    return _read(_media, body, "an object could not be shown")


def details(body: bytes) -> events.ErrorDetails | None:
    """The body of an `error` frame."""
    return _read(_details, body, "an error could not be told as data")


def _read(read: Callable[[bytes], Told], body: bytes, complaint: str) -> Told | None:
    try:
        return read(body)
    except UNREADABLE as error:
        log.warning("%s: %s: %s", complaint, type(error).__name__, error)
        return None


def _media(body: bytes) -> events.Media:
    shown = json.loads(body)
    data = {mime: _content(mime, content) for mime, content in shown["data"].items()}
    return events.Media(data, shown.get("metadata", {}))


def _content(mime: str, content: object) -> str | bytes:
    if not isinstance(content, str):
        return json.dumps(content)
    is_text = mime.startswith(TEXT_TYPES) or mime.endswith("+json")
    return content if is_text else base64.b64decode(content)


def _details(body: bytes) -> events.ErrorDetails:
    # by `json`, since msgspec refuses the lone surrogates that an error's text may hold
    return msgspec.convert(json.loads(body), events.ErrorDetails)
