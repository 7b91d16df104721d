"""Shapes and what becomes of them in; the commands of a drawing, and its picture, out."""

from __future__ import annotations

import itertools

from kernel_runner_driver.drawing import svg
from kernel_runner_driver.drawing.colors import Colors
from kernel_runner_driver.drawing.packing import packed

TYPE_CHECKING = False  # typing takes longer to import than this
if TYPE_CHECKING:
    from kernel_runner_driver.drawing.colors import Color
    from kernel_runner_driver.drawing.turtle import Turtle

PROPERTIES = {
    "line": ("x1", "y1", "x2", "y2", "color"),
    "circle": ("x", "y", "radius", "border", "fill", "angle"),
    "rect": ("x", "y", "width", "height", "border", "fill", "angle"),
    "triangle": ("x", "y", "width", "height", "border", "fill", "angle"),
}
"""What each kind of shape has, in the order of its command."""

_numbers = itertools.count()


class Shape:
    """A line, circle, rectangle or triangle; what it does not have cannot be set."""

    def __init__(self, canvas: Canvas, number: int, kind: str, values: tuple[object, ...]) -> None:
        self._canvas = canvas
        self.number = number
        self.kind = kind
        self.values = dict(zip(PROPERTIES[kind], values))

    def set_x(self, x: float) -> None:
        self._set("x", x)

    def set_y(self, y: float) -> None:
        self._set("y", y)

    def set_x1(self, x: float) -> None:
        self._set("x1", x)

    def set_y1(self, y: float) -> None:
        self._set("y1", y)

    def set_x2(self, x: float) -> None:
        self._set("x2", x)

    def set_y2(self, y: float) -> None:
        self._set("y2", y)

    def set_radius(self, radius: float) -> None:
        self._set("radius", radius)

    def set_angle(self, degrees: float) -> None:
        self._set("angle", degrees)

    def rotate(self, degrees: float) -> None:
        """Turn it further."""
        if "angle" in self.values:
            self.values["angle"] += degrees  # type: ignore[operator]
            self._canvas.command("update", self.number, "rotate", degrees)

    def stroke(self, color: Color) -> None:
        self._set("color" if self.kind == "line" else "border", color.to_hex())

    def fill(self, color: Color) -> None:
        self._set("fill", color.to_hex())

    def _set(self, name: str, value: object) -> None:
        if name in self.values:
            self.values[name] = value
            self._canvas.command("update", self.number, name, value)


class Canvas:
    """A picture of `width` times `height` points; (0, 0) is its upper left corner."""

    def __init__(
        self, width: int, height: int, bgcolor: Color = Colors.White, fgcolor: Color = Colors.Black
    ) -> None:
        self.width, self.height = width, height
        self.bgcolor, self.fgcolor = bgcolor, fgcolor
        self.shapes: list[Shape | svg.Area] = []
        self._number = next(_numbers)
        self._shape_numbers = itertools.count()
        self._commands: list[tuple[object, ...]] = []
        self._area: svg.Area | None = None
        self.command("canvas", width, height, bgcolor.to_hex(), fgcolor.to_hex())

    def command(self, *words: object) -> None:
        """Keep a command for the next `show`."""
        self._commands.append((self._number, *words))

    def show(self) -> None:
        """Show what was drawn."""
        from kernel_runner_display import display

        display(self)

    update = show

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        """The commands since it was shown last, and the whole picture."""
        commands, self._commands = self._commands, []
        return {
            "application/x-sorna-drawing": packed(commands),
            "image/svg+xml": svg.picture(self),
            "text/plain": repr(self),
        }

    def __repr__(self) -> str:
        return f"<Canvas of {self.width} x {self.height} with {len(self.shapes)} shapes>"

    def create_turtle(self) -> Turtle:
        from kernel_runner_driver.drawing.turtle import Turtle

        return Turtle(self)

    # Shapes -----------------------------------------------------------------------------------

    def line(self, x0: float, y0: float, x1: float, y1: float, color: Color | None = None) -> Shape:
        if self._area is not None:
            self._area.points += [(x0, y0), (x1, y1)]
        return self._add("line", x0, y0, x1, y1, (color or self.fgcolor).to_hex())

    def circle(
        self,
        x: float,
        y: float,
        radius: float,
        border: Color | None = None,
        fill: Color | None = None,
        angle: float = 0,
    ) -> Shape:
        return self._add("circle", x, y, radius, *self._colors(border, fill), angle)

    def rectangle(
        self,
        left: float,
        top: float,
        width: float,
        height: float,
        border: Color | None = None,
        fill: Color | None = None,
        angle: float = 0,
    ) -> Shape:
        return self._add("rect", left, top, width, height, *self._colors(border, fill), angle)

    def triangle(
        self,
        left: float,
        top: float,
        width: float,
        height: float,
        border: Color | None = None,
        fill: Color | None = None,
        angle: float = 0,
    ) -> Shape:
        return self._add("triangle", left, top, width, height, *self._colors(border, fill), angle)

    def _colors(self, border: Color | None, fill: Color | None) -> tuple[str, str]:
        return (border or self.fgcolor).to_hex(), (fill or Colors.Transparent).to_hex()

    def _add(self, kind: str, *values: object) -> Shape:
        shape = Shape(self, next(self._shape_numbers), kind, values)
        self.shapes.append(shape)
        self.command("obj", shape.number, (kind, *values))
        return shape

    # How it is drawn --------------------------------------------------------------------------

    def background_color(self, color: Color) -> None:
        self.bgcolor = color
        self.command("bgcolor", color.to_hex())

    def stroke_color(self, color: Color) -> None:
        """Of what is drawn from now on."""
        self.fgcolor = color
        self.command("fgcolor", color.to_hex())

    def begin_fill(self, color: Color) -> None:
        """What the lines from here to `end_fill` surround is filled."""
        self._area = svg.Area(color.to_hex())
        self.shapes.append(self._area)
        self.command("begin-fill", color.to_hex())

    def end_fill(self) -> None:
        self._area = None
        self.command("end-fill")

    def begin_group(self) -> None:
        """What follows is drawn in one step of an animation."""
        self.command("begin-group")

    def end_group(self) -> None:
        self.command("end-group")

    def stop_animation(self) -> None:
        self.command("stop-anim")

    def resume_animation(self) -> None:
        self.command("resume-anim")
