"""A batch program in; what its client hears while it runs, also as words, out."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.running import LOOK_SECONDS, conversation
from tests.wire import FAILURE_SECONDS, FINISHES, Client, Event

PNG: Final = b"\x89PNG"
SHOW: Final = """
import json, os, socket
def send(body):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["KERNEL_RUNNER_MEDIA"])
        try:
            connection.sendall(body)
            connection.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass
        return connection.makefile().read()
def show(text):
    return send(json.dumps({"data": {"text/plain": text}}).encode())
"""
"""What a program of any language can do, in Python."""


async def execute(client: Client, folder: Path, program: str, **options: object) -> list[Event]:
    """Everything that the client hears of ``main.py`` after its start."""
    (folder / "work").mkdir(exist_ok=True)
    (folder / "work" / "main.py").write_text(program)
    await client.say("exec", "*", **options)
    heard = [await client.hear()]
    while heard[-1].kind not in FINISHES:
        heard.append(await client.hear())
    return [event for event in heard if event.kind not in ("accepted", "started")]


async def run(folder: Path, program: str, **options: object) -> list[Event]:
    async with conversation("session", folder) as (_, client):
        return await execute(client, folder, program, **options)


async def file_made(file: Path) -> None:
    """Wait until a program has made it."""
    async with asyncio.timeout(FAILURE_SECONDS):
        while not file.exists():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)


def told(heard: Sequence[Event]) -> list[str]:
    """What was printed and shown, as words; pieces of one stream are put together."""
    words: list[str] = []
    for event in heard[:-1]:
        if event.kind == "media":
            words.append(_shown(event))
        elif event.kind != "log" and words and words[-1].startswith(f"{event.kind}: "):
            words[-1] += event.body.decode()
        elif event.kind != "log":
            words.append(f"{event.kind}: {event.body.decode()}")
    return words


def logs(heard: Sequence[Event]) -> list[str]:
    return [event.fields["text"] for event in heard if event.kind == "log"]


def _shown(event: Event) -> str:
    data = event.fields["data"]
    if "image/png" in data:
        assert data["image/png"].startswith(PNG)
        return str(data["text/plain"])
    return f"<{data['text/plain']}>"
