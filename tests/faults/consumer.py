"""An address, a session and a file come in; the session's events go to the file, until a kill.

It comes back after the last event that is complete in the file.  What it acknowledges is there.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgpack
import zmq

ACKNOWLEDGE_EVENTS: Final = 16
REQUEST: Final = "stream"


Record: TypeAlias = tuple[int, str, str, bytes]
"""The number of an event, its request, type and body."""


def read_records(path: Path) -> tuple[list[Record], int]:
    """All complete records, and where the last one ends."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(path.read_bytes())
    records: list[Record] = []
    end = 0
    for fields in unpacker:
        records.append(tuple(fields))
        end = unpacker.tell()
    return records, end


def main(address: str, session: str, path: Path, command: str) -> None:
    """Ask for the stream unless it was accepted, and write all that comes, up to its finish."""
    path.touch()
    records, end = read_records(path)
    os.truncate(path, end)  # a kill may have split the last one
    out = os.open(path, os.O_WRONLY | os.O_APPEND)
    after_seq = records[-1][0] if records else 0
    socket = zmq.Context().socket(zmq.DEALER)
    socket.connect(address)
    say(socket, "hello", "hello", session=session, after_seq=after_seq)
    if not any(record[1] == REQUEST for record in records):
        say(socket, "exec", REQUEST, command)
    else:  # the kill may have come between the event and its acknowledgement
        say(socket, "ack", "ack", seq=after_seq)
    for header, body in received(socket):
        assert header["type"] != "error", header
        if (seq := header.get("seq")) is None:
            continue
        os.write(out, msgpack.packb([seq, header["id"], header["type"], body]))
        if header["type"] == "finished":
            return
        if seq % ACKNOWLEDGE_EVENTS == 0:
            say(socket, "ack", f"ack{seq}", seq=seq)


def say(socket: "zmq.Socket[bytes]", op: str, identity: str, body: str = "", **fields: Any) -> None:
    header = msgpack.packb({"v": 2, "op": op, "id": identity, **fields})
    socket.send_multipart([header, body.encode()])


def received(socket: "zmq.Socket[bytes]") -> Iterator[tuple[dict[str, Any], bytes]]:
    while True:
        raw, body = socket.recv_multipart()
        yield msgpack.unpackb(raw), body


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
