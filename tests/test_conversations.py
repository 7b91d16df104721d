"""Every transcript comes in; it is played on real sockets, in each dialect that it is for."""

from pathlib import Path

import pytest

from tests.running import conversation
from tests.tools import require_tool
from tests.transcripts import player

COMMANDS = {"c": "gcc", "python": "python3"}
NAMES = sorted(path.stem for path in player.FOLDER.glob("*.txt"))
TRANSCRIPTS = {name: player.read(name) for name in NAMES}


@pytest.mark.parametrize(
    ("name", "dialect"),
    [(name, dialect) for name in NAMES for dialect in TRANSCRIPTS[name].dialects],
)
async def test_the_conversation_goes_as_it_is_written(
    name: str, dialect: str, tmp_path: Path
) -> None:
    transcript = TRANSCRIPTS[name]
    require_tool(COMMANDS[transcript.language])
    for file, text in transcript.files.items():
        path = tmp_path / "work" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    async with conversation(dialect, tmp_path, transcript.language) as (started, client):
        await player.Player(started, client).play(transcript)
