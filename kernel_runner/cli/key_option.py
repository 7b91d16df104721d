"""Which key file a client has, as words or environment say."""

import argparse
import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "KERNEL_RUNNER_KEY_FILE"


def add_key(parser: argparse.ArgumentParser) -> None:
    """The word of every command that connects to a runner."""
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help=f"your key, for a runner with keys: a file that `keygen` made; else {VARIABLE}",
    )


def key_file_of(options: argparse.Namespace) -> Path | None:
    """None: connect without keys."""
    if options.key is not None:
        return Path(options.key)
    return Path(file) if (file := os.environ.get(VARIABLE)) else None
