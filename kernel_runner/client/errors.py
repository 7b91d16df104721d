"""What the client raises.

ClientError
├── RunnerNotStarted    the runner's process ended before it could be reached
├── BadAddress          no address that could be connected to
├── RunnerUnreachable   nobody answers at the address
├── RunnerDied          the runner's process ended while it was used
└── RequestRefused      the runner would not carry out a request: `code`, `message` and `hint`
"""

from kernel_runner.errors import ClientError


class RunnerNotStarted(ClientError):
    """The runner's process ended before it could be reached; the text is what it said."""


class BadAddress(ClientError):
    """What was given is no address."""

    def __init__(self, address: str) -> None:
        super().__init__(f"{address!r} is no address; write tcp://HOST:PORT or ipc://PATH")


class RunnerUnreachable(ClientError):
    """Nobody answered in time."""

    def __init__(self, address: str, seconds: float) -> None:
        super().__init__(f"no answer from {address} within {seconds:g} s")


class RunnerDied(ClientError):
    """The process of a launched runner ended; no open request will be answered."""

    def __init__(self, exit_code: int, log: str) -> None:
        super().__init__(f"the runner ended with exit code {exit_code}" + (log and f": {log}"))
        self.exit_code = exit_code


class RequestRefused(ClientError):
    """The runner would not carry out a request."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.code = code
        self.message = message
        self.hint = hint


__all__ = [
    "BadAddress",
    "ClientError",
    "RequestRefused",
    "RunnerDied",
    "RunnerNotStarted",
    "RunnerUnreachable",
]
