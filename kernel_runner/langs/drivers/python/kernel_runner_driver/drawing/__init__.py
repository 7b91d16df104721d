"""Calls of a person who learns to draw in; drawing commands and SVG out."""

from __future__ import annotations
