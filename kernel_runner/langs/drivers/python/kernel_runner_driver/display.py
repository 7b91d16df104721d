"""Python objects in; `media` frames or their text out."""

from __future__ import annotations

import builtins
import sys

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from kernel_runner_driver.streams import Output

REPRESENTATIONS = {
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


class Display:
    """The echo of a cell's last expression, and the user's `display`."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.as_data = False
        builtins.display = self.display  # type: ignore[attr-defined]
        module = type(sys)("kernel_runner_display")
        module.display = self.display  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module

    def install(self) -> None:
        sys.displayhook = self.echo

    def echo(self, value: object) -> None:
        """What the interpreter does with the value of a cell's last expression."""
        if value is None:
            return
        sys.modules["__main__"].__dict__["_"] = value
        if self.as_data:
            data, metadata = rich(value)
            self.send(data or {"text/plain": repr(value)}, metadata, is_result=True)
        else:
            self._show(value)

    def display(self, *objects: object, **_options: object) -> None:
        """Show each object in the richest way that it knows."""
        for one in objects:
            self._show(one)

    def _show(self, value: object) -> None:
        data, metadata = rich(value)
        if data:
            self.send(data, metadata)
            return
        stream = sys.stdout
        if stream is not None:
            stream.write(repr(value) + "\n")

    def send(
        self, data: dict[str, object], metadata: dict[str, object], is_result: bool = False
    ) -> None:
        """One `media` frame, after what was printed before it."""
        body = body_of(data, metadata, is_result)
        output = self._output
        if output.is_child:
            return
        with output.wire.lock:
            output.collect()
            output.wire.post(b"media %d%s\n%s" % (len(body), output.drain(), body))
            output.wire.flush()
        output.interrupts.check()


def body_of(data: dict[str, object], metadata: dict[str, object], is_result: bool = False) -> bytes:
    """One displayed object, as the runner reads it."""
    import json

    encoded = {mime: as_text(mime, content) for mime, content in data.items()}
    shown: dict[str, object] = {"data": encoded, "metadata": metadata}
    if is_result:
        shown["is_result"] = True
    return json.dumps(shown, default=str).encode()


def rich(value: object) -> tuple[dict[str, object], dict[str, object]]:
    """All representations, its `repr` among them; none of an object that has no other."""
    if type(value).__module__ == "builtins":
        return {}, {}
    data, metadata = representations(value)
    if data:
        data.setdefault("text/plain", repr(value))
    return data, metadata


def representations(value: object) -> tuple[dict[str, object], dict[str, object]]:
    """Every representation that the class of `value` offers, and the metadata of each."""
    kind = type(value)
    data: dict[str, object] = {}
    metadata: dict[str, object] = {}
    if getattr(kind, "_repr_mimebundle_", None) is not None:
        bundle = value._repr_mimebundle_(include=None, exclude=None)  # type: ignore[attr-defined]
        if isinstance(bundle, tuple):
            bundle, metadata = bundle[0], dict(bundle[1])
        data = {mime: part for mime, part in (bundle or {}).items() if part is not None}
    for method, mime in REPRESENTATIONS.items():
        if mime in data or getattr(kind, method, None) is None:
            continue
        content = getattr(value, method)()
        if isinstance(content, tuple):
            content, metadata[mime] = content
        if content is not None:
            data[mime] = content
    return data, metadata


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
