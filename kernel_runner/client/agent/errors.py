"""What the agent's side raises, besides `BadAddress` and `RequestRefused`.

ClientError
├── RunnerNotReady    nobody answered in time, or another agent is connected
├── RunnerLost        the connection ended; what was asked or run over it has no end
├── NoAnswer          a question was not answered in time
├── Unreadable        the answer, or the end of a run, arrived and could not be read
├── UnknownRun        no such run: never fed, told to its end, or not claimed for too long
├── RunIsOpen         the id of a run that has not been told to its end
├── RunNotActive      input or an interrupt for a run that is not running
├── RunAbandoned      nobody asked for the run's output while others waited for their turn
└── RunnerClosed      the block of the connection has ended
"""

from kernel_runner.errors import ClientError


class RunnerNotReady(ClientError):
    """Nobody answered in time."""

    def __init__(self, address: str, seconds: float) -> None:
        super().__init__(
            f"no answer from {address} within {seconds:g} s; no runner is there, or another agent "
            "is connected to it"
        )


class RunnerLost(ClientError):
    """The connection ended, because the runner did or the network."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"the connection to {address} ended; a new one is made as soon as a runner is there"
        )


class NoAnswer(ClientError):
    """A question was not answered in time; its answer, should it come, is thrown away."""

    def __init__(self, op: str, seconds: float) -> None:
        super().__init__(f"no answer to {op} within {seconds:g} s")


class Unreadable(ClientError):
    """What arrived could not be read."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the runner sent what cannot be read: {what}")


class UnknownRun(ClientError):
    """There is no run of this id."""

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"no run {run_id!r}: it was never fed, has been told to its end, or was forgotten"
        )


class RunIsOpen(ClientError):
    """A run of this id has not been told to its end."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id!r} is still open; ask for its results or choose another id")


class RunNotActive(ClientError):
    """The run waits in line or has ended: there is no program to speak to."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id!r} is not running")


class RunAbandoned(ClientError):
    """The run was interrupted, because nobody asked for its output while others waited."""

    def __init__(self, run_id: str, dropped_bytes: int) -> None:
        super().__init__(
            f"run {run_id!r} was given up: nobody asked for its results while other runs waited; "
            f"{dropped_bytes} bytes of its output were thrown away"
        )
        self.dropped_bytes = dropped_bytes


class RunnerClosed(ClientError):
    """The connection was closed on this side."""

    def __init__(self) -> None:
        super().__init__("the connection to the runner was closed; make a new one with connect()")
