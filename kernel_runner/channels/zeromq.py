"""The configured addresses in, their channels out, on one ZeroMQ context."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import zmq

from kernel_runner.channels import Channel
from kernel_runner.channels.admission import Admission
from kernel_runner.channels.agent import AgentChannel
from kernel_runner.channels.session import SessionChannel
from kernel_runner.config import Config
from kernel_runner.zsocket import end_context


@contextmanager
def zeromq_channels(config: Config) -> Iterator[Sequence[Channel]]:
    """The channels, not open yet; whoever opens them closes them before the block ends."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    admission = Admission(context)
    channels: list[Channel] = []
    if config.commands_at is not None and config.events_at is not None:
        agent_at = (config.commands_at, config.events_at)
        channels.append(AgentChannel(context, admission, agent_at, config.max_body_bytes))
    if config.session_at is not None:
        keys, max_body_bytes = config.session_keys, config.max_body_bytes
        channels.append(SessionChannel(context, admission, config.session_at, keys, max_body_bytes))
    try:
        yield channels
    finally:
        admission.close()
        end_context(context)
