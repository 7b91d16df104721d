"""A runner in whose sessions an event is forgotten once it is sent: what stands beside the journal.

Takes the words of ``python -m kernel_runner``.
"""

import sys
from typing import Final

from kernel_runner import lane
from kernel_runner.__main__ import main

OF_A_JOURNAL: Final = (
    "full",
    "pending",
    "_has_room",
    "_keep",
    "_merge",
    "_next",
    "_sent",
)

if __name__ == "__main__":
    for name in OF_A_JOURNAL:
        setattr(lane.KeptSession, name, getattr(lane.Session, name))
    sys.exit(main())
