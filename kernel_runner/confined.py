"""What the jail of a program is to be comes in; the child of a fork is put into it by `enter`."""

from __future__ import annotations

import os

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from typing import TypedDict

    class Place(TypedDict):
        """Where a program is put."""

        policy: str  # the file
        variables: dict[str, list[str]]  # the values of `{work_dir}` and the others
        guarded: list[int]  # pids that must get no signals of it


class Confined:
    """A jail made ready for one program of this process.

    Args:
        records_fd: gets what is refused, as JSON lines.
        warden_fd: leads to the warden.

    Raises:
        JailError: it cannot be.
    """

    def __init__(self, place: Place, records_fd: int, warden_fd: int) -> None:
        from kernel_runner.jail import launch, plan, warden  # late: most runners have no jail

        plan_of_program = plan.load_once(place["policy"])
        # on newer kernels the domain of Landlock guards everybody else, too
        guarded = (*place["guarded"], os.getppid(), os.getpid())
        self._jail = launch.Jail(
            plan_of_program,
            place["variables"],
            guarded=guarded,
            listens=launch.has_notifications(),
        )
        self._message = warden.message_for(place["policy"], self._jail, os.getpid())
        self._announce = warden.announce
        ruleset_fd = self._jail.ruleset_fd
        of_jail = () if ruleset_fd is None else (ruleset_fd,)
        self.descriptors = (records_fd, warden_fd, *of_jail)

    def enter(self, records_fd: int, warden_fd: int, ruleset_fd: int | None = None) -> None:
        """For the child: from here on it is in the jail; the descriptors may have moved."""
        listener = self._jail.enter(ruleset_fd)
        if listener is not None:
            self._announce(warden_fd, listener, records_fd, self._message)

    def close(self) -> None:
        self._jail.close()
