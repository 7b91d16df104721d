"""Keys come in; the text of a cell goes out, edited with history, completion and colours."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.lexers import DynamicLexer, Lexer, PygmentsLexer

from kernel_runner.cli.media import printable
from kernel_runner.client import ClientError, Kernel

LONG_TEXT: Final = 20_000
"""Characters; a longer text is neither coloured, completed nor kept in the history."""
DECIDE_SECONDS: Final = 3.0
"""How long Enter waits for the runner to say whether the text is complete."""
INDENT: Final = "    "
UNKNOWN_HINT: Final = "an empty line or Esc Enter runs it"


class CellPrompt:
    """The prompt of one language; it is used again with the next kernel after a restart."""

    def __init__(
        self, language: str, ending: str, commands: Sequence[str], environ: Mapping[str, str]
    ) -> None:
        self._language = language
        self._hint = ""
        self._deciding = False
        self._decision: asyncio.Task[None] | None = None
        self._typed_ahead: list[KeyPress] = []
        self._completer = _CellCompleter(commands)
        lexer = _lexer(ending)
        self._session: PromptSession[str] = PromptSession(
            f"{language}> ",
            multiline=True,
            enable_suspend=True,
            prompt_continuation=lambda width, line, wrapped: "... ".rjust(width),
            history=_history(language, environ),
            lexer=DynamicLexer(lambda: None if self._is_long() else lexer),
            completer=self._completer,
            complete_while_typing=Condition(lambda: not self._is_long()),
            key_bindings=self._bindings(),
            bottom_toolbar=lambda: self._hint or None,
            tempfile_suffix=ending,
        )
        self._session.default_buffer.on_text_changed += self._changed

    async def read(self, kernel: asyncio.Future[Kernel]) -> str:
        """The next cell, or a line that begins with a colon or a question mark.

        Empty after Ctrl-C.  The kernel may still be starting.

        Raises:
            EOFError: Ctrl-D.
        """
        self._completer.kernel = self._kernel = kernel
        self._hint, self._deciding, self._typed_ahead = "", False, []
        try:
            return await self._session.prompt_async(handle_sigint=False)
        except KeyboardInterrupt:
            return ""

    def _is_long(self) -> bool:
        return len(self._session.default_buffer.text) > LONG_TEXT

    def _changed(self, _: Buffer) -> None:
        self._hint = ""
        self._completer.cancel()

    # Keys -------------------------------------------------------------------------------------

    def _bindings(self) -> KeyBindings:
        bindings = KeyBindings()
        in_cell = has_focus(DEFAULT_BUFFER)
        deciding = Condition(lambda: self._deciding)
        before_text = Condition(
            lambda: not self._session.default_buffer.document.current_line_before_cursor.strip()
        )

        bindings.add("enter", filter=in_cell)(self._enter)
        bindings.add("escape", "enter", filter=in_cell)(lambda event: self._accept(event))
        bindings.add("f1", filter=in_cell)(self._inspect)

        @bindings.add("tab", filter=in_cell & before_text)
        def indent(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text(INDENT)

        @bindings.add(Keys.Any, filter=deciding, eager=True)
        def keep(event: KeyPressEvent) -> None:
            self._typed_ahead += event.key_sequence

        @bindings.add("c-c", filter=deciding, eager=True)
        def give_up(event: KeyPressEvent) -> None:
            if self._decision is not None:
                self._decision.cancel()
            event.app.exit(exception=KeyboardInterrupt)

        @bindings.add(Keys.CPRResponse, filter=deciding, eager=True)
        def report(event: KeyPressEvent) -> None:
            row, _ = event.data[2:-1].split(";")
            event.app.renderer.report_absolute_cursor_row(int(row))

        return bindings

    def _enter(self, event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state is not None and buffer.complete_state.current_completion:
            buffer.complete_state = None  # it is in the text already
            return
        document = buffer.document
        if document.text_after_cursor.strip():
            buffer.newline()
        elif not document.text.strip() or document.text.startswith((":", "?")):
            self._accept(event)
        else:
            self._deciding = True
            self._decision = event.app.create_background_task(self._decide(event))

    async def _decide(self, event: KeyPressEvent) -> None:
        """Run the text or go on with a new line; keys that are typed meanwhile come after that."""
        buffer = event.current_buffer
        status = await self._completeness(_stripped(buffer.text))
        is_blank = not buffer.document.current_line.strip()
        self._deciding = False
        typed_ahead, self._typed_ahead = self._typed_ahead, []
        if status == "incomplete" or (status == "unknown" and not is_blank):
            _new_line(buffer)
            self._hint = UNKNOWN_HINT if status == "unknown" else ""
            event.app.key_processor.feed_multiple(typed_ahead)
            event.app.key_processor.process_keys()
            event.app.invalidate()
        else:
            self._accept(event)
            event.app.key_processor.feed_multiple(typed_ahead)  # the next prompt takes them

    async def _completeness(self, code: str) -> str:
        try:
            async with asyncio.timeout(DECIDE_SECONDS):
                return await (await asyncio.shield(self._kernel)).is_complete(code)
        except (ClientError, TimeoutError):
            return "invalid"  # to run it tells what is wrong

    def _accept(self, event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.document = Document(buffer.text.rstrip())
        buffer.validate_and_handle()

    async def _inspect(self, event: KeyPressEvent) -> None:
        document = event.current_buffer.document
        text = await inspected(
            await asyncio.shield(self._kernel), document.text, document.cursor_position
        )
        await run_in_terminal(lambda: print(text))


async def inspected(kernel: Kernel, code: str, cursor: int | None = None) -> str:
    """What the kernel knows about the code at the cursor, for a person."""
    try:
        text = await kernel.inspect(code, cursor)
    except ClientError as error:
        text = str(error)
    return printable(text).rstrip() or "nothing is known about it"


def _stripped(text: str) -> str:
    """Without the blanks of a last line that has nothing else."""
    head, newline, last = text.rpartition("\n")
    return text if last.strip() else head + newline


def _new_line(buffer: Buffer) -> None:
    """A new line below, indented as the one before, and deeper after an opening."""
    line = buffer.document.current_line_before_cursor
    margin = line[: len(line) - len(line.lstrip())]
    deeper = INDENT if line.rstrip().endswith((":", "{", "(", "[")) else ""
    buffer.insert_text(f"\n{margin}{deeper}")


# What it knows ---------------------------------------------------------------------------------


class _CellCompleter(Completer):
    """Asks the kernel, which answers at once whatever runs; typing goes on meanwhile."""

    kernel: asyncio.Future[Kernel]

    def __init__(self, commands: Sequence[str]) -> None:
        self._commands = commands
        self._paths = PathCompleter(expanduser=True)
        self._asked: asyncio.Task[Sequence[str]] | None = None

    def cancel(self) -> None:
        """The text has changed: nobody wants the answer any more."""
        if self._asked is not None:
            self._asked.cancel()

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> "list[Completion]":
        """Commands of the prompt itself, and the files they take."""
        name, blank, words = document.text_before_cursor.partition(" ")
        if not blank:
            found = [command for command in self._commands if command.startswith(name)]
            return [Completion(command, -len(name)) for command in found]
        typed = Document(words)
        return list(self._paths.get_completions(typed, complete_event))

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        before = document.text_before_cursor
        if before.startswith(":"):
            for completion in self.get_completions(document, complete_event):
                yield completion
            return
        if not self.kernel.done() or (complete_event.text_inserted and not _may_go_on(before)):
            return
        for suggestion in await self._suggestions(document):
            start = _overlap(before, suggestion)
            shown = suggestion[suggestion.rfind(".", 0, -1) + 1 :] if "." in before else suggestion
            yield Completion(suggestion, -start, display=shown)

    async def _suggestions(self, document: Document) -> Sequence[str]:
        self._asked = asyncio.create_task(self._ask(document), name="completion")
        await asyncio.wait([self._asked])
        return () if self._asked.cancelled() else self._asked.result()

    async def _ask(self, document: Document) -> Sequence[str]:
        try:
            return await self.kernel.result().complete(document.text, document.cursor_position)
        except ClientError:  # told when the text is run, or at once when the runner is gone
            return ()


def _may_go_on(before: str) -> bool:
    return before[-1:].isidentifier() or before[-1:].isdigit() or before[-1:] in ".$/"


def _overlap(before: str, suggestion: str) -> int:
    """How many characters of the suggestion stand before the cursor already."""
    longest = min(len(before), len(suggestion))
    return next((n for n in range(longest, 0, -1) if before.endswith(suggestion[:n])), 0)


def _lexer(ending: str) -> Lexer | None:
    from pygments.lexers import find_lexer_class_for_filename

    found = find_lexer_class_for_filename(f"cell{ending}")
    return PygmentsLexer(found) if found else None


def _history(language: str, environ: Mapping[str, str]) -> History:
    """Kept below the user's state folder, readable for nobody else; in memory where it cannot."""
    state = Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    file = state / "kernel-runner" / f"history-{language}"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError:
        return InMemoryHistory()
    return _CellHistory(file)


class _CellHistory(FileHistory):
    def store_string(self, string: str) -> None:
        if len(string) <= LONG_TEXT:
            super().store_string(string)
