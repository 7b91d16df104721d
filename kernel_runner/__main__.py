"""`kernel-runner` and `python -m kernel_runner`: a command, or a language to serve."""

import gc
import os
import socket
import sys
from collections.abc import Sequence
from functools import partial

from kernel_runner import cli, guardian, process_tree

HELP = ("--help", "-h", "--version")
HEARS_STDIN = {"--until-eof", "--until-fetched"}
DEBUG = "--debug"


def main() -> int:
    """Carry out the words of the command line; the exit code."""
    gc.disable()  # loading makes no garbage, but many objects to look through
    words = sys.argv[1:]
    if words and (words[0] == "serve" or words[0] not in (*cli.COMMANDS, *HELP)):
        if DEBUG not in words:
            process_tree.hide()
        # the guardian puts /dev/null in its place
        stdin_fd = os.dup(0) if HEARS_STDIN & {*words} else None
        return guardian.main(partial(_serve, words[words[0] == "serve" :], stdin_fd))
    from kernel_runner.cli import command_line

    return command_line.main(words)


def _serve(words: Sequence[str], stdin_fd: int | None, control: socket.socket) -> int:
    """The runner's life; imported only on its side of the fork, so the guardian stays small."""
    from kernel_runner.cli import serve

    gc.freeze()
    gc.enable()
    return serve.main(control, words, stdin_fd=stdin_fd)


if __name__ == "__main__":
    sys.exit(main())
