"""`python -m kernel_runner <language>`: forks guardian and runner; the runner reads the options."""

import gc
import socket
import sys

from kernel_runner import guardian


def run(control: socket.socket) -> int:
    """The runner's life; imported only on its side of the fork, the guardian stays small."""
    gc.disable()  # loading makes no garbage, but many objects to look through
    from kernel_runner import cli

    gc.freeze()
    gc.enable()
    return cli.main(control)


if __name__ == "__main__":
    sys.exit(guardian.main(run))
