"""A call that connects to a socket by its path comes in; the supervisor connects in its place.

The program gets a descriptor of the connection under the number of its own one.  So what counts is
the path that was looked at, whatever the program makes of its memory meanwhile.
"""

from __future__ import annotations

import _socket  # `socket` costs each start 5 ms
import errno
import fcntl
import os
import struct

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from typing import Final

ADD_DESCRIPTOR: Final = 0x40182103
UNDER_THIS_NUMBER: Final = 1


class Connector:
    """Connects for the programs behind one listener; none of them makes it wait."""

    def __init__(self, listener: int) -> None:
        self._listener = listener
        self._asked: dict[int, tuple[int, str]] = {}

    def ask(self, ident: int, descriptor: int, path: str) -> None:
        """The call `ident` wants this descriptor to be connected to this path."""
        self._asked[ident] = (descriptor, path)

    def is_asked(self, ident: int) -> bool:
        """Whether this call waits to be connected."""
        return ident in self._asked

    def carry_out(self, ident: int) -> int:
        """0 when it is connected, else the errno; at EAGAIN it is to be tried again."""
        descriptor, path = self._asked.pop(ident)
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        try:
            connection.connect(path)
            connection.setblocking(True)
            content = (ident, UNDER_THIS_NUMBER, connection.fileno(), descriptor, os.O_CLOEXEC)
            fcntl.ioctl(self._listener, ADD_DESCRIPTOR, struct.pack("=QIIII", *content))
        except OSError as error:
            if error.errno == errno.EAGAIN:  # as many wait as may
                self._asked[ident] = (descriptor, path)
            return error.errno or errno.EIO
        finally:
            connection.close()
        return 0
