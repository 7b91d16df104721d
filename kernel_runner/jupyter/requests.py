"""What Jupyter asks: the content of each message comes in as a map, and goes out typed."""

from collections.abc import Mapping
from typing import ClassVar, Final, Literal, TypeAlias, get_args

import msgspec

Channel: TypeAlias = Literal["shell", "control", "stdin"]


class Message(msgspec.Struct, frozen=True):
    """One message of a client; `identities` say who is to have the answer."""

    channel: Channel
    identities: list[bytes]
    header: dict[str, object]
    content: dict[str, object]

    @property
    def type(self) -> str:
        return str(self.header.get("msg_type"))


class Execute(msgspec.Struct, frozen=True):
    """Run a cell."""

    type: ClassVar[str] = "execute_request"
    code: str
    silent: bool = False
    store_history: bool = True
    user_expressions: dict[str, str] | None = None
    allow_stdin: bool = True
    stop_on_error: bool = True


class Complete(msgspec.Struct, frozen=True):
    type: ClassVar[str] = "complete_request"
    code: str
    cursor_pos: int | None = None


class Inspect(msgspec.Struct, frozen=True):
    type: ClassVar[str] = "inspect_request"
    code: str
    cursor_pos: int | None = None


class IsComplete(msgspec.Struct, frozen=True):
    type: ClassVar[str] = "is_complete_request"
    code: str


class KernelInfo(msgspec.Struct, frozen=True):
    type: ClassVar[str] = "kernel_info_request"


class CommInfo(msgspec.Struct, frozen=True):
    type: ClassVar[str] = "comm_info_request"


class CommOpen(msgspec.Struct, frozen=True):
    """A widget wants a partner in the kernel."""

    type: ClassVar[str] = "comm_open"
    comm_id: str


class History(msgspec.Struct, frozen=True):
    type: ClassVar[str] = "history_request"


class Interrupt(msgspec.Struct, frozen=True):
    type: ClassVar[str] = "interrupt_request"


class Shutdown(msgspec.Struct, frozen=True):
    type: ClassVar[str] = "shutdown_request"
    restart: bool = False


class InputReply(msgspec.Struct, frozen=True):
    type: ClassVar[str] = "input_reply"
    value: str


Request: TypeAlias = (
    Execute
    | Complete
    | Inspect
    | IsComplete
    | KernelInfo
    | CommInfo
    | CommOpen
    | History
    | Interrupt
    | Shutdown
    | InputReply
)
REQUESTS: Final[Mapping[str, type[Request]]] = {kind.type: kind for kind in get_args(Request)}


def read(message: Message) -> Request | None:
    """What the message asks; None when it is nothing that we know.

    Raises:
        ValueError: a field is missing, or not what it has to be.
    """
    kind = REQUESTS.get(message.type)
    return None if kind is None else msgspec.convert(message.content, kind)
