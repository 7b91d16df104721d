"""`status`: a runner's address comes in; what it is doing goes out."""

import argparse
from datetime import datetime
from typing import Final

from kernel_runner.cli import output, remote
from kernel_runner.cli.key_option import key_file_of
from kernel_runner.limit_words import size
from kernel_runner.messages.commands import GetStatus
from kernel_runner.messages.events import Counts, Status

EXAMPLES: Final = """\
examples:
  kernel-runner status ipc://kernel.session
  kernel-runner status --address-file kernel.json
  KERNEL_RUNNER_ADDRESS=ipc://kernel.session kernel-runner status --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    remote.add_address(parser)
    output.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Show it; the exit code."""
    address, key_file = remote.address_of(options), key_file_of(options)
    status = remote.ask(address, GetStatus(), Status, key_file=key_file)
    if options.json:
        output.show_json(status)
    else:
        output.show_facts(_facts(status))
    return 0


def _facts(status: Status) -> dict[str, str]:
    started = datetime.fromtimestamp(status.started_at).astimezone()
    return {
        "state": status.state,
        "language": status.language,
        "running": status.running or "nothing",
        "waiting": str(status.queue_length),
        "started": started.isoformat(sep=" ", timespec="seconds"),
        "version": status.runner_version,
        "pid": str(status.pid),
        **_counted(status.counts),
    }


def _counted(counts: Counts) -> dict[str, str]:
    """What has happened since the start; what never has is left out."""
    ended = [
        f"{number} {op} {reason}"
        for op, reasons in counts.tasks.items()
        for reason, number in reasons.items()
    ]
    dropped = f", {size(counts.dropped_bytes)} dropped" if counts.dropped_bytes else ""
    numbers = {
        "replayed": counts.replayed_events,
        "restarts": counts.interpreter_restarts,
        "sessions": counts.sessions,
    }
    return {
        "ended": ", ".join(ended),
        "took": f"{counts.run_s:.3f} s, {counts.wait_s:.3f} s in the queue" if ended else "",
        "output": f"{size(counts.sent_bytes)}{dropped}" if counts.sent_bytes else "",
        **{name: str(number) for name, number in numbers.items() if number},
    }
