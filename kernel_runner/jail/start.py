"""A plan, a command and how it is to be run come in; the folder it gets for itself is made here."""

from __future__ import annotations

import os

from kernel_runner.jail.errors import JailError

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel_runner.jail.plan import Plan
    from kernel_runner.jail.supervisor import Learner


class Start:
    """What is to be run and how.

    Args:
        max_abi: use no newer Landlock than this.
        is_static: nobody answers: what needs a decision is refused, and nothing is told.  A jail
            inside may have a listener then.
        sentences: tell violations on standard error.
        records_fd: gets them as JSON lines.
        learner: learn what the program uses instead of containing it.
        at_end: called by the supervisor when nothing of the program is left.
    """

    def __init__(
        self,
        plan: Plan,
        command: Sequence[str],
        *,
        work_dir: str | None = None,
        max_abi: int | None = None,
        is_static: bool = False,
        sentences: bool = True,
        records_fd: int | None = None,
        learner: Learner | None = None,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        self.plan = plan
        self.command = command
        self.work_dir = os.path.realpath(work_dir or ".")
        self.max_abi = max_abi
        self.is_static = is_static
        self.sentences = sentences
        self.records_fd = records_fd
        self.learner = learner
        self.at_end = at_end


def make_folder() -> str:
    folder = f"{os.environ.get('TMPDIR', '/tmp')}/kernel-jail-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        os.mkdir(folder, 0o700)
    except OSError as error:
        raise JailError(f"{folder}: {error.strerror}") from error
    return os.path.realpath(folder)


def remove_folder(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        import shutil  # late: most programs leave nothing there

        for path, names, _ in os.walk(folder):
            for name in names:
                if not os.path.islink(f"{path}/{name}"):
                    os.chmod(f"{path}/{name}", 0o700)  # the program may have locked us out
        shutil.rmtree(folder, ignore_errors=True)
