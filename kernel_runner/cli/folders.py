"""The folder in which a command is to work; an error where there is none any more."""

from pathlib import Path

from kernel_runner.errors import UsageError


def current_folder() -> Path:
    """The current folder.

    Raises:
        UsageError: somebody has removed it.
    """
    try:
        return Path.cwd()
    except OSError as error:
        text = f"the current folder is not there any more ({error.strerror})"
        raise UsageError(f"{text}; change to another one") from error
