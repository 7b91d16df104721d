"""What the client raises.

```text
ClientError
├── RunnerNotStarted    the runner's process ended before it could be reached
├── BadAddress          no address that could be connected to
├── BadKey              a key file that cannot be used
├── KeyRefused          the runner does not know our key, or one side has keys and the other none
├── RunnerUnreachable   nobody answers at the address
├── IncompatibleRunner  what answers there speaks another version, or another protocol
├── RunnerDied          the runner's process ended while it was used
├── RunnerReplaced      another runner answers now: what the former was asked is not known there
├── ConnectionCut       the connection ended before a request was answered that is not asked twice
├── SessionTaken        another client has taken the session over
├── KernelClosed        the block of the kernel has ended
├── RequestRefused      the runner would not carry out a request: `code`, `message` and `hint`
├── RequestWithdrawn    a run was cancelled before its files had arrived
├── LocalFileError      a file on this side could not be read or written
├── TransferBroken      a file was changed while it was transferred
└── ProgramFailed       `Result.check` of a program that did not end well
```
"""

from kernel_runner.errors import BadKey, ClientError, Reason

STDERR_LINES = 10
"""How much of its standard error the text of a failed program has."""


class RunnerNotStarted(ClientError):
    """The runner's process ended before it could be reached; the text is what it said."""


class BadAddress(ClientError):
    """What was given is no address."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"{address!r} is no address; write tcp://HOST:PORT with a port up to 65535, or ipc://PATH"
        )


class KeyRefused(ClientError):
    """The runner lets nobody in with the key that we have, or have not."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"the runner at {address} lets nobody in like this: {reason}")


class RunnerUnreachable(ClientError):
    """Nobody answered in time."""

    def __init__(self, address: str, seconds: float, trouble: str) -> None:
        super().__init__(
            f"no answer from {address} within {seconds:g} s: {trouble}; start a runner with "
            "`kernel-runner serve LANGUAGE` and use the session address that it prints"
        )


class IncompatibleRunner(ClientError):
    """What answers at the address cannot be understood, or does not understand us."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(
            f"what answers at {address} does not speak the protocol of this client: {reason}; "
            "use the same version of kernel-runner on both sides"
        )


class RunnerDied(ClientError):
    """The process of a launched runner ended; no open request will be answered."""

    def __init__(self, exit_code: int, log: str) -> None:
        super().__init__(f"the runner ended with exit code {exit_code}" + (log and f": {log}"))
        self.exit_code = exit_code


class RunnerReplaced(ClientError):
    """Another runner answers at the address; new requests go to that one."""

    def __init__(self, address: str, request: str) -> None:
        super().__init__(
            f"another runner answers at {address} now; the one that was sent {request!r} is gone, "
            "with its state: send again what is still wanted"
        )


class ConnectionCut(ClientError):
    """It is not known whether the request was carried out, and doing it twice could do harm."""

    def __init__(self, address: str, request: str) -> None:
        super().__init__(
            f"the connection to {address} ended before {request!r} was answered; it may or may not "
            "have been carried out: look at `status`, then ask again"
        )


class SessionTaken(ClientError):
    """Another client has said hello for our session, so its events go there."""

    def __init__(self) -> None:
        super().__init__("another client has taken the session over; connect again for a new one")


class KernelClosed(ClientError):
    """A request was open, or made, when the block of the kernel had ended."""

    def __init__(self) -> None:
        super().__init__("the kernel is closed; use it inside the block of `connect` or `launch`")


class RequestRefused(ClientError):
    """The runner would not carry out a request."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.code = code
        self.message = message
        self.hint = hint


class RequestWithdrawn(ClientError):
    """Nothing was run."""

    def __init__(self) -> None:
        super().__init__("the run was cancelled while its files were sent; nothing was run")


class LocalFileError(ClientError):
    """A file or folder on the client's side."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


class TransferBroken(ClientError):
    """What has arrived is not the file as it was when the transfer began."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}; try again when nobody writes to it")


class ProgramFailed(ClientError):
    """A program, a build or a piece of code did not end well.

    Attributes:
        step: what failed: ``clean``, ``build``, ``exec`` or ``code``.
        exit_code: as a shell counts.
        reason: why it ended, see docs/protocol.md, section 3.
        stderr: the last lines of its standard error.
    """

    def __init__(
        self, step: str, exit_code: int, reason: Reason, message: str | None, stderr: str
    ) -> None:
        what = {"exec": "the program", "code": "the code"}.get(step, f"the step {step!r}")
        self.step = step
        self.exit_code = exit_code
        self.reason = reason
        self.stderr = "\n".join(stderr.splitlines()[-STDERR_LINES:])
        why = "" if reason == "completed" else f" ({reason})"
        how = f"{what} ended with exit code {exit_code}{why}"
        text = f"{how}: {message}" if message else how
        super().__init__(f"{text}\n{self.stderr}" if self.stderr else text)


__all__ = [
    "BadAddress",
    "BadKey",
    "ClientError",
    "ConnectionCut",
    "IncompatibleRunner",
    "KernelClosed",
    "KeyRefused",
    "LocalFileError",
    "ProgramFailed",
    "RequestRefused",
    "RequestWithdrawn",
    "RunnerDied",
    "RunnerNotStarted",
    "RunnerReplaced",
    "RunnerUnreachable",
    "SessionTaken",
    "TransferBroken",
]
