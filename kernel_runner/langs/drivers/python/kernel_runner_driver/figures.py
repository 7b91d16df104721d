"""Open figures of matplotlib in; `media` frames out, and the figures are closed."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing takes longer to import than the whole driver
if TYPE_CHECKING:
    from typing import Any

    from kernel_runner_driver.display import Display

TYPES = {
    "png": "image/png",
    "svg": "image/svg+xml",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "pdf": "application/pdf",
    "webp": "image/webp",
}


def show(display: Display) -> None:
    """Send every open figure as an image, if pyplot is loaded and shows them in no window."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or not hasattr(pyplot, "get_fignums") or not _has_no_window(pyplot):
        return
    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        try:
            data = representations(figure)
        finally:
            pyplot.close(figure)
        display.send(data, {})


def show_after(display: Display) -> None:
    """The same at the end of a cell that failed: nothing that goes wrong here is told."""
    try:
        show(display)
    except BaseException:
        sys.modules["matplotlib.pyplot"].close("all")


def close(figure: object) -> None:
    """It was shown as the value of its cell: once is enough."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and _has_no_window(pyplot):
        pyplot.close(figure)


def representations(figure: Any) -> dict[str, object]:
    """The figure as an image, and as text.

    matplotlib's own settings hold: `savefig.format` (png, svg, jpg, pdf, webp), `savefig.dpi`,
    `savefig.bbox` and so on; else it is a PNG in the figure's own size.
    """
    import io

    from matplotlib import rcParams

    wanted = str(rcParams["savefig.format"]).lower()
    kind = wanted if wanted in TYPES else "png"
    image = io.BytesIO()
    figure.savefig(image, format=kind)
    return {TYPES[kind]: image.getvalue(), "text/plain": repr(figure)}


def _has_no_window(pyplot: object) -> bool:
    return str(pyplot.get_backend()).lower() == "agg"  # type: ignore[attr-defined]
