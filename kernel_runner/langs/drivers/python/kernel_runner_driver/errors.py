"""An exception of a cell in; its traceback on stderr and an `error` frame out."""

from __future__ import annotations

import json
import sys
import traceback

from kernel_runner_driver.interrupts import FOLDER

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from types import TracebackType

    from kernel_runner_driver.streams import Output

MAX_FRAMES = 200
MAX_LINKED = 64
"""So many exceptions are told as data, with all that are chained to them and grouped in them."""


def report(error: BaseException, output: Output, as_data: bool) -> None:
    """Send the user's part of the traceback as data, and unless it is wanted so, print it."""
    _trim(error, set())
    hint = _hint(error)
    text = _text(error)
    if sys.excepthook is not sys.__excepthook__ and not isinstance(error, KeyboardInterrupt):
        sys.excepthook(type(error), error, error.__traceback__)
    elif not as_data:
        output.stderr.write(text)
    if hint and not as_data:
        output.stderr.write(f"hint: {hint}\n")
    sys.last_type, sys.last_value = type(error), error
    sys.last_traceback = error.__traceback__
    details = _details(error, [])
    if as_data:
        details["text"] = text
    if hint:
        details["hint"] = hint
    body = json.dumps(details, default=repr).encode()
    output.collect()
    output.wire.post(b"error %d\n%s" % (len(body), body))


def _hint(error: BaseException) -> str | None:
    if not isinstance(error, (ImportError, SyntaxError)):
        return None
    from kernel_runner_driver import hints

    return hints.about(error)


def _trim(error: BaseException | None, seen: set[int]) -> None:
    """Take the driver's frames out of `error` and of everything chained to it."""
    pending = [error]
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _of_user(one.__traceback__)
        pending += [one.__cause__, one.__context__]
        pending += _grouped(one)


def _of_user(trace: TracebackType | None) -> TracebackType | None:
    """From the first frame of a cell on, if there is one, and without the driver's."""
    kept: list[TracebackType] = []
    has_cell = False
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith("<cell ") and not has_cell:
            has_cell = True
            kept.clear()  # an event loop or IPython, which called the cell
        if not file.startswith(FOLDER) and (kept or "/IPython/core/" not in file):
            kept.append(trace)
        trace = trace.tb_next
    for one, following in zip(kept, [*kept[1:], None]):
        one.tb_next = following
    return kept[0] if kept else None


def _text(error: BaseException) -> str:
    """What is printed of it."""
    if isinstance(error, KeyboardInterrupt):
        return _short(error)
    if type(error).__name__ == "UsageError" and type(error).__module__.startswith("IPython."):
        return f"UsageError: {error}\n"
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _short(error: BaseException) -> str:
    """An interrupt needs no more than the line of the cell that it met."""
    lines = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith("<cell ")
    ]
    place = "".join(traceback.format_list(lines[-1:]))
    return f"{place}{type(error).__name__}\n"


# As data --------------------------------------------------------------------------------------


def _details(error: BaseException, told: list[BaseException]) -> dict[str, object]:
    """What `errors.ErrorDetails` of the runner holds; `told` are those that were told already."""
    told.append(error)
    data: dict[str, object] = {
        "name": type(error).__name__,
        "value": _value(error),
        "frames": _frames(error.__traceback__),
    }
    if isinstance(error, SyntaxError) and error.lineno is not None:
        data["syntax"] = _place(error)
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, (list, tuple)) and notes:
        data["notes"] = [str(note) for note in notes]
    linked = {"cause": error.__cause__}
    if error.__cause__ is None and not error.__suppress_context__:
        linked["context"] = error.__context__
    for name, other in linked.items():
        if other is not None and _is_new(other, told):
            data[name] = _details(other, told)
    members = [_details(one, told) for one in _grouped(error) if _is_new(one, told)]
    if members:
        data["exceptions"] = members
    return data


def _is_new(error: BaseException, told: list[BaseException]) -> bool:
    return len(told) < MAX_LINKED and not any(one is error for one in told)


def _grouped(error: BaseException) -> tuple[BaseException, ...]:
    """The members of an exception group."""
    members = getattr(error, "exceptions", ()) if hasattr(error, "subgroup") else ()
    return tuple(one for one in members if isinstance(one, BaseException))


def _value(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as trouble:
        return f"<str() raised {type(trouble).__name__}>"


def _frames(trace: TracebackType | None) -> list[dict[str, object]]:
    frames = []
    found = traceback.extract_tb(trace)
    if len(found) > MAX_FRAMES:
        found[MAX_FRAMES // 2 : -MAX_FRAMES // 2] = []
    for one in found:
        frame: dict[str, object] = {
            "file": one.filename,
            "line": one.lineno,
            "function": one.name,
            "source": one.line,
        }
        if getattr(one, "colno", None) is not None:  # from Python 3.11 on
            frame["column"], frame["end_column"] = one.colno, one.end_colno
            frame["end_line"] = one.end_lineno
        frames.append(frame)
    return frames


def _place(error: SyntaxError) -> dict[str, object]:
    """Lines and columns count from 1, as Python counts them here."""
    return {
        "file": error.filename,
        "line": error.lineno,
        "column": error.offset,
        "end_line": getattr(error, "end_lineno", None),
        "end_column": getattr(error, "end_offset", None),
        "source": error.text,
    }
