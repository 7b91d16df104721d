"""Every event that the runner can send, one class each; fields are named as on the wire."""

import datetime
from typing import ClassVar, Final, Literal, TypeAlias, get_args

import msgspec

from kernel_runner.errors import Reason

StreamName = Literal["stdout", "stderr"]


class Usage(msgspec.Struct, frozen=True):
    """What a task took: its whole process tree."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    max_rss_bytes: int = 0
    output_bytes: int = 0
    dropped_bytes: int = 0


class Output(msgspec.Struct, frozen=True):
    """Bytes as the program wrote them; a character may be cut in two."""

    body_field: ClassVar[str | None] = "data"

    type: StreamName
    data: bytes


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of all others; `type` is the name on the wire."""

    type: ClassVar[str]
    body_field: ClassVar[str | None] = None


class Media(Event, frozen=True, omit_defaults=True):
    """One displayed object in all its representations: text or bytes for each MIME type.

    With `update` it takes the place of what was shown with this `display_id` before.  `is_result`:
    it is the value of a query's last expression, which was asked for `as_data`.
    """

    type = "media"
    data: dict[str, str | bytes]
    metadata: dict[str, object] = {}
    display_id: str | None = None
    update: bool = False
    is_result: bool = False


class ClearOutput(Event, frozen=True):
    """What the request has shown may be taken away; with `wait` only when more comes."""

    type = "clear-output"
    wait: bool = False


JAIL: Final = "kernel_runner.jail"
"""The logger of what jails refuse."""


class Log(Event, frozen=True):
    """The runner's own log; `time` is ISO 8601 with the zone."""

    type = "log"
    level: str
    time: str
    logger: str
    text: str

    @property
    def sentence(self) -> str:
        """For people: without the JSON object that stands behind what a jail has refused."""
        return self.text.partition(' {"rule": ')[0] if self.logger == JAIL else self.text


def local_time(seconds: float) -> str:
    """Seconds since 1970 as a `Log` has its time: ISO 8601, local, with the zone."""
    time = datetime.datetime.fromtimestamp(seconds).astimezone()
    return time.isoformat(timespec="milliseconds")


class Accepted(Event, frozen=True):
    """The request stands in the queue, `position` others before it."""

    type = "accepted"
    position: int


class Started(Event, frozen=True):
    """The request has left the queue."""

    type = "started"


class ErrorDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """The exception that ended a query, as data.

    `frames` are those of the user, the innermost last.  `cause` is what it was raised from,
    `context` what was being handled when it was raised; `exceptions` are those of a group.  Of a
    syntax error `syntax` has the place.  `hint` is a sentence about what may help,
    `text` what is printed of it where it is not wanted `as_data`.
    """

    name: str
    value: str
    frames: list[dict[str, object]] = []
    notes: list[str] = []
    cause: "ErrorDetails | None" = None
    context: "ErrorDetails | None" = None
    exceptions: list["ErrorDetails"] = []
    syntax: dict[str, object] | None = None
    hint: str | None = None
    text: str = ""


class Finished(msgspec.Struct, frozen=True, omit_defaults=True, rename={"exit_code": "exitCode"}):
    """A queued command ended; each gets exactly one.

    `exit_code` as a shell counts: 128+n for a death by signal n.  `message` says why in a
    sentence when it did not simply complete; `signals` are the rungs that were climbed.
    `limits_hit` names the limits that made calls fail, or output be dropped, as far as is known.
    `files` were made or changed in the work directory meanwhile; None is unknown, and `files_note`
    says why it is not the whole truth.
    """

    body_field: ClassVar[str | None] = None

    type: str
    exit_code: int
    reason: Reason
    usage: Usage = Usage()
    signal: int | None = None
    signals: tuple[str, ...] = ()
    limits_hit: tuple[str, ...] = ()
    message: str | None = None
    traceback: ErrorDetails | None = None
    files: tuple[str, ...] | None = None
    files_note: str | None = None


class WaitingInput(Event, frozen=True):
    """The program waits for input.  `certain` is false where an event loop might only listen."""

    type = "waiting-input"
    is_password: bool
    certain: bool = True


class Completion(Event, frozen=True):
    type = "completion"
    suggestions: list[str]


class Inspection(Event, frozen=True):
    type = "inspection"
    text: str


class Completeness(Event, frozen=True):
    type = "completeness"
    status: Literal["complete", "incomplete", "invalid", "unknown"]


class Counts(msgspec.Struct, frozen=True):
    """What a runner has done since its start; `tasks` that have ended by op and reason.

    `wait_s` and `run_s` are sums over the tasks that left the queue, `sent_bytes` is output that
    was handed to clients, `sessions` are those that are open now.
    """

    tasks: dict[str, dict[str, int]] = {}
    wait_s: float = 0.0
    run_s: float = 0.0
    sent_bytes: int = 0
    dropped_bytes: int = 0
    replayed_events: int = 0
    interpreter_restarts: int = 0
    sessions: int = 0


class Status(Event, frozen=True):
    """`state` is initializing, idle, busy or stopping; times are seconds since 1970.

    `echo` is what the question had with it.
    """

    type = "status"
    started_at: float
    state: str
    language: str
    runner_version: str
    queue_length: int
    running: str | None
    pid: int
    echo: str | None = None
    query_shell: str | None = None
    """What executes queries inside the interpreter, where there is a choice."""
    counts: Counts = Counts()


class QueueEntry(msgspec.Struct, frozen=True):
    id: str
    op: str
    session: str


class QueueListing(Event, frozen=True):
    type = "queue"
    running: QueueEntry | None
    waiting: list[QueueEntry]


class ServiceResult(Event, frozen=True):
    type = "service-result"
    status: Literal["started", "running", "failed"]
    error: str | None = None


class AppsResult(Event, frozen=True):
    type = "apps-result"
    status: Literal["done", "failed"]
    data: list[dict[str, object]]
    error: str | None = None


class ModelServiceResult(Event, frozen=True):
    type = "model-service-result"
    status: Literal["started", "running", "failed"]
    error: str | None = None


class Welcome(Event, frozen=True):
    type = "welcome"
    session: str
    language: str
    runner_version: str
    features: list[str]
    next_seq: int
    first_seq: int
    """The oldest event that is kept."""

    max_body_bytes: int
    """The largest body that the runner takes."""

    max_pending_bytes: int
    """What the runner keeps in memory until it is acknowledged."""


class Stopped(Event, frozen=True):
    """A signal has stopped the program, as Ctrl-Z does; ``signal`` with CONT lets it go on."""

    type = "stopped"
    signal: str


class Superseded(Event, frozen=True):
    """Another connection has taken the session over."""

    type = "superseded"


class File(Event, frozen=True):
    """The content of one file from `offset` on; `size` and `sha256` are those of the whole."""

    type = "file"
    body_field = "data"
    path: str
    data: bytes
    offset: int = 0
    size: int = 0
    sha256: str | None = None


class Part(Event, frozen=True):
    """So many bytes of an unfinished upload are there."""

    type = "part"
    path: str
    size: int


class FileEntry(msgspec.Struct, frozen=True):
    """`kind` is file, folder, link or other; `mode` permission bits; `mtime` seconds since 1970."""

    name: str
    kind: str
    size: int
    mode: int
    mtime: float


class Files(Event, frozen=True):
    type = "files"
    path: str
    entries: list[FileEntry]


class Ok(Event, frozen=True):
    type = "ok"


class Refused(Event, frozen=True):
    """An immediate command was not carried out; on the wire of sessions its type is ``error``."""

    type = "error"
    op: str
    code: str
    message: str
    hint: str = ""


TaskEvent: TypeAlias = (
    Output | Media | ClearOutput | Log | WaitingInput | Accepted | Started | Stopped | Finished
)
Answer: TypeAlias = (
    Completion
    | Inspection
    | Completeness
    | Status
    | QueueListing
    | ServiceResult
    | AppsResult
    | ModelServiceResult
    | Welcome
    | Superseded
    | File
    | Files
    | Part
    | Ok
    | Refused
)
AnyEvent: TypeAlias = TaskEvent | Answer

EVENTS: dict[str, type[AnyEvent]] = {
    "stdout": Output,
    "stderr": Output,
    "clean-finished": Finished,
    "build-finished": Finished,
    "finished": Finished,
    **{kind.type: kind for kind in get_args(AnyEvent) if issubclass(kind, Event)},
}
"""The class of each type of event."""


ENVELOPE_BYTES: Final = 256
"""What an event is counted with beside its data."""


def size_of(event: AnyEvent) -> int:
    """What an event is counted with, in bytes."""
    match event:
        case Output() | File():
            return len(event.data) + ENVELOPE_BYTES
        case Media():
            return sum(len(data) for data in event.data.values()) + ENVELOPE_BYTES
        case Finished(files=tuple() as files):
            return sum(map(len, files)) + ENVELOPE_BYTES
        case _:
            return ENVELOPE_BYTES
