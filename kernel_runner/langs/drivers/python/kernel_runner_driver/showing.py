"""Representations of an object in, from a batch program to its runner; whether it took them out."""

from __future__ import annotations

import os
import sys

from kernel_runner_driver.representations import body_of

TYPE_CHECKING = False  # typing takes longer to import than this
if TYPE_CHECKING:
    from socket import socket

VARIABLE = "KERNEL_RUNNER_MEDIA"


def is_possible() -> bool:
    return os.path.exists(os.environ.get(VARIABLE, ""))


def send(data: dict[str, object], metadata: dict[str, object], **transient: object) -> bool:
    """Returns when the client can have the object, after what was printed before.

    False: the runner does not take it any more, or has refused it, which is a warning.
    """
    import socket

    body = body_of(data, metadata, **transient)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(None)
        try:
            connection.connect(os.environ.get(VARIABLE, ""))
        except OSError:
            return False
        answer = _exchange(connection, body)
    if answer and answer != b"ok\n":
        import warnings

        warnings.warn("not shown: " + answer.decode("utf-8", "replace").strip(), stacklevel=2)
    return answer == b"ok\n"


def _exchange(connection: socket, body: bytes) -> bytes:
    """The answer; empty when the runner has gone."""
    import socket

    try:
        connection.sendall(body)
        connection.shutdown(socket.SHUT_WR)
    except OSError:  # refused before its end: the answer says why
        pass
    answer = b""
    try:
        while not answer.endswith(b"\n"):
            piece = connection.recv(4_096)
            if not piece:
                return b""
            answer += piece
    except OSError:
        return b""
    return answer
