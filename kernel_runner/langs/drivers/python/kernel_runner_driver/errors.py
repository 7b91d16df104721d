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


def report(error: BaseException, output: Output, as_data: bool) -> None:
    """Send the user's part of the traceback as data, and unless it is wanted so, print it."""
    _trim(error, set())
    is_interrupt = isinstance(error, KeyboardInterrupt)
    text = _short(error) if is_interrupt else _in_full(error)
    if not is_interrupt and sys.excepthook is not sys.__excepthook__:
        sys.excepthook(type(error), error, error.__traceback__)
    elif not as_data:
        output.stderr.write(text)
    sys.last_type, sys.last_value = type(error), error
    sys.last_traceback = error.__traceback__
    details = _as_data(error)
    if as_data:
        details["text"] = text
    body = json.dumps(details).encode()
    output.collect()
    output.wire.post(b"error %d\n%s" % (len(body), body))


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
        pending += getattr(one, "exceptions", ()) if hasattr(one, "subgroup") else ()


def _of_user(trace: TracebackType | None) -> TracebackType | None:
    kept = []
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(FOLDER):
            kept.append(trace)
        trace = trace.tb_next
    for one, following in zip(kept, [*kept[1:], None]):
        one.tb_next = following
    return kept[0] if kept else None


def _in_full(error: BaseException) -> str:
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


def _as_data(error: BaseException) -> dict[str, object]:
    try:
        value = str(error)
    except Exception as trouble:
        value = f"<str() raised {type(trouble).__name__}>"
    frames = [
        {"file": one.filename, "line": one.lineno, "function": one.name, "source": one.line}
        for one in traceback.extract_tb(error.__traceback__)
    ]
    return {"name": type(error).__name__, "value": value, "frames": frames}
