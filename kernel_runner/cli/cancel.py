"""`cancel`: a runner's address and a request's id come in; the request does not run (on)."""

import argparse
from typing import Final

from kernel_runner.cli import detached, output, remote
from kernel_runner.cli.key_option import key_file_of
from kernel_runner.errors import UsageError
from kernel_runner.messages.commands import Cancel
from kernel_runner.messages.events import Ok

EXAMPLES: Final = """\
examples:
  kernel-runner cancel ipc://kernel.session r1
  kernel-runner cancel --address-file kernel.json r2

The ID is that of a request, as `queue` shows it, such as 822ad0-4.  The ADDRESS goes before it, and
may be left out as with `status`.  `cancel NAME` ends detached work.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.usage = "kernel-runner cancel [OPTIONS] [ADDRESS] ID"
    remote.add_address(parser)
    parser.add_argument("id", metavar="ID", help="of the request, as `queue` shows it")
    output.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Cancel it; the exit code.

    Raises:
        UsageError: there is an address, but no id.
        RequestRefused: it neither waits nor runs.
    """
    remote.check_text([options.id])
    if options.address is None and detached.find(options.id) is not None:
        options.address = options.id  # its program is called like it
    if options.address is None and "://" in options.id:
        raise UsageError(f"which request? its ID goes behind the address {options.id}")
    address, key_file = remote.address_of(options), key_file_of(options)
    remote.ask(address, Cancel(options.id), Ok, key_file=key_file)
    if options.json:
        output.show_json({"cancelled": options.id})
    else:
        print(f"cancelled {output.printable(options.id)}")
    return 0
