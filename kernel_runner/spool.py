"""Events in order in, the same out by their numbers: in files without a name, on a real disk."""

import os
from array import array
from pathlib import Path
from typing import Final

from kernel_runner.messages.request import Envelope
from kernel_runner.messages.session_wire import decode_event, encode_event

HEADER_LENGTH_BYTES: Final = 4
MAX_SPOOL_BYTES: Final = 1 << 30
FREE_SHARE: Final = 4
"""Unless it is told otherwise a spool takes at most one of so many parts of the free space."""


class Spool:
    """The share of the disk that all journals of a runner have.

    Args:
        folder: where the files are; None: there is no share.
    """

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self.folder = folder
        self.left_bytes = max_bytes if folder is not None else 0

    @classmethod
    def of(cls, folder: Path | None, max_bytes: int | None) -> "Spool":
        """What the configuration says; else a part of what is free in a folder on a real disk."""
        if folder is None:
            temporary = (Path(os.environ.get("TMPDIR") or "/tmp"), Path("/var/tmp"))
            folder = next((one for one in temporary if _is_on_disk(one)), None)
        if max_bytes is None:
            max_bytes = min(MAX_SPOOL_BYTES, _free_bytes(folder) // FREE_SHARE) if folder else 0
        return cls(folder, max_bytes)

    def open(self) -> int:
        """A new file without a name; raises `OSError`."""
        assert self.folder is not None, "a spool without a folder has no bytes left"
        return os.open(self.folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _is_on_disk(folder: Path) -> bool:
    """Whether its files are not in memory: a spool there would take what it is to spare."""
    try:
        device = folder.stat().st_dev
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    # proc(5): "36 35 98:0 /root /mount/point options - type source ..."
    kinds = {
        line.split()[2]: line.partition(" - ")[2].split()[0] for line in mounts if " - " in line
    }
    return kinds.get(f"{os.major(device)}:{os.minor(device)}") not in ("tmpfs", "ramfs", None)


def _free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


class Segment:
    """One file of events in their order."""

    def __init__(self, spool: Spool, first_seq: int) -> None:
        self._spool = spool
        self._fd = spool.open()
        self._first_seq = first_seq
        self._ends = array("Q", [0])

    @property
    def size_bytes(self) -> int:
        return self._ends[-1]

    @property
    def next_seq(self) -> int:
        return self._first_seq + len(self._ends) - 1

    def append(self, envelope: Envelope) -> None:
        """Write one event at the end; raises `OSError`, and then nothing has changed."""
        frames = encode_event(
            envelope.event, request_id=envelope.id, seq=envelope.seq, t_ns=envelope.t_ns
        )
        length = len(frames[0]).to_bytes(HEADER_LENGTH_BYTES)
        written, left = self.size_bytes, [length, *frames]
        while left:
            count = os.pwritev(self._fd, left, written)
            written += count
            left = _after(left, count)
        self._spool.left_bytes -= written - self.size_bytes
        self._ends.append(written)

    def read(self, seq: int) -> Envelope:
        index = seq - self._first_seq
        start, end = self._ends[index], self._ends[index + 1]
        data = os.pread(self._fd, end - start, start)
        split = HEADER_LENGTH_BYTES + int.from_bytes(data[:HEADER_LENGTH_BYTES])
        return decode_event([data[HEADER_LENGTH_BYTES:split], data[split:]])

    def close(self) -> None:
        os.close(self._fd)
        self._spool.left_bytes += self.size_bytes


def _after(pieces: list[bytes], count: int) -> list[bytes]:
    """What is left of the pieces when so many bytes of them are written."""
    while pieces and count >= len(pieces[0]):
        count -= len(pieces.pop(0))
    return [pieces[0][count:], *pieces[1:]] if pieces else []
