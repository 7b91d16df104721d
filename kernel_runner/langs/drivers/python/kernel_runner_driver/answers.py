"""Questions about code in: complete, inspect, is-complete; one frame in reply out."""

from __future__ import annotations

import builtins
import codeop
import inspect
import keyword
import re

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from typing import Any, Callable

    from kernel_runner_driver.wire import Frame

DOTTED_NAME = re.compile(r"(?:[^\W\d]\w*\s*\.\s*)*(?:[^\W\d]\w*)?\Z")
REST_OF_NAME = re.compile(r"\w*")


def reply(frame: Frame, namespace: dict[str, Any]) -> bytes | None:
    """The frame that answers `frame`; None for what is no question."""
    answer = ANSWERS.get(frame.type)
    return None if answer is None else answer(frame, namespace)


def nothing(frame: Frame) -> bytes | None:
    """The answer to a question that could not be answered."""
    if frame.type == "is-complete":
        return _completeness(frame, "unknown")
    if frame.type in ANSWERS:
        return _text(frame, "")
    return None


def _complete(frame: Frame, namespace: dict[str, Any]) -> bytes:
    before = _source(frame)[: int(frame.options["cursor"])]
    found = DOTTED_NAME.search(before)
    word = "".join(found.group().split()) if found else ""
    return _text(frame, "\n".join(_suggestions(word, namespace)))


def _suggestions(word: str, namespace: dict[str, Any]) -> list[str]:
    owner_name, dot, start = word.rpartition(".")
    if dot:
        owner = _look_up(owner_name, namespace)
        names = {name for name in _names_of(owner) if isinstance(name, str)}
    elif word:
        names = {*namespace, *dir(builtins), *keyword.kwlist}
    else:
        names = set()
    hidden = start[:1] != "_"
    matching = sorted(
        name for name in names if name.startswith(start) and not (hidden and name[:1] == "_")
    )
    return [owner_name + dot + name for name in matching]


def _names_of(owner: object) -> list[str]:
    try:
        return dir(owner)
    except Exception:
        return dir(type(owner))


def _look_up(dotted: str, namespace: dict[str, Any]) -> Any:
    """The object of that name.

    Raises:
        LookupError: there is none.
    """
    first, *attributes = dotted.split(".")
    if first in namespace:
        value = namespace[first]
    elif hasattr(builtins, first):
        value = getattr(builtins, first)
    else:
        raise LookupError(dotted)
    for attribute in attributes:
        try:
            value = getattr(value, attribute)
        except Exception as error:
            raise LookupError(dotted) from error
    return value


def _inspect(frame: Frame, namespace: dict[str, Any]) -> bytes:
    source, cursor = _source(frame), int(frame.options["cursor"])
    found = DOTTED_NAME.search(source[:cursor])
    rest = REST_OF_NAME.match(source, cursor)
    word = "".join((found.group() if found else "").split()) + (rest.group() if rest else "")
    if not word.strip("."):
        return _text(frame, "")
    return _text(frame, _description(word.strip("."), namespace))


def _description(word: str, namespace: dict[str, Any]) -> str:
    value = _look_up(word, namespace)
    parts = []
    try:
        parts.append(word + str(inspect.signature(value)))
    except (TypeError, ValueError):
        parts.append(f"{word}: {type(value).__name__}")
    documentation = inspect.getdoc(value)
    if documentation:
        parts.append(documentation)
    return "\n\n".join(parts)


def _is_complete(frame: Frame, namespace: dict[str, Any]) -> bytes:
    source = _source(frame)
    try:
        code = codeop.compile_command(source, "<cell>", "exec")
    except (SyntaxError, ValueError, OverflowError):
        return _completeness(frame, "invalid")
    last_line = source.rpartition("\n")[2]
    if code is None or (last_line[:1].isspace() and last_line.strip()):
        return _completeness(frame, "incomplete")
    return _completeness(frame, "complete")


def _source(frame: Frame) -> str:
    return frame.body.decode("utf-8", "replace")


def _text(frame: Frame, text: str) -> bytes:
    name = b"completion" if frame.type == "complete" else b"inspection"
    body = text.encode("utf-8", "backslashreplace")
    serial = frame.options.get("serial", "0").encode()
    return b"%s %d serial=%s\n%s" % (name, len(body), serial, body)


def _completeness(frame: Frame, status: str) -> bytes:
    serial = frame.options.get("serial", "0")
    return f"completeness 0 serial={serial} status={status}\n".encode()


ANSWERS: dict[str, Callable[[Frame, dict[str, Any]], bytes]] = {
    "complete": _complete,
    "inspect": _inspect,
    "is-complete": _is_complete,
}
