"""Why a jail did not start; each text is one sentence, `exit_code` is what the command ends with.

JailError
├── UsageError      a command line that says nothing that can be done
├── PolicyError     a policy that cannot be used
├── KernelLacks     the kernel cannot enforce a rule
├── NoSuchProgram   127
└── NotExecutable   126
"""

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar


class JailError(Exception):
    """The jail could not be set up; nothing was started."""

    exit_code: "ClassVar[int]" = 125


class UsageError(JailError):
    """A command line that says nothing that can be done."""


class PolicyError(JailError):
    """A policy says what cannot be used."""

    def __init__(self, file: str, line: int | None, key: str, reason: str) -> None:
        place = file if line is None else f"{file}:{line}"
        super().__init__(": ".join(filter(None, (place, key, reason))))
        self.key = key
        self.line = line


class KernelLacks(JailError):
    """The policy asks for what this kernel does not have."""

    def __init__(self, policy: str, missing: "Sequence[str]") -> None:
        super().__init__(
            f"{policy}: this kernel cannot enforce {'; '.join(missing)}"
            " (best_effort: true does without)"
        )
        self.missing = tuple(missing)


class NoSuchProgram(JailError):
    exit_code = 127

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: no such program")


class NotExecutable(JailError):
    exit_code = 126

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
