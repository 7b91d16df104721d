"""`from kernel_runner_drawing import Canvas`: drawing for teaching; see docs/python.md."""

from __future__ import annotations

from kernel_runner_driver.drawing.canvas import Canvas, Shape
from kernel_runner_driver.drawing.colors import Color, Colors
from kernel_runner_driver.drawing.turtle import Turtle, Vec2D

__all__ = ["Canvas", "Color", "Colors", "Shape", "Turtle", "Vec2D"]
