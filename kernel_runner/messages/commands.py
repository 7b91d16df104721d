"""Every command that a client can send, one class each; `COMMANDS` finds the class of an op."""

from typing import Annotated, ClassVar, TypeAlias, get_args

import msgspec

from kernel_runner.messages.options import DEFAULT_OPTIONS, Characters, TaskOptions

Position: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Sha256: TypeAlias = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Batch(msgspec.Struct, frozen=True):
    """``""`` skips, ``"*"`` lets the language decide, anything else is a shell command."""

    op: ClassVar[str]
    answer: ClassVar[str]
    body_field: ClassVar[str | None] = "script"

    script: str
    options: TaskOptions = DEFAULT_OPTIONS


class Clean(Batch, frozen=True):
    """Bring the work directory back to its sources."""

    op = "clean"
    answer = "clean-finished"


class Build(Batch, frozen=True):
    """Compile the program in the work directory."""

    op = "build"
    answer = "build-finished"


class Execute(Batch, frozen=True):
    """Run the program in the work directory."""

    op = "exec"
    answer = "finished"


class Query(msgspec.Struct, frozen=True):
    """Run a piece of source text; what it defines is kept for the next one."""

    op: ClassVar[str] = "code"
    answer: ClassVar[str] = "finished"
    body_field: ClassVar[str | None] = "code"

    code: str
    options: TaskOptions = DEFAULT_OPTIONS


class Immediate(msgspec.Struct, frozen=True):
    """A command that never waits in line.  `body_field` is the field that travels in the body."""

    op: ClassVar[str]
    body_field: ClassVar[str | None] = None


class Input(Immediate, frozen=True):
    """Text for the program that waits for it."""

    op = "input"
    body_field = "data"
    data: bytes


class EndOfInput(Immediate, frozen=True):
    """End the input of the running program."""

    op = "eof"


class Complete(Immediate, frozen=True):
    """Suggest how the code could go on at the cursor, counted in characters from its start."""

    op = "complete"
    body_field = "code"
    code: str
    cursor: Position


class Inspect(Immediate, frozen=True):
    """Tell what stands at the cursor: its signature and help."""

    op = "inspect"
    body_field = "code"
    code: str
    cursor: Position


class IsComplete(Immediate, frozen=True):
    """Tell whether the code could run as it is, or wants more lines."""

    op = "is-complete"
    body_field = "code"
    code: str


class Interrupt(Immediate, frozen=True):
    """Stop what runs now, or only `target`; `force` does not stop at what keeps the state.

    `typed`: Ctrl-C was typed, so it does nothing to a program that reads its terminal raw.
    """

    op = "interrupt"
    target: str | None = None
    force: bool = False
    typed: bool = False


class SendSignal(Immediate, frozen=True):
    """Send a signal, such as ``TERM``, to the process group of the program that runs."""

    op = "signal"
    name: str
    target: str | None = None


class Resize(Immediate, frozen=True):
    """The terminal of the program that runs has so many characters now."""

    op = "resize"
    rows: Characters
    cols: Characters
    target: str | None = None


class Cancel(Immediate, frozen=True):
    """Take `target` out of the queue, or end it when it runs already."""

    op = "cancel"
    target: str


class GetStatus(Immediate, frozen=True):
    """Tell what the runner is doing; `echo` comes back, so that an answer without id is known."""

    op = "status"
    echo: str | None = None


class ListQueue(Immediate, frozen=True):
    """Tell what runs and what waits."""

    op = "queue"


class HostEvent(Immediate, frozen=True):
    """Something that the host saw happen to this runner."""

    op = "event"
    type: str
    data: object = None


class ServiceOptions(msgspec.Struct, frozen=True):
    """What the client adds to the command line and environment of a service."""

    arguments: dict[str, object] | None = None
    envs: dict[str, str] | None = None


class StartService(Immediate, frozen=True):
    """Start a program beside the user's code."""

    op = "start-service"
    name: str
    port: int | None = None
    ports: tuple[int, ...] = ()
    protocol: str = "tcp"
    options: ServiceOptions = ServiceOptions()


class ShutdownService(Immediate, frozen=True):
    """Stop a service."""

    op = "shutdown-service"
    name: str


class ListServices(Immediate, frozen=True):
    """Tell which services there are, or about the one of this name."""

    op = "get-apps"
    body_field = "name"
    name: str = ""


class StartModelService(Immediate, frozen=True):
    """Start a model server and watch its health."""

    op = "start-model-service"
    name: str
    model_path: str
    service: dict[str, object]


class Hello(Immediate, frozen=True):
    """Open a session, or take one over from where `after_seq` tells."""

    op = "hello"
    session: str | None = None
    after_seq: int | None = None


class Acknowledge(Immediate, frozen=True):
    """The client has all events up to `seq`; the runner may forget them."""

    op = "ack"
    seq: int


class Upload(Immediate, frozen=True):
    """Write one file of the work directory, its folders included; or a piece of it.

    A file of several pieces is there as a whole after the `final` one, if it has the digest that
    each of them names; until then what has come is kept, so that a later upload can go on.
    """

    op = "upload"
    body_field = "data"
    path: str
    data: bytes
    executable: bool = False
    offset: Position = 0
    final: bool = True
    sha256: Sha256 | None = None


class Download(Immediate, frozen=True):
    """Read one file of the work directory, or a piece; `digest`: tell that of the whole file."""

    op = "download"
    path: str
    offset: Position = 0
    length: Position | None = None
    digest: bool = False


class ListFiles(Immediate, frozen=True):
    """List one folder of the work directory."""

    op = "list-files"
    path: str = "."


QueuedCommand: TypeAlias = Clean | Build | Execute | Query
ServiceCommand: TypeAlias = StartService | ShutdownService | ListServices | StartModelService
SessionCommand: TypeAlias = Hello | Acknowledge
FileCommand: TypeAlias = Upload | Download | ListFiles
LookUp: TypeAlias = Complete | Inspect | IsComplete
ProgramCommand: TypeAlias = SendSignal | Resize
ImmediateCommand: TypeAlias = (
    Input
    | EndOfInput
    | LookUp
    | Interrupt
    | ProgramCommand
    | Cancel
    | GetStatus
    | ListQueue
    | HostEvent
    | ServiceCommand
    | SessionCommand
    | FileCommand
)
Command: TypeAlias = QueuedCommand | ImmediateCommand

QUEUED: tuple[type[QueuedCommand], ...] = get_args(QueuedCommand)
COMMANDS: dict[str, type[Command]] = {kind.op: kind for kind in get_args(Command)}
QUEUED_OPS: dict[str, type[QueuedCommand]] = {kind.op: kind for kind in QUEUED}
