"""Figures that a batch program shows in; sent to the runner, and closed, out.

`sitecustomize.py` chooses it.  Where there is no runner any more it is Agg.
"""

from __future__ import annotations

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase, _Backend
from matplotlib.backends.backend_agg import FigureCanvasAgg

from kernel_runner_driver import figures, showing


class FigureManager(FigureManagerBase):
    """What is a window elsewhere."""

    sent: object = None

    def show(self) -> None:
        """Send the figure, unless the picture is still the one that was sent before."""
        data = figures.representations(self.canvas.figure) if showing.is_possible() else None
        if data is not None and data != self.sent and showing.send(data, {}):
            self.sent = data
        if self.sent is None:
            super().show()


class FigureCanvas(FigureCanvasAgg):
    manager_class = FigureManager


@_Backend.export
class _BackendShown(_Backend):
    FigureCanvas = FigureCanvas
    FigureManager = FigureManager

    @staticmethod
    def mainloop() -> None:
        """A `show` that waits elsewhere until the windows are closed: those that were shown are."""
        for manager in Gcf.get_all_fig_managers():
            if manager.sent is not None:
                Gcf.destroy(manager.num)
