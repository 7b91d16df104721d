"""A line of the runner's log comes in; what a person is shown of it goes out.

What a jail has refused is told with a JSON object behind the sentence, which is for programs.
"""

from typing import Final

from kernel_runner.messages.events import Log

JAIL: Final = "kernel_runner.jail"
FIELDS: Final = ' {"rule": '
OF_FILES: Final = '"files.'


def for_people(log: Log) -> str:
    """The sentence."""
    return log.text.partition(FIELDS)[0] if log.logger == JAIL else log.text


def is_of_files(log: Log) -> bool:
    """Whether it is about a file that a jail has refused."""
    return log.logger == JAIL and log.text.partition(FIELDS)[2].startswith(OF_FILES)
