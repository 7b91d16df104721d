"""Open figures of matplotlib in; `media` frames out, and the figures are closed."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from typing import Any

    from kernel_runner_driver.display import Display


def show(display: Display) -> None:
    """Send every open figure as an image, if pyplot is loaded and shows them in no window."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or not hasattr(pyplot, "get_fignums") or not _has_no_window(pyplot):
        return
    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        data = representations(figure)
        pyplot.close(figure)
        display.send(data, {})


def representations(figure: Any) -> dict[str, object]:
    """The figure as an image, in its own size, and as text."""
    import io

    image = io.BytesIO()
    figure.savefig(image, format="png")
    return {"image/png": image.getvalue(), "text/plain": repr(figure)}


def _has_no_window(pyplot: object) -> bool:
    return str(pyplot.get_backend()).lower() == "agg"  # type: ignore[attr-defined]
