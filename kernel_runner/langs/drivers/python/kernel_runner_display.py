"""`from kernel_runner_display import display`: objects in, shown by the runner of this program.

In a query the driver puts its own in place of this.
"""

from __future__ import annotations

from kernel_runner_driver import showing
from kernel_runner_driver.representations import rich


def display(*objects: object, display_id: str | None = None, **_options: object) -> None:
    """Show each object in the richest way that it knows; without a runner it is printed."""
    for one in objects:
        data, metadata = rich(one)
        if not (data and showing.send(data, metadata, display_id=display_id)):
            print(repr(one))
