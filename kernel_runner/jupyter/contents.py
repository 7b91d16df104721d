"""Our events in; the contents of Jupyter's messages out."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Final

from kernel_runner.messages import events

INDENT: Final = "    "
OPENING: Final = (":", "{", "(", "[")
"""What the last line of a block's head ends with."""


def bundle(media: events.Media) -> dict[str, object]:
    """What a displayed object is in a notebook: base64 for bytes, JSON as it is."""
    return {
        "data": {mime: _content(mime, content) for mime, content in media.data.items()},
        "metadata": media.metadata,
    }


def _content(mime: str, content: str | bytes) -> object:
    if isinstance(content, bytes):
        return base64.b64encode(content).decode()
    if mime == "application/json" or mime.endswith("+json"):
        try:
            return json.loads(content)
        except ValueError:
            return content
    return content


def failure(finish: events.Finished) -> dict[str, object]:
    """What an error is in a notebook, of a task that did not end well."""
    raised = finish.traceback
    lines = raised.text.splitlines() if raised is not None else []
    if raised is not None and finish.reason in ("error", "interrupted"):
        name, value = raised.name, raised.value
    else:  # what a limit ended was interrupted, which is not the reason
        name, value = _name_of(finish), finish.message or f"exit code {finish.exit_code}"
        lines.append(f"{name}: {value}")
    return {"ename": name, "evalue": value, "traceback": lines or [f"{name}: {value}"]}


def _name_of(finish: events.Finished) -> str:
    if finish.reason == "interrupted":
        return "KeyboardInterrupt"
    return "ExitCode" if finish.reason in ("completed", "error") else finish.reason


def matches(code: str, cursor: int, suggestions: Sequence[str]) -> dict[str, object]:
    """How a completion is told: all matches replace the same part of the code."""
    before = code[:cursor]
    overlaps = [overlap(before, suggestion) for suggestion in suggestions]
    longest = max(overlaps, default=0)
    return {
        "matches": [
            suggestion
            for suggestion, length in zip(suggestions, overlaps, strict=True)
            if length == longest
        ],
        "cursor_start": cursor - longest,
        "cursor_end": cursor,
        "metadata": {},
    }


def overlap(before: str, suggestion: str) -> int:
    """How many characters of the suggestion stand before the cursor already."""
    longest = min(len(before), len(suggestion))
    return next((n for n in range(longest, 0, -1) if before.endswith(suggestion[:n])), 0)


def completeness(code: str, status: str) -> Mapping[str, object]:
    """Whether code could run; the indent of the next line when it has to go on."""
    if status != "incomplete":
        return {"status": status}
    last = code.rstrip("\n").rpartition("\n")[2]
    indent = last[: len(last) - len(last.lstrip())]
    return {"status": status, "indent": indent + INDENT * last.rstrip().endswith(OPENING)}
