"""Python objects in; `media` frames or their text out: the echo of a cell, and `display`."""

from __future__ import annotations

import builtins
import os
import sys

from kernel_runner_driver.representations import frame_of, offers, rich

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from typing import Callable, Iterable

    from kernel_runner_driver.representations import Bundle
    from kernel_runner_driver.streams import Output


class Display:
    """The echo of a cell's last expression, and what the user calls to show something."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.as_data = False
        """Values of cells and errors are wanted as data, for a notebook."""
        self.represent: Callable[[object], Bundle] = rich
        """What tells the representations of an object; IPython's shell puts its own here."""
        self.text: Callable[[object], str] = repr
        """What tells the text of an object that is nothing but text."""
        self.is_echo_wanted = True
        builtins.display = self.display  # type: ignore[attr-defined]
        module = type(sys)("kernel_runner_display")
        vars(module).update(self.functions())
        sys.modules[module.__name__] = module

    def functions(self) -> dict[str, object]:
        """What is called as IPython has it, by name."""
        return {
            "display": self.display,
            "update_display": self.update_display,
            "clear_output": self.clear_output,
            "publish_display_data": self.publish_display_data,
        }

    def install(self) -> None:
        sys.displayhook = self.echo

    def echo(self, value: object) -> None:
        """What the interpreter does with the value of a cell's last expression."""
        if value is None or not self.is_echo_wanted:
            return
        sys.modules["__main__"].__dict__["_"] = value
        if self.as_data:
            data, metadata = self.represent(value)
            self.send(data or {"text/plain": self.text(value)}, metadata, is_result=True)
        else:
            self.show(value)
        if type(value).__module__ == "matplotlib.figure":
            from kernel_runner_driver import figures

            figures.close(value)

    def display(
        self,
        *objects: object,
        include: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        metadata: dict[str, object] | None = None,
        display_id: str | bool | None = None,
        raw: bool = False,
        clear: bool = False,
        **options: object,
    ) -> Handle | None:
        """Show each object in all representations that it has.

        Args:
            include: these MIME types only; `exclude`: all but these.
            display_id: a name by which it can be updated, or True for a new one.
            raw: the objects are dictionaries from MIME type to content.
            clear: what was shown before is taken away.

        Returns:
            A handle with `update`, if there is a `display_id`.
        """
        if clear:
            self.clear_output(wait=True)
        name = os.urandom(16).hex() if display_id is True else display_id or None
        transient: dict[str, object] = {}
        if name is not None:
            transient["display_id"] = str(name)
        if options.pop("update", False):
            transient["update"] = True
        for one in objects:
            if raw and isinstance(one, dict):
                self.send(_chosen(one, include, exclude), metadata or {}, **transient)
            else:
                self.show(one, include, exclude, metadata, **transient)
        return None if name is None else Handle(self, str(name))

    def update_display(self, *objects: object, display_id: str, **options: object) -> None:
        """Show the object in place of what was shown with this `display_id`."""
        self.display(*objects, display_id=display_id, update=True, **options)  # type: ignore

    def publish_display_data(
        self,
        data: dict[str, object],
        metadata: dict[str, object] | None = None,
        *_: object,
        transient: dict[str, object] | None = None,
        update: bool = False,
        **_options: object,
    ) -> None:
        """Show what is already in the form of representations."""
        more: dict[str, object] = {"update": True} if update else {}
        if transient and transient.get("display_id"):
            more["display_id"] = str(transient["display_id"])
        self.send(dict(data), metadata or {}, **more)

    def clear_output(self, wait: bool = False) -> None:
        """What the cell has shown is taken away; with `wait` only as more comes."""
        if not self._output.is_child:
            self._post(lambda keys: b"clear 0 wait=%d%s\n" % (wait, keys))

    def show(
        self,
        value: object,
        include: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        more_metadata: dict[str, object] | None = None,
        **transient: object,
    ) -> None:
        """One object: as text alone to standard output, where it has no other representation."""
        # Plotly's own would open a browser.
        if offers(type(value), "_ipython_display_") and type(value).__module__[:6] != "plotly":
            try:
                value._ipython_display_()  # type: ignore[attr-defined]
                return
            except NotImplementedError:
                pass
        data, metadata = self.represent(value)
        if not data and transient:
            data = {"text/plain": self.text(value)}
        if data:
            chosen = _chosen(data, include, exclude)
            self.send(chosen, {**metadata, **(more_metadata or {})}, **transient)
            return
        stream = sys.stdout
        if stream is not None:
            stream.write(self.text(value) + "\n")

    def send(
        self, data: dict[str, object], metadata: dict[str, object], **transient: object
    ) -> None:
        """One `media` frame, after what was printed before it."""
        head, body = frame_of(data, metadata, **transient)
        if not self._output.is_child:
            self._post(lambda keys: b"media %d json=%d%s\n%s" % (len(body), head, keys, body))

    def _post(self, frame: Callable[[bytes], bytes]) -> None:
        output = self._output
        with output.wire.lock:
            output.collect()
            output.wire.post(frame(output.keys()))
            output.wire.flush()
        output.interrupts.check()


class Handle:
    """What was shown with a `display_id`."""

    def __init__(self, display: Display, display_id: str) -> None:
        self._display = display
        self.display_id = display_id

    def display(self, value: object, **options: object) -> None:
        """Show an object, again under this name."""
        self._display.display(value, display_id=self.display_id, **options)  # type: ignore

    def update(self, value: object, **options: object) -> None:
        """Show an object in place of the one before."""
        self._display.update_display(value, display_id=self.display_id, **options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} display_id={self.display_id}>"


def _chosen(
    data: dict[str, object], include: Iterable[str] | None, exclude: Iterable[str] | None
) -> dict[str, object]:
    wanted = set(data if include is None else include) - set(exclude or ())
    return {mime: content for mime, content in data.items() if mime in wanted}
