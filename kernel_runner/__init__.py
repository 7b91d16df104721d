"""Runs user code in any language for a client, one command at a time, in the order it was sent."""

__version__ = "0.1.0"
