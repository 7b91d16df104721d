"""Steps and turns of a turtle in; lines on its canvas out."""

from __future__ import annotations

import math

from kernel_runner_driver.drawing.colors import Colors

TYPE_CHECKING = False  # typing takes longer to import than this
if TYPE_CHECKING:
    from kernel_runner_driver.drawing.canvas import Canvas
    from kernel_runner_driver.drawing.colors import Color

CURSOR_WIDTH, CURSOR_HEIGHT = 12, 18


class Vec2D(tuple):  # type: ignore[type-arg]
    """Two numbers that can be added, subtracted, scaled and turned."""

    __slots__ = ()

    def __new__(cls, x: float, y: float) -> Vec2D:
        return super().__new__(cls, (x, y))

    def __add__(self, other: Vec2D) -> Vec2D:  # type: ignore[override]
        return Vec2D(self[0] + other[0], self[1] + other[1])

    def __sub__(self, other: Vec2D) -> Vec2D:
        return Vec2D(self[0] - other[0], self[1] - other[1])

    def __neg__(self) -> Vec2D:
        return Vec2D(-self[0], -self[1])

    def __mul__(self, other: object) -> object:  # type: ignore[override]
        """With a number a longer one, with another one their product."""
        if isinstance(other, Vec2D):
            return self[0] * other[0] + self[1] * other[1]
        return Vec2D(self[0] * other, self[1] * other)

    __rmul__ = __mul__  # type: ignore[assignment]

    def __abs__(self) -> float:
        return math.hypot(*self)

    def rotate(self, degrees: float) -> Vec2D:
        angle = math.radians(degrees)
        cos, sin = math.cos(angle), math.sin(angle)
        return Vec2D(self[0] * cos - self[1] * sin, self[0] * sin + self[1] * cos)

    def __repr__(self) -> str:
        return f"({self[0]:.2f}, {self[1]:.2f})"


class Turtle:
    """It begins in the middle of its canvas and looks up; degrees count against the clock."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._place = Vec2D(canvas.width / 2, canvas.height / 2)
        self._heading = 90.0
        self._draws = True
        self._color: Color | None = None
        left, top = self._corner()
        self._cursor = canvas.triangle(
            left, top, CURSOR_WIDTH, CURSOR_HEIGHT, border=Colors.Red, fill=Colors.Transparent
        )

    def forward(self, points: float) -> None:
        """Go on in the direction in which it looks."""
        step = Vec2D(points, 0).rotate(self._heading)
        self.setpos(self._place[0] + step[0], self._place[1] - step[1])

    def backward(self, points: float) -> None:
        self.forward(-points)

    def left(self, degrees: float) -> None:
        self._turn(degrees)

    def right(self, degrees: float) -> None:
        self._turn(-degrees)

    def heading(self) -> float:
        """In degrees; 0 is to the right, 90 up."""
        return self._heading

    def pos(self) -> Vec2D:
        return self._place

    def setpos(self, x: float | tuple[float, float], y: float | None = None) -> None:
        """Go there; with the pen down a line shows the way."""
        before = self._place
        self._place = Vec2D(*x) if isinstance(x, tuple) else Vec2D(x, y or 0)
        self._canvas.begin_group()
        if self._draws:
            self._canvas.line(*before, *self._place, color=self._color)
        left, top = self._corner()
        self._cursor.set_x(left)
        self._cursor.set_y(top)
        self._canvas.end_group()

    def color(self, color: Color) -> None:
        """Of the lines from now on."""
        self._color = color

    def penup(self) -> None:
        self._draws = False

    def pendown(self) -> None:
        self._draws = True

    def _turn(self, degrees: float) -> None:
        self._heading = (self._heading + degrees) % 360
        self._cursor.rotate(-degrees)

    def _corner(self) -> Vec2D:
        return self._place - Vec2D(CURSOR_WIDTH / 2, CURSOR_HEIGHT / 2)
