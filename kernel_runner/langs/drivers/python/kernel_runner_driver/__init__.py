"""The Python driver: cells come in as frames on one descriptor, events leave on another."""

from __future__ import annotations
