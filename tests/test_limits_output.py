"""Programs and queries that print too much come in; head, tail and the count of the rest go out."""

from pathlib import Path

import pytest

from kernel_runner.limits import OutputCut
from tests.running import connected, runner
from tests.tools import require_tool

MIB = 1 << 20
LINES = 5_000_000


async def test_a_program_that_prints_a_gigabyte_goes_on_and_its_head_and_tail_are_sent(
    tmp_path: Path,
) -> None:
    require_tool("seq")
    pad = "x" * 207
    script = f"seq -f '%08.0f{pad}' 1 {LINES}; echo done >&2; exit 3"
    limits = {"output_bytes": MIB, "on_output_limit": "drop"}
    async with runner(tmp_path, "shell") as started, connected(started) as client:
        heard = await client.run("exec", script, limits=limits)

    size = LINES * 216
    assert heard.end == (3, "completed")
    assert heard.finish["limits_hit"] == ["output_bytes"]
    assert heard.finish["message"] == "it wrote more than 1 MiB of output"
    assert heard.finish["usage"]["output_bytes"] == size + 5
    assert heard.finish["usage"]["dropped_bytes"] == size + 5 - MIB
    printed = heard.stdout
    assert len(printed) + len(heard.stderr) == MIB
    assert printed.startswith(f"00000001{pad}\n".encode())
    assert printed.endswith(f"{LINES:08}{pad}\n".encode())
    assert heard.stderr == b"done\n"
    assert any("of output" in text and "left out here" in text for text in heard.logs)


async def test_unless_asked_otherwise_the_program_is_ended(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell") as started, connected(started) as client:
        heard = await client.run("exec", "yes", limits={"output_bytes": 100_000})

    assert heard.end == (143, "output-limit")
    assert heard.finish["message"] == "it wrote more than 97.7 KiB of output"
    assert heard.stdout == b"y\n" * 50_000
    usage = heard.finish["usage"]
    assert usage["output_bytes"] == usage["dropped_bytes"] + 100_000


@pytest.mark.parametrize("action", ["end", "drop"])
async def test_a_query_that_prints_too_much_keeps_its_state(tmp_path: Path, action: str) -> None:
    code = "kept = 42\nfor n in range(100_000): print(f'{n:09}')\nkept = 43"
    limits = {"output_bytes": 10_000, "on_output_limit": action}
    async with runner(tmp_path, "python") as started, connected(started) as client:
        heard = await client.run("code", code, limits=limits)
        after = await client.run("code", "kept")

    assert len(heard.stdout + heard.stderr) == 10_000  # with the traceback
    assert heard.stdout.startswith(b"000000000\n000000001\n")
    if action == "end":
        assert heard.finish["reason"] == "output-limit"
        assert after.stdout in (b"42\n", b"43\n")
    else:
        assert heard.end == (0, "completed")
        assert heard.stdout.endswith(b"000099998\n000099999\n")
        assert after.stdout == b"43\n"


async def test_output_up_to_the_limit_is_whole(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell") as started, connected(started) as client:
        heard = await client.run("exec", "printf 0123456789", limits={"output_bytes": 10})

    assert (heard.end, heard.stdout) == ((0, "completed"), b"0123456789")
    assert heard.finish["usage"]["dropped_bytes"] == 0
    assert "limits_hit" not in heard.finish


def test_head_and_tail_are_exact_for_pieces_of_any_size() -> None:
    for most in (1, 2, 3, 10, 11):
        for step in (1, 2, 3, 7, 40):
            whole = bytes(range(40))
            cut = OutputCut(most)
            sent = [
                piece
                for start in range(0, 40, step)
                for piece in cut.feed("stdout", whole[start : start + step])
            ]
            sent += cut.end()
            head, tail = most - most // 2, most // 2

            assert b"".join(data for _, data in sent) == whole[:head] + whole[40 - tail :]
            assert cut.dropped_bytes == 40 - most
