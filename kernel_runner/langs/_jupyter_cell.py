"""What a Jupyter kernel says of a cell in; events of its task out, and input the other way."""

import asyncio
import json
import logging
import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from kernel_runner.errors import MalformedBody
from kernel_runner.messages import events
from kernel_runner.shown import read_media
from kernel_runner.task import Task

COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
END_OF_INPUT: Final = "\x04"
"""What Jupyter's kernels take for it."""
INTERRUPTED: Final = 130

log = logging.getLogger(__name__)


class Cell:
    """One task, for as long as its kernel may speak of it."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.request = ""
        """The id of its request; known once it is sent."""
        self.idle = asyncio.Event()
        """Set when the kernel has published all of it."""
        self.begun = False

    def hear(self, kind: str, content: Mapping[str, Any], parent: str) -> None:
        """One message that the kernel publishes."""
        match kind:
            case "stream":
                stream: events.StreamName = "stderr" if content["name"] == "stderr" else "stdout"
                self.task.output(stream, _encoded(content["text"]))
            case "display_data":
                self._show(content)
            case "update_display_data":
                self._show(content, update=True)
            case "clear_output":
                self.task.post(events.ClearOutput(content.get("wait") is True))
            case "execute_result":
                self._tell_result(content)
            case "error":
                self._tell_error(content)
            case "status" if parent == self.request:
                self.begun = True
                if content["execution_state"] == "idle":
                    self.idle.set()

    def end(self, reply: Mapping[str, Any]) -> int:
        """The exit code that the reply stands for."""
        for payload in reply.get("payload") or ():
            if payload.get("source") == "page":
                text = payload.get("data", {}).get("text/plain", "")
                self.task.output("stdout", _encoded(COLOURS.sub("", text) + "\n"))
        if reply["status"] == "ok":
            return 0
        if reply["status"] != "error" or reply.get("ename") == "KeyboardInterrupt":
            return INTERRUPTED
        self.task.end_reason = self.task.end_reason or "error"
        if self.task.traceback is None:  # it was printed already, by the kernel itself
            self.task.traceback = _details(reply)
        return 1

    def _tell_result(self, content: Mapping[str, Any]) -> None:
        data = content["data"]
        if self.task.options.as_data or {*data} != {"text/plain"}:
            self._show(content, is_result=self.task.options.as_data)
        else:
            self.task.output("stdout", _encoded(data["text/plain"] + "\n"))

    def _show(self, content: Mapping[str, Any], **more: bool) -> None:
        """A bundle in a notebook's words is that of a driver: base64 for what is binary."""
        shown = {
            "data": content["data"],
            "metadata": content.get("metadata", {}),
            "display_id": content.get("transient", {}).get("display_id"),
            **more,
        }
        try:
            self.task.post(read_media(json.dumps(shown).encode()))
        except MalformedBody as error:
            log.warning("an object could not be shown: %s", error)

    def _tell_error(self, content: Mapping[str, Any]) -> None:
        details = _details(content)
        lines = content.get("traceback") or ()
        text = COLOURS.sub("", "\n".join(lines)).rstrip("\n")
        if self.task.options.as_data:
            details = msgspec.structs.replace(details, text=text)
        elif text:
            self.task.output("stderr", _encoded(text + "\n"))
        self.task.traceback = details


class Answers:
    """The input side of a cell: lines of the client in, one answer for each question out."""

    def __init__(self, answer: Callable[[str], None]) -> None:
        self._answer = answer
        self._lines: deque[str] = deque()
        self._begun = ""
        self._asked = self._ended = False

    def ask(self) -> bool:
        """The kernel has a question; whether the client has to be asked."""
        self._asked = True
        self._give()
        return self._asked

    def feed(self, data: bytes) -> asyncio.Future[None]:
        *lines, self._begun = (self._begun + data.decode(errors="replace")).split("\n")
        self._lines += lines
        self._give()
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        taken.set_result(None)
        return taken

    def end(self) -> None:
        self._ended = True
        self._give()

    def unread(self) -> bool:
        return bool(self._lines)

    def asks_for_password(self) -> bool:
        return False

    def is_raw(self) -> bool:
        return False

    def close(self) -> None:
        self._asked = False

    def _give(self) -> None:
        if not self._asked:
            return
        if self._lines:
            self._asked = False
            self._answer(self._lines.popleft())
        elif self._ended:
            self._asked = False
            begun, self._begun = self._begun, ""
            self._answer(begun or END_OF_INPUT)


def _details(content: Mapping[str, Any]) -> events.ErrorDetails:
    value = COLOURS.sub("", str(content.get("evalue", "")))
    return events.ErrorDetails(str(content.get("ename", "")), value)


def _encoded(text: str) -> bytes:
    return text.encode(errors="replace")
