"""A Python object in; its representations by MIME type and their metadata out."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Tuple

    Bundle = Tuple[Dict[str, object], Dict[str, object]]

METHODS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_latex_": "text/latex",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_pdf_": "application/pdf",
    "_repr_json_": "application/json",
    "_repr_javascript_": "application/javascript",
}


def rich(value: object) -> Bundle:
    """All representations, its `repr` among them; none of an object that has no other."""
    if type(value).__module__ == "builtins":
        return {}, {}
    data, metadata = representations(value)
    if data:
        data.setdefault("text/plain", repr(value))
    return data, metadata


def representations(value: object) -> Bundle:
    """Every representation that the class of `value` offers, and the metadata of each."""
    if (special := _special(value)) is not None:
        return special, {}
    kind = type(value)
    data: dict[str, object] = {}
    metadata: dict[str, object] = {}
    if offers(kind, "_repr_mimebundle_"):
        bundle = _asked(value, "_repr_mimebundle_", include=None, exclude=None)
        if isinstance(bundle, tuple):
            bundle, metadata = bundle[0], dict(bundle[1])
        if not isinstance(bundle or {}, dict):
            raise TypeError(f"_repr_mimebundle_ gives a dictionary, not {type(bundle).__name__}")
        data.update((mime, part) for mime, part in (bundle or {}).items() if part is not None)
    for method, mime in METHODS.items():
        if mime in data or not offers(kind, method):
            continue
        content = _asked(value, method)
        if isinstance(content, tuple):
            content, metadata[mime] = content
        if content is not None:
            data[mime] = content
    return data, metadata


def offers(kind: type, method: str) -> bool:
    """Whether it is written down in a class; neither `__getattr__` nor a metaclass is asked."""
    for base in kind.__mro__:
        if method in base.__dict__:
            return base.__dict__[method] is not None
    return False


def _asked(value: Any, method: str, **options: object) -> Any:
    try:
        return getattr(value, method)(**options)
    except NotImplementedError:  # it does not have this one after all
        return None


# Objects that do not describe themselves well enough ------------------------------------------


def _special(value: object) -> dict[str, object] | None:
    """By the package that the class comes from; nothing is imported for it."""
    for kind in type(value).__mro__:
        describe = SPECIAL.get(kind.__module__.partition(".")[0])
        if describe is not None:
            return describe(value)
    return None


def _matplotlib(value: Any) -> dict[str, object] | None:
    figure = sys.modules.get("matplotlib.figure")
    if figure is None or not isinstance(value, figure.Figure):
        return None
    from kernel_runner_driver import figures

    return figures.representations(value)


def _plotly(value: Any) -> dict[str, object] | None:
    """The figure as data, and as a page for who has no renderer for that."""
    if not hasattr(value, "to_plotly_json"):
        return None
    import json

    return {
        "application/vnd.plotly.v1+json": json.loads(value.to_json()),
        "text/html": value.to_html(full_html=False, include_plotlyjs="cdn"),
    }


def _numpy(value: Any) -> dict[str, object] | None:
    """A table with named columns; other arrays are text, as people and programs expect."""
    names = getattr(getattr(value, "dtype", None), "names", None)
    if not names or getattr(value, "ndim", 0) != 1:
        return None
    return {"text/html": _table(names, value[:MAX_ROWS].tolist(), len(value))}


def _table(names: tuple[str, ...], rows: list[Any], length: int) -> str:
    from html import escape

    def line(tag: str, cells: Any) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(one))}</{tag}>" for one in cells) + "</tr>"

    body = "".join(line("td", row) for row in rows)
    more = f"<p>{length} rows</p>" if length > len(rows) else ""
    return f"<table><thead>{line('th', names)}</thead><tbody>{body}</tbody></table>{more}"


MAX_ROWS = 60
SPECIAL: dict[str, Callable[[Any], dict[str, object] | None]] = {
    "matplotlib": _matplotlib,
    "numpy": _numpy,
    "plotly": _plotly,
}


# As the runner reads them ---------------------------------------------------------------------


def body_of(data: dict[str, object], metadata: dict[str, object], **more: object) -> bytes:
    """One displayed object, as the runner reads it."""
    import json

    encoded = {mime: as_text(mime, content) for mime, content in data.items()}
    return json.dumps({"data": encoded, "metadata": metadata, **more}, default=str).encode()


def frame_of(
    data: dict[str, object], metadata: dict[str, object], **more: object
) -> tuple[int, bytes]:
    """The same with what is binary as it is, behind the JSON; how long that is."""
    text, binary = {}, {}
    for mime, content in data.items():
        if isinstance(content, (bytes, bytearray, memoryview)) and not is_text(mime):
            binary[mime] = bytes(content)
        else:
            text[mime] = content
    if binary:
        more["binary"] = {mime: len(content) for mime, content in binary.items()}
    head = body_of(text, metadata, **more)
    return len(head), b"".join([head, *binary.values()])


def is_text(mime: str) -> bool:
    return (
        mime.startswith("text/")
        or mime in ("image/svg+xml", "application/json", "application/javascript")
        or (mime.startswith("application/") and mime.endswith("+json"))
    )


def as_text(mime: str, content: object) -> object:
    """What JSON can hold: base64 for what is binary, everything else as it is."""
    if isinstance(content, (bytes, bytearray, memoryview)):
        if is_text(mime):
            return bytes(content).decode("utf-8", "replace")
        from binascii import b2a_base64

        return b2a_base64(content, newline=False).decode("ascii")
    if isinstance(content, str) or mime.endswith("json"):
        return content
    raise TypeError(f"a representation as {mime} is text or bytes, not {type(content).__name__}")
