"""`queue`: a runner's address comes in; what runs and what waits there goes out, in order."""

import argparse
from typing import Final

from kernel_runner.cli import output, remote
from kernel_runner.cli.key_option import key_file_of
from kernel_runner.messages.commands import ListQueue
from kernel_runner.messages.events import QueueListing

EXAMPLES: Final = """\
examples:
  kernel-runner queue ipc://kernel.session
  kernel-runner queue --address-file kernel.json --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    remote.add_address(parser)
    output.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Show it; the exit code."""
    address, key_file = remote.address_of(options), key_file_of(options)
    listing = remote.ask(address, ListQueue(), QueueListing, key_file=key_file)
    if options.json:
        output.show_json(listing)
        return 0
    running = [("running", listing.running)] if listing.running else []
    waiting = [(str(place), entry) for place, entry in enumerate(listing.waiting, 1)]
    rows = [(place, e.id, e.op, e.session) for place, e in [*running, *waiting]]
    if rows:
        output.show_table(("place", "id", "op", "session"), rows)
    else:
        print("nothing runs, nothing waits")
    return 0
