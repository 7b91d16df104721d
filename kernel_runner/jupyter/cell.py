"""One request to run a cell in; its output, what it shows and its end out, as Jupyter has them."""

import asyncio
import codecs
from collections.abc import Callable, Mapping
from typing import Final

from kernel_runner.client import ClientError, Kernel, Limits, Reply
from kernel_runner.client.result import Result
from kernel_runner.errors import NEVER_RAN
from kernel_runner.jupyter import contents
from kernel_runner.jupyter.requests import Execute
from kernel_runner.messages import commands, events

HOLD_SECONDS: Final = 0.1
"""How long a line that has no end yet is kept back: it may be the question of a prompt."""
HOLD_CHARACTERS: Final = 1_024

Publish = Callable[[str, Mapping[str, object]], None]


class Cell:
    """One cell; `run` once.

    Args:
        publish: tells all clients.
        ask: sends the client a question, with whether its answer is a password.
    """

    def __init__(
        self,
        kernel: Kernel,
        request: Execute,
        count: int,
        *,
        publish: Publish,
        ask: Callable[[str, bool], None],
        limits: Limits | None = None,
    ) -> None:
        self._kernel = kernel
        self._request = request
        self._count = count
        self._ask = ask
        self._limits = limits
        self._publish: Publish = _publish_nothing if request.silent else publish
        self._streams = Streams(self._publish)
        self._asking = False

    async def run(self) -> dict[str, object]:
        """The content of the reply; returns when the cell has ended and all was published.

        Raises:
            ClientError: the runner is gone; that was published as an error.
        """
        request = self._request
        content = {"code": request.code, "execution_count": self._count}
        self._publish("execute_input", content)
        reply = self._kernel.query(
            request.code,
            stdin="prompt" if request.allow_stdin else "none",
            limits=self._limits,
            as_data=True,
        )
        try:
            finish = await self._follow(reply)
        except ClientError as error:
            self._tell_failure(gone(error))
            raise
        if finish.exit_code or finish.reason != "completed":
            return self._tell_failure(contents.failure(finish))
        expressions = await self._evaluated(request.user_expressions or {})
        return {**self._ended("ok"), "payload": [], "user_expressions": expressions}

    async def _follow(self, reply: Reply) -> events.Finished:
        try:
            async for event in reply:
                match event:
                    case events.Output(type=stream, data=data):
                        self._streams.feed(stream, data)
                    case events.Media():
                        self._show(event)
                    case events.ClearOutput(wait=wait):
                        self._streams.flush()
                        self._publish("clear_output", {"wait": wait})
                    case events.WaitingInput(is_password=is_password):
                        self._asking = True
                        self._ask(self._streams.take_line(), is_password)
                    case events.Log() if event.level not in ("debug", "info"):
                        self._streams.end()
                        self._streams.feed("stderr", f"kernel-runner: {event.sentence}\n".encode())
                    case events.Refused(message=message):
                        return events.Finished(
                            "finished", NEVER_RAN, "bad-request", message=message
                        )
                    case events.Finished():
                        return event
        finally:
            self._asking = False
            self._streams.end()
        raise AssertionError("the last event is a finish or an error")

    def _show(self, media: events.Media) -> None:
        self._streams.flush()
        shown = contents.bundle(media)
        if media.is_result:
            self._publish("execute_result", {**shown, "execution_count": self._count})
            return
        named = {} if media.display_id is None else {"display_id": media.display_id}
        kind = "update_display_data" if media.update else "display_data"
        self._publish(kind, {**shown, "transient": named})

    def _tell_failure(self, failure: dict[str, object]) -> dict[str, object]:
        self._publish("error", failure)
        return {**self._ended("error"), **failure}

    def _ended(self, status: str) -> dict[str, object]:
        return {"status": status, "execution_count": self._count}

    def give(self, line: str) -> None:
        """The client's answer; one that nobody waits for (any more) is dropped."""
        if self._asking:
            self._asking = False
            self._kernel.send(commands.Input(line.encode(errors="replace") + b"\n"))

    async def _evaluated(self, expressions: Mapping[str, str]) -> dict[str, object]:
        """What each of them gives: its value, or where a language has none, what it prints."""
        found: dict[str, object] = {}
        for name, expression in expressions.items():
            reply = self._kernel.query(expression, stdin="none", as_data=True)
            found[name] = _value(await reply.result(), await reply.answer())
        return found


def gone(error: ClientError) -> dict[str, object]:
    """The failure of a request whose runner does not answer."""
    name = type(error).__name__
    return {"ename": name, "evalue": str(error), "traceback": [f"{name}: {error}"]}


def _value(result: Result, finish: events.AnyEvent) -> dict[str, object]:
    if not result.ok and isinstance(finish, events.Finished):
        return {"status": "error", **contents.failure(finish)}
    for media in result.media:
        if media.is_result:
            return {"status": "ok", **contents.bundle(media)}
    return {"status": "ok", "data": {"text/plain": result.stdout.rstrip("\n")}, "metadata": {}}


def _publish_nothing(kind: str, content: Mapping[str, object]) -> None:
    """A silent cell."""


class Streams:
    """Bytes of both streams in, text in messages out."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        new = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": new("replace"), "stderr": new("replace")}
        self._stream: events.StreamName = "stdout"
        self._held = ""
        self._timer: asyncio.TimerHandle | None = None

    def feed(self, stream: events.StreamName, data: bytes) -> None:
        if stream != self._stream:
            self.flush()
            self._stream = stream
        text = self.take_line() + self._decoders[stream].decode(data)
        end = max(text.rfind("\n"), text.rfind("\r")) + 1
        if len(text) - end > HOLD_CHARACTERS:
            end = len(text)
        self._send(text[:end])
        self._hold(text[end:])

    def take_line(self) -> str:
        """The line that has no end yet; it will not be published."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held, self._held = self._held, ""
        return held

    def flush(self) -> None:
        """Publish what is held."""
        self._send(self.take_line())

    def end(self) -> None:
        """Nothing more comes, also of a character that is not complete."""
        self.flush()
        for stream, decoder in self._decoders.items():
            if rest := decoder.decode(b"", final=True):
                self._publish("stream", {"name": stream, "text": rest})

    def _hold(self, text: str) -> None:
        if text:
            self._held = text
            self._timer = asyncio.get_running_loop().call_later(HOLD_SECONDS, self.flush)

    def _send(self, text: str) -> None:
        if text:
            self._publish("stream", {"name": self._stream, "text": text})
