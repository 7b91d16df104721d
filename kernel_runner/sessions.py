"""What a client says of its session in: which one, what it has; refused when it cannot be so."""

import time
from collections.abc import Collection
from typing import Final

from kernel_runner.errors import SessionError
from kernel_runner.lane import KeptSession, Session
from kernel_runner.messages.commands import Hello
from kernel_runner.outbox import Outbox

MAX_SESSIONS: Final = 10_000
CROWDED_SECONDS: Final = 60.0
"""How long one lasts that nobody reads and that has nothing to tell, when there are so many."""


def session_for(command: Hello, outbox: Outbox, busy: Collection[str]) -> KeptSession:
    """A new session, or the one that is asked for.

    Args:
        busy: the names of sessions whose requests wait or run.

    Raises:
        SessionError: there is none, or not the events after `after_seq`, or there are too many.
    """
    after_seq = command.after_seq
    if command.session is None and after_seq is None:
        if outbox.sessions >= MAX_SESSIONS:
            outbox.end_idle(time.monotonic(), busy, idle_seconds=CROWDED_SECONDS)
        if outbox.sessions >= MAX_SESSIONS:
            hint = "take one of yours over by its name; unused ones end by themselves"
            raise SessionError("too-many-sessions", f"{MAX_SESSIONS} sessions are open", hint)
        return outbox.open_session()
    session = outbox.find_session(command.session or "")
    if session is None:
        text = f"there is no session {command.session!r}"
        raise SessionError("no-session", text, "say hello without a session for a new one")
    first_seq, next_seq = session.journal.first_seq, session.next_seq
    if after_seq is not None and after_seq + 1 < first_seq:
        text = f"the events after {after_seq} were acknowledged and forgotten"
        raise SessionError("forgotten", text, f"ask for those after {first_seq - 1}")
    if after_seq is not None and after_seq >= next_seq:
        text = f"there is no event {after_seq} yet; the last one is {next_seq - 1}"
        raise SessionError("unknown-seq", text, "ask for those after the last one that you have")
    return session


def acknowledge(seq: int, session: Session | None) -> None:
    """Forget the events up to `seq`.

    Raises:
        SessionError: the connection has no session, or that event was not sent.
    """
    if not isinstance(session, KeptSession):
        text = "this connection has no session"
        raise SessionError("no-session", text, "say hello for the session first")
    if not 0 <= seq <= session.sent_seq:
        text = f"event {seq} was not sent; the last one was {session.sent_seq}"
        raise SessionError("unknown-seq", text, "acknowledge what you have received")
    session.acknowledge(seq)
