"""The configured addresses in, their channels out, on one ZeroMQ context."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import zmq

from kernel_runner.channels import Channel
from kernel_runner.channels.agent import AgentChannel
from kernel_runner.channels.session import SessionChannel
from kernel_runner.config import Config
from kernel_runner.zsocket import end_context


@contextmanager
def zeromq_channels(config: Config) -> Iterator[Sequence[Channel]]:
    """The channels, not open yet; whoever opens them closes them before the block ends."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    channels: list[Channel] = []
    if config.commands_at is not None and config.events_at is not None:
        channels.append(
            AgentChannel(context, config.commands_at, config.events_at, config.max_body_bytes)
        )
    if config.session_at is not None:
        channels.append(SessionChannel(context, config.session_at, config.max_body_bytes))
    try:
        yield channels
    finally:
        end_context(context)
