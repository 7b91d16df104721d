"""Bodies of driver frames in, what the client is told out; see docs/drivers.md.

User code has a hand in them, so one that cannot be read costs a log and nothing else.
"""

import json
import logging

import msgspec

from kernel_runner.errors import MalformedBody
from kernel_runner.langs._frames import Frame
from kernel_runner.messages import events
from kernel_runner.shown import UNREADABLE, read_media

log = logging.getLogger(__name__)


def media(frame: Frame) -> events.Media | None:
    """What a `media` frame shows."""
    head = frame.keys.get("json", "")
    size = int(head) if head.isdecimal() else len(frame.body)
    try:
        return read_media(frame.body[:size], frame.body[size:])
    except MalformedBody as error:
        log.warning("an object could not be shown: %s", error)
        return None


def details(body: bytes) -> events.ErrorDetails | None:
    """The body of an `error` frame."""
    try:
        # by `json`, since msgspec refuses the lone surrogates that an error's text may hold
        return msgspec.convert(json.loads(body), events.ErrorDetails)
    except UNREADABLE as error:
        log.warning("an error could not be told as data: %s: %s", type(error).__name__, error)
        return None
