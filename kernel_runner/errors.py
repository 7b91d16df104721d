"""What can go wrong with us, as a tree; what a program did is data, not one of these.

KernelRunnerError
├── ConfigError            wrong options, all of them together
├── UsageError             a command line that asks for what cannot be done
├── UnknownLanguage
├── BrokenLanguage         its file does not load, or has no `Runner`
├── ProtocolError          what arrived is not one of our messages
│   ├── MalformedFrames
│   ├── BodyTooLarge
│   ├── UnknownCommand
│   └── MalformedBody
├── TaskError              a request could not be carried out; ends it with a reason
│   ├── NothingToRun
│   ├── Unsupported
│   ├── BadOptions
│   ├── LaunchError
│   └── InterpreterDied
├── RunnerBroken           too much has gone wrong to go on
├── HookFailed             the language failed to answer what is served at once
├── Refusal                a request will not be carried out
│   ├── WorkspaceError     a file name that leads out of the work directory, or no such file
│   ├── SessionError       a session or an event that there is not
│   └── NotNow             what is asked for at once does not fit what runs
│       ├── NoPrompt
│       ├── InputFull
│       ├── NoProgram
│       ├── NoTerminal
│       └── NoSignal
└── ClientError            the client's side: see `kernel_runner.client.errors`
    └── BadKey             a key file cannot be used; for a runner it becomes a ConfigError
"""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

Reason = Literal[
    "completed",
    "error",
    "interrupted",
    "cancelled",
    "timeout",
    "cpu-limit",
    "memory-limit",
    "output-limit",
    "process-limit",
    "jail-violation",
    "crashed",
    "skipped",
    "not-found",
    "unsupported",
    "bad-request",
    "queue-full",
]
"""How a task ended, see docs/protocol.md, section 3."""

NEVER_RAN: Final = 127
"""The exit code of a task that nothing was run for, as a shell's for a command it cannot find."""


SEE_THE_LOG: Final = "the log of the runner tells more"
"""The hint where the fault is not the client's."""


class KernelRunnerError(Exception):
    """Base class of every error of ours; its text is a sentence for the reader."""


class ConfigError(KernelRunnerError):
    """Options that cannot be used; `problems` holds one sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class UsageError(KernelRunnerError):
    """What the command line asks for cannot be done; nothing was started."""


class UnknownLanguage(KernelRunnerError):
    """There is no such language."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        import difflib  # late: only this error needs it

        what = f"no language {name!r};" if name else "which language?"
        if near := difflib.get_close_matches(name, known, 1):
            what = f"no language {name!r} (did you mean {near[0]}?);"
        super().__init__(f"{what} known: {', '.join(known)}")


class BrokenLanguage(KernelRunnerError):
    """The file of a language cannot be used."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"language {name!r} cannot be loaded: {reason}")


class ProtocolError(KernelRunnerError):
    """What arrived is not one of our messages."""

    code = "bad-request"
    hint = "see docs/protocol.md"


class MalformedFrames(ProtocolError):
    """A message of the wrong number of frames, or with a first frame that cannot be read."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"not a message: {reason}")


class BodyTooLarge(ProtocolError):
    """A message with a body of more bytes than are configured."""

    def __init__(self, size_bytes: int, max_bytes: int) -> None:
        super().__init__(f"a body of {size_bytes} bytes; {max_bytes} are allowed")


class UnknownCommand(ProtocolError):
    """The op of the message is none of ours."""

    code = "unknown-op"

    def __init__(self, op: str) -> None:
        super().__init__(f"unknown op {op[:80]!r}")


class MalformedBody(ProtocolError):
    """The op is known, its body or a field of its header is not what it has to be."""

    def __init__(self, op: str, reason: str) -> None:
        super().__init__(f"{op}: {reason}")


class TaskError(KernelRunnerError):
    """A request could not be carried out; it ends with `reason` and `exit_code`."""

    reason: ClassVar[Reason] = "crashed"
    exit_code: int = NEVER_RAN


class NothingToRun(TaskError):
    """The heuristic found nothing to build or run."""

    reason = "not-found"


class Unsupported(TaskError):
    """This language has no such mode."""

    reason = "unsupported"


class BadOptions(TaskError):
    """The options of a request do not fit what it asks for."""

    reason = "bad-request"


class LaunchError(TaskError):
    """A program could not be started: 127 when it is not there, else 126, as a shell counts."""

    reason = "not-found"

    def __init__(self, what: str, strerror: str, exit_code: int) -> None:
        super().__init__(f"cannot start {what}: {strerror}")
        self.exit_code = exit_code


class InterpreterDied(TaskError):
    """The interpreter of query mode ended in the middle of a task; its state is lost."""

    def __init__(self, name: str, how: str, exit_code: int) -> None:
        super().__init__(
            f"the {name} interpreter {how}; its state is lost, the next task gets a new one"
        )
        self.exit_code = exit_code


class RunnerBroken(KernelRunnerError):
    """The runner ends, since going on would be worse; the log has what went wrong."""


class HookFailed(KernelRunnerError):
    """A hook that is called at once raised something; the log has it."""


class Refusal(KernelRunnerError):
    """A request will not be carried out; `code` is for the client's program, `hint` for people."""

    code: str
    hint: str = ""


class WorkspaceError(Refusal):
    """A file of the work directory could not be read, written or listed."""

    def __init__(
        self, code: str, path: str, reason: str, hint: str = "paths start at the work directory"
    ) -> None:
        super().__init__(f"{path}: {reason}")
        self.code = code
        self.hint = hint


class SessionError(Refusal):
    """What a client says of its session cannot be so."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class NotNow(Refusal):
    """What a client asks for at once does not fit what runs."""


class NoPrompt(NotNow):
    """Input came while no program was waiting for it; it was not kept."""

    code = "no-prompt"
    hint = "send it after waiting-input, or run with stdin set to stream"


class InputFull(NotNow):
    """More input is waiting for the program than the runner keeps."""

    code = "input-full"
    hint = "send on after an ok"


class NoProgram(NotNow):
    """What is meant for a program came while none of the task's was running."""

    code = "not-running"
    hint = "it is for a program that runs: queue tells which request does"


class Ambiguous(NotNow):
    """Several sessions have a request of that id, and none of them is the client's."""

    code = "ambiguous"
    hint = "whoever takes one of these sessions over can name its request"


class NoTerminal(NotNow):
    """The program has no terminal that could have a size."""

    code = "no-terminal"
    hint = "a request with tty has one"


class NoSignal(NotNow):
    """There is no signal of this name."""

    code = "bad-request"
    hint = "write TERM, USR1, CONT or the like"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is no signal")


class ClientError(KernelRunnerError):
    """Base class of what the client raises."""


class BadKey(ClientError):
    """A key file cannot be used: not there, open to others, or no key where there has to be one."""
