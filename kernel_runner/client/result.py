"""Events of a request in, its result out."""

from typing import Final

import msgspec

from kernel_runner.client.errors import ProgramFailed
from kernel_runner.errors import Reason
from kernel_runner.messages import events


class Result(msgspec.Struct, frozen=True):
    """How a request ended, with everything it printed.

    A byte that is not UTF-8 shows as U+FFFD.  The result of a run is that of its program, or of
    the build when that failed.

    Attributes:
        step: what this is the result of: ``clean``, ``build``, ``exec`` or ``code``.
        exit_code: as a shell counts: 128+n for a death by signal n.
        reason: why it ended, see docs/protocol.md, section 3.
        message: a sentence, when it did not simply complete.
        usage: seconds and bytes that it took.
        stdout: what it wrote to its standard output.
        stderr: what it wrote to its standard error.
        output: both, in the order of arrival.
        media: what it displayed.
        signals: the rungs that an interrupt, a cancel or a limit climbed, such as ``SIGTERM``.
        traceback: what the code of a query raised, as data, where its language tells it.
        limits_hit: the limits that made calls fail or output be dropped, as far as is known.
        files: what was made or changed in the work directory meanwhile, hidden files of the
            runner left out; None when it is not known.
        files_note: why `files` is not all, or not known.
        steps: of a run, the results of all its steps in their order.

    Example:
        ```python
        result = await kernel.query("print('out'); 1 / 0").result()
        print(result.stdout.strip())  # out
        print(result.ok, result.reason)  # False error
        ```
    """

    step: str
    exit_code: int
    reason: Reason
    message: str | None
    usage: events.Usage
    stdout: str
    stderr: str
    output: str
    media: tuple[events.Media, ...]
    signals: tuple[str, ...] = ()
    traceback: events.ErrorDetails | None = None
    limits_hit: tuple[str, ...] = ()
    files: tuple[str, ...] | None = None
    files_note: str | None = None
    steps: tuple["Result", ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0

    @property
    def build(self) -> "Result | None":
        """The result of the build of a run, if it had one."""
        steps = self.steps or (self,)
        return next((result for result in steps if result.step == "build"), None)

    def check(self) -> "Result":
        """This result, if all went well.

        Raises:
            ProgramFailed: the exit code is not 0; it says which step, why, and the last lines of
                the standard error.

        Example:
            ```python
            try:
                (await kernel.query("1 / 0").result()).check()
            except ProgramFailed as error:
                print(error.stderr.splitlines()[-1])  # ZeroDivisionError: division by zero
            ```
        """
        if not self.ok:
            raise ProgramFailed(
                self.step, self.exit_code, self.reason, self.message, self.stderr or self.stdout
            )
        return self

    def __repr__(self) -> str:
        printed = f"{len(self.output):,} characters of output"
        why = f"{self.reason}: {self.message}" if self.message else self.reason
        return f"<Result of {self.step}: {why}, exit code {self.exit_code}, {printed}>"


STEPS: Final = {"clean-finished": "clean", "build-finished": "build"}


class Prompt(msgspec.Struct, frozen=True):
    """A program waits for input; `text` is what it printed in that line."""

    text: str
    is_password: bool


class Collected:
    """What a reply keeps of its events for the result."""

    def __init__(self, last_step: str) -> None:
        self._last_step = last_step
        self.outputs: list[events.Output] = []
        self.media: list[events.Media] = []
        self._steps: list[Result] = []
        self._before_prompt = 0

    def show(self, shown: events.Media) -> None:
        """Keep what is shown; an update takes the place of what had its name before."""
        if shown.update:
            for at, one in enumerate(self.media):
                if one.display_id == shown.display_id:
                    self.media[at] = shown
                    return
        self.media.append(shown)

    def end_step(self, finish: events.Finished) -> None:
        """What was added belongs to the step that ended."""
        step = STEPS.get(finish.type, self._last_step)
        self._steps.append(_result(step, finish, self.outputs, self.media))
        self.outputs, self.media, self._before_prompt = [], [], 0

    def prompt(self, *, is_password: bool) -> Prompt:
        """The line that the program has begun and not ended, since the prompt before."""
        line = b""
        for output in reversed(self.outputs[self._before_prompt :]):
            line = output.data + line
            if b"\n" in output.data:
                break
        self._before_prompt = len(self.outputs)
        return Prompt(line.rpartition(b"\n")[2].decode(errors="replace"), is_password)

    def result(self, request_id: str) -> Result:
        """That of the last step, or of the build that kept it from running.

        Raises:
            ValueError: the request was none of those that have a result.
        """
        if not self._steps:
            raise ValueError(f"request {request_id!r} has no result; await its `answer`")
        *before, last = self._steps
        if not before:
            return last
        deciding = last
        if last.reason == "skipped":
            deciding = next((step for step in before if step.step == "build"), last)
        return msgspec.structs.replace(deciding, steps=tuple(self._steps))


def _result(
    step: str, finish: events.Finished, outputs: list[events.Output], media: list[events.Media]
) -> Result:
    def text(*streams: str) -> str:
        return b"".join(o.data for o in outputs if o.type in streams).decode(errors="replace")

    stdout, stderr = text("stdout"), text("stderr")
    return Result(
        step=step,
        exit_code=finish.exit_code,
        reason=finish.reason,
        message=finish.message,
        usage=finish.usage,
        stdout=stdout,
        stderr=stderr,
        output=text("stdout", "stderr") if stdout and stderr else stdout or stderr,
        media=tuple(media),
        signals=finish.signals,
        traceback=finish.traceback,
        limits_hit=finish.limits_hit,
        files=finish.files,
        files_note=finish.files_note,
    )
