"""`python -m kernel_runner <language>`: forks guardian and runner; the runner reads the options."""

import socket
import sys

from kernel_runner import guardian


def run(control: socket.socket) -> int:
    """The runner's life; imported only on its side of the fork, the guardian stays small."""
    from kernel_runner import cli

    return cli.main(control)


if __name__ == "__main__":
    sys.exit(guardian.main(run))
