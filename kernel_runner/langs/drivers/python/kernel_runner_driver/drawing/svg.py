"""A canvas in; its picture as SVG out."""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer to import than this
if TYPE_CHECKING:
    from typing import Any

    from kernel_runner_driver.drawing.canvas import Canvas, Shape


class Area:
    """What is between the lines of a fill."""

    def __init__(self, color: str) -> None:
        self.color = color
        self.points: list[tuple[float, float]] = []


def picture(canvas: Canvas) -> str:
    """The whole picture as it is now."""
    size = f'width="{canvas.width}" height="{canvas.height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}'
        f' viewBox="0 0 {canvas.width} {canvas.height}">',
        f'<rect {size} fill="{canvas.bgcolor.to_hex()}"/>',
        *(_area(one) if isinstance(one, Area) else _shape(one) for one in canvas.shapes),
        "</svg>",
    ]
    return "\n".join(parts)


def _area(area: Area) -> str:
    points = " ".join(f"{x:g},{y:g}" for x, y in area.points)
    return f'<polygon points="{points}" fill="{area.color}"/>'


def _shape(shape: Shape) -> str:
    v: dict[str, Any] = shape.values
    if shape.kind == "line":
        place = " ".join(f'{name}="{v[name]:g}"' for name in ("x1", "y1", "x2", "y2"))
        return f'<line {place} stroke="{v["color"]}"/>'
    paint = f'stroke="{v["border"]}" fill="{v["fill"]}"'
    x, y = v["x"], v["y"]
    if shape.kind == "circle":
        return f'<circle cx="{x:g}" cy="{y:g}" r="{v["radius"]:g}" {paint}/>'
    width, height = v["width"], v["height"]
    turn = f' transform="rotate({v["angle"]:g} {x + width / 2:g} {y + height / 2:g})"'
    turn = turn if v["angle"] else ""
    if shape.kind == "rect":
        place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
        return f"<rect {place} {paint}{turn}/>"
    corners = ((x + width / 2, y), (x + width, y + height), (x, y + height))
    points = " ".join(f"{across:g},{down:g}" for across, down in corners)
    return f'<polygon points="{points}" {paint}{turn}/>'
