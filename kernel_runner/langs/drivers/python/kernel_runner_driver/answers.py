"""Questions about code in: complete, inspect, is-complete; one frame in reply out.

What lives in the interpreter is looked at itself; jedi, where it is installed, knows of the rest.
"""

from __future__ import annotations

import builtins
import codeop
import inspect
import keyword
import re
import sys
from _thread import allocate_lock

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from typing import Any, Callable

    from kernel_runner_driver.cells import Cells
    from kernel_runner_driver.wire import Frame

DOTTED_NAME = re.compile(r"(?:[^\W\d]\w*\s*\.\s*)*(?:[^\W\d]\w*)?\Z")
REST_OF_NAME = re.compile(r"\w*")
READS_SOURCE = allocate_lock()
"""Questions are answered in threads; jedi takes one at a time."""
IMPORTED = re.compile(r"^[ \t]*import[ \t]+([\w.]+)(?:[ \t]+as[ \t]+(\w+))?[ \t]*$", re.MULTILINE)
IMPORT = re.compile(r"^\s*(?:from|import)\s[^#;]*\Z")


def reply(frame: Frame, cells: Cells) -> bytes | None:
    """The frame that answers `frame`; None for what is no question."""
    answer = ANSWERS.get(frame.type)
    return None if answer is None else answer(frame, cells)


def nothing(frame: Frame) -> bytes | None:
    """The answer to a question that could not be answered."""
    if frame.type == "is-complete":
        return _completeness(frame, "unknown")
    if frame.type in ANSWERS:
        return _text(frame, "")
    return None


# Completion -----------------------------------------------------------------------------------


def _complete(frame: Frame, cells: Cells) -> bytes:
    source, cursor = _source(frame), int(frame.options["cursor"])
    before = source[:cursor]
    found = DOTTED_NAME.search(before)
    word = "".join(found.group().split()) if found else ""
    mark = before[: found.start()].rstrip(" ")[-1:] if found else ""
    if mark == "%":
        return _text(frame, "\n".join(sorted(_starting(word, cells.magics()))))
    line = before.rpartition("\n")[2]
    names: list[str] = []
    is_known = False
    if mark != "." and not IMPORT.match(line):
        namespace = {**_imported(source), **cells.namespace}
        names, is_known = _suggestions(word, namespace)
        is_known = is_known or bool(names and not _may_be_more(source, line))
    if not is_known:
        names += [one for one in _by_jedi(source, cursor, word, cells) if one not in names]
    return _text(frame, "\n".join(names))


def _suggestions(word: str, namespace: dict[str, Any]) -> tuple[list[str], bool]:
    """Of the names that live now, and whether there can be no others."""
    owner_name, dot, start = word.rpartition(".")
    if dot:
        try:
            owner = _look_up(owner_name, namespace)
        except LookupError:
            return [], False
        names = [name for name in _names_of(owner) if isinstance(name, str)]
    elif word:
        names = [*namespace, *dir(builtins), *keyword.kwlist]
    else:
        return [], False
    return [owner_name + dot + name for name in sorted(_starting(start, names))], bool(dot)


def _may_be_more(source: str, line: str) -> bool:
    """Names that only the source has: of its functions, or of the arguments of a call."""
    return "\n" in source or "(" in line


def _imported(source: str) -> dict[str, Any]:
    """Modules that the source imports and that are there already: jedi would read their files."""
    found = {}
    for module, other_name in IMPORTED.findall(source):
        name = module if other_name else module.partition(".")[0]
        if name in sys.modules:
            found[other_name or name] = sys.modules[name]
    return found


def _starting(start: str, names: list[str]) -> set[str]:
    hidden = start[:1] != "_"
    return {one for one in names if one.startswith(start) and not (hidden and one[:1] == "_")}


def _names_of(owner: object) -> list[str]:
    try:
        return dir(owner)
    except Exception:
        return dir(type(owner))


def _by_jedi(source: str, cursor: int, word: str, cells: Cells) -> list[str]:
    """What the source itself tells, though it never ran: imports, attributes, arguments."""
    if (script := _script(source, cells)) is None:
        return []
    owner, dot, start = word.rpartition(".")
    with READS_SOURCE:
        found = [one.name_with_symbols for one in script.complete(*_position(source, cursor))]
    fitting = _starting(start, found)  # jedi does not look at capitals
    return [owner + dot + name for name in found if name in fitting]


def _script(source: str, cells: Cells) -> Any:
    try:
        import jedi
    except ImportError:
        return None
    return jedi.Interpreter(source, [cells.namespace])


def _position(source: str, cursor: int) -> tuple[int, int]:
    before = source[:cursor]
    return before.count("\n") + 1, len(before.rpartition("\n")[2])


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


# Inspection -----------------------------------------------------------------------------------


def _inspect(frame: Frame, cells: Cells) -> bytes:
    source, cursor = _source(frame), int(frame.options["cursor"])
    found = DOTTED_NAME.search(source[:cursor])
    rest = REST_OF_NAME.match(source, cursor)
    word = "".join((found.group() if found else "").split()) + (rest.group() if rest else "")
    if not word.strip("."):
        return _text(frame, "")
    try:
        value = _look_up(word.strip("."), cells.namespace)
    except LookupError:
        return _text(frame, _help_of_jedi(source, cursor, cells))
    return _text(frame, _description(word.strip("."), value))


def _description(word: str, value: object) -> str:
    parts = []
    try:
        parts.append(word + str(inspect.signature(value)))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        parts.append(f"{word}: {type(value).__name__}")
    documentation = inspect.getdoc(value)
    if documentation:
        parts.append(documentation)
    return "\n\n".join(parts)


def _help_of_jedi(source: str, cursor: int, cells: Cells) -> str:
    if (script := _script(source, cells)) is None:
        return ""
    with READS_SOURCE:
        return "\n\n".join(one.docstring() for one in script.help(*_position(source, cursor)))


# Whether it is complete -----------------------------------------------------------------------


def completeness(source: str) -> str:
    """Of Python: complete, incomplete or invalid."""
    try:
        code = codeop.compile_command(source, "<cell>", "exec")
    except (SyntaxError, ValueError, OverflowError):
        return "invalid"
    last_line = source.rpartition("\n")[2]
    if code is None or (last_line[:1].isspace() and last_line.strip()):
        return "incomplete"
    return "complete"


def _is_complete(frame: Frame, cells: Cells) -> bytes:
    return _completeness(frame, cells.completeness(_source(frame)))


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


ANSWERS: dict[str, Callable[[Frame, Cells], bytes]] = {
    "complete": _complete,
    "inspect": _inspect,
    "is-complete": _is_complete,
}
