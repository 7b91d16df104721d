"""A socket and its configured address in, the address that was bound out."""

import os
import socket as unix_sockets
from pathlib import Path

import zmq

from kernel_runner.errors import ConfigError
from kernel_runner.zsocket import ZSocket


def bind(socket: ZSocket, address: str) -> str:
    """The address that was bound; raises `ConfigError` when it cannot be."""
    if _is_answered(address):
        raise ConfigError([f"cannot bind {address}: another process listens there"])
    if _is_taken(address):
        raise ConfigError([f"cannot bind {address}: the file that is there is no socket"])
    try:
        return socket.bind(address)
    except zmq.ZMQError as error:
        raise ConfigError([f"cannot bind {address}: {os.strerror(error.errno or 0)}"]) from error


def _is_answered(address: str) -> bool:
    """Whether somebody listens at an ipc address: ZeroMQ would take it from him without a word."""
    if not address.startswith("ipc://"):
        return False
    with unix_sockets.socket(unix_sockets.AF_UNIX, unix_sockets.SOCK_STREAM) as probe:
        try:
            probe.connect(address.removeprefix("ipc://"))
        except OSError:
            return False
    return True


def _is_taken(address: str) -> bool:
    """Whether an ipc address names what is no socket: ZeroMQ would remove it without a word."""
    path = Path(address.removeprefix("ipc://"))
    return address.startswith("ipc://") and path.exists() and not path.is_socket()
