"""`connect`: the address of a runner comes in; a prompt for it, as that of `repl`, goes out."""

import argparse
from typing import Final

from kernel_runner.cli import remote, repl
from kernel_runner.cli.key_option import key_file_of
from kernel_runner.messages.commands import GetStatus
from kernel_runner.messages.events import Status

EXAMPLES: Final = """\
examples:
  kernel-runner connect ipc://kernel.session
  kernel-runner connect --address-file kernel.json
  echo 'echo $((6 * 7))' | kernel-runner connect ipc://kernel.session
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    remote.add_address(parser)


def run(options: argparse.Namespace) -> int:
    """Read, run and show cells until their end; the exit code.

    Raises:
        RunnerUnreachable: nobody answers there.
    """
    address, key_file = remote.address_of(options), key_file_of(options)
    remote.ask(address, GetStatus(), Status, key_file=key_file)  # a dead address is told at once
    words = argparse.ArgumentParser()
    repl.add_arguments(words)
    key = [] if key_file is None else [f"--key={key_file}"]
    return repl.run(words.parse_args([f"--connect={address}", *key]))
