"""Open figures of matplotlib in; `media` frames out, and the figures are closed."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from kernel_runner_driver.display import Display


def show(display: Display) -> None:
    """Send every open figure as an image, if pyplot is loaded and shows them in no window."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or not hasattr(pyplot, "get_fignums") or not _has_no_window(pyplot):
        return
    import io

    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        image = io.BytesIO()
        figure.savefig(image, format="png")
        text = repr(figure)
        pyplot.close(figure)
        display.send({"image/png": image.getvalue(), "text/plain": text}, {})


def _has_no_window(pyplot: object) -> bool:
    return str(pyplot.get_backend()).lower() == "agg"  # type: ignore[attr-defined]
