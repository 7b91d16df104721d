"""`kernel-runner` and `python -m kernel_runner`: a command, or a language to serve."""

import gc
import socket
import sys
from collections.abc import Sequence
from functools import partial

from kernel_runner import guardian


def main() -> int:
    """Carry out the words of the command line; the exit code."""
    words = sys.argv[1:]
    if words[:1] == ["serve"]:
        return guardian.main(partial(_serve, words[1:]))
    from kernel_runner import cli  # late: the guardian of `serve` stays small

    if not words or words[0] in cli.COMMANDS or words[0] in ("--help", "-h", "--version"):
        return cli.main(words)
    return guardian.main(partial(_serve, words))


def _serve(words: Sequence[str], control: socket.socket) -> int:
    """The runner's life; imported only on its side of the fork."""
    gc.disable()  # loading makes no garbage, but many objects to look through
    from kernel_runner.cli import serve

    gc.freeze()
    gc.enable()
    return serve.main(control, words)


if __name__ == "__main__":
    sys.exit(main())
