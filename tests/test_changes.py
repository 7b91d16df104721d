"""Files that appear, change and go come in; the names of those made or changed between go out."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel_runner import changes
from kernel_runner.changes import Changed, Folder, changed
from kernel_runner.client import launch
from tests.running import conversation
from tests.tools import require_tool


@pytest.fixture
async def folder(work: Path) -> AsyncIterator[Folder]:
    folder = Folder(work)
    yield folder
    folder.close()


async def since(folder: Folder, before: changes.Look) -> tuple[str, ...] | None:
    return changed(before, await folder.look()).files


async def test_files_are_named_when_they_are_made_changed_replaced_or_moved(
    folder: Folder, work: Path
) -> None:
    for name in ("same", "grows", "touched", "replaced", "moved", "removed"):
        (work / name).write_text("x")
    before = await folder.look()

    (work / "new").write_text("")
    (work / "deep" / "er").mkdir(parents=True)
    (work / "deep" / "er" / "file").write_text("x")
    (work / "grows").write_text("xx")
    os.utime(work / "touched", (1, 1))
    (work / "other").write_text("x")
    (work / "other").replace(work / "replaced")
    (work / "moved").rename(work / "here")
    (work / "removed").unlink()
    (work / "link").symlink_to("nowhere")

    assert await since(folder, before) == (
        *("deep/er/file", "grows", "here", "link", "new", "replaced", "touched"),
    )


async def test_a_change_that_keeps_size_and_time_is_seen_and_so_is_one_of_the_mode(
    folder: Folder, work: Path
) -> None:
    for name in ("same", "rewritten", "mode"):
        (work / name).write_text("x")
    before = await folder.look()

    status = (work / "rewritten").stat()
    (work / "rewritten").write_text("y")
    os.utime(work / "rewritten", ns=(status.st_atime_ns, status.st_mtime_ns))
    (work / "mode").chmod(0o700)

    assert await since(folder, before) == ("mode", "rewritten")


async def test_a_folder_where_nothing_happens_is_listed_once(folder: Folder, work: Path) -> None:
    (work / "deep").mkdir()
    before = await folder.look()

    assert await folder.look() is before
    (work / "deep" / "file").write_text("x")
    after = await folder.look()
    assert after is not before
    assert await folder.look() is after
    assert changed(before, after) == Changed(("deep/file",))


async def test_what_happens_in_a_folder_that_is_new_is_seen(folder: Folder, work: Path) -> None:
    await folder.look()
    (work / "a").mkdir()
    before = await folder.look()
    (work / "a" / "file").write_text("x")

    assert await since(folder, before) == ("a/file",)


async def test_a_file_that_is_written_and_not_closed_is_seen(folder: Folder, work: Path) -> None:
    with (work / "open").open("w") as file:
        before = await folder.look()
        file.write("x")
        file.flush()

        assert await since(folder, before) == ("open",)


async def test_what_the_runner_keeps_there_is_left_out(folder: Folder, work: Path) -> None:
    before = await folder.look()
    (work / ".kernel-runner" / "build").mkdir(parents=True)
    (work / ".kernel-runner" / "build" / "program").write_text("x")
    (work / ".kernel-runner-0123.part").write_text("x")
    (work / ".hidden").write_text("x")

    assert await since(folder, before) == (".hidden",)


async def test_without_word_from_the_kernel_every_look_is_a_new_list(
    folder: Folder, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes.Watch, "fired", lambda self: True)
    before = await folder.look()
    (work / "file").write_text("x")

    assert await since(folder, before) == ("file",)


async def test_too_many_files_are_not_listed(
    folder: Folder, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_ENTRIES", 5)
    monkeypatch.setattr(changes, "MAX_NAMED", 2)
    before = await folder.look()
    for number in range(5):
        (work / f"{number}").write_text("x")
    few = await folder.look()
    (work / "one more").write_text("x")
    many = await folder.look()

    assert changed(before, few) == Changed(("0", "1"), "3 more were changed")
    assert changed(few, many).files is None
    assert "more than 5 files" in (changed(few, many).note or "")


async def test_a_folder_that_is_gone_is_empty(folder: Folder, work: Path) -> None:
    (work / "file").write_text("x")
    before = await folder.look()
    (work / "file").unlink()
    work.rmdir()
    gone = await folder.look()
    work.mkdir()
    (work / "file").write_text("y")

    assert changed(before, gone) == Changed(())
    assert await since(folder, gone) == ("file",)


async def test_each_finish_names_the_files_of_its_own_task(tmp_path: Path) -> None:
    async with conversation("session", tmp_path) as (started, client):
        (started.work_dir / "from outside").write_text("x")
        nothing = await client.run("code", "1 + 1")
        query = await client.run("code", "open('plot.png', 'w').write('x')")
        await client.say("upload", b"sent", path="uploaded")
        await client.hear_until("ok")
        batch = await client.run("exec", "echo x > made; echo y >> plot.png; cat uploaded")
        failed = await client.run("code", "open('half', 'w').write('x'); 1 / 0")

    assert nothing.finish["files"] == []
    assert query.finish["files"] == ["plot.png"]
    assert batch.finish["files"] == ["made", "plot.png"]
    assert failed.finish["files"] == ["half"]


async def test_the_agent_dialect_is_not_told(tmp_path: Path) -> None:
    async with conversation("agent", tmp_path) as (_, client):
        heard = await client.run("exec", "echo x > made")

    assert "files" not in heard.finish


async def test_a_result_names_the_files_of_its_step() -> None:
    require_tool("gcc")
    async with launch("c") as kernel:
        result = await kernel.run(
            files={"main.c": '#include <stdio.h>\nint main() { fopen("made", "w"); }'}
        ).result()

    build, execute = result.steps
    assert build.files == ()
    assert execute.files == ("made",)
    assert result.files == ("made",)


async def test_a_look_that_is_cancelled_is_made_again(folder: Folder, work: Path) -> None:
    look = asyncio.create_task(folder.look())
    await asyncio.sleep(0)
    look.cancel()
    await asyncio.wait([look])
    before = await folder.look()
    (work / "file").write_text("x")

    assert await since(folder, before) == ("file",)
