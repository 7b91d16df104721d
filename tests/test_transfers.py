"""Files of any size come in, through links that are cut; the same files go out, or a sentence."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel_runner import workspace
from kernel_runner.client import (
    Kernel,
    Progress,
    RequestRefused,
    TransferBroken,
    connect,
    launch,
)
from kernel_runner.client import transfers as client_transfers
from kernel_runner.errors import WorkspaceError
from tests.proxy import Proxy
from tests.running import RunnerProcess, connected, runner
from tests.wire import Client, Event

CONTENT = bytes(range(256)) * 4_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[tuple[RunnerProcess, Client]]:
    async with runner(tmp_path, "shell") as started, connected(started) as client:
        yield started, client


Talk = tuple[RunnerProcess, Client]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_transfers, "PIECE_BYTES", 100_000)


async def asked(client: Client, op: str, body: bytes = b"", **fields: object) -> Event:
    name = await client.say(op, body, **fields)
    while (event := await client.hear()).id != name:
        pass
    return event


async def send(client: Client, start: int, end: int, **fields: object) -> Event:
    options = {"path": "a/file", "offset": start, "sha256": DIGEST, "final": False, **fields}
    return await asked(client, "upload", CONTENT[start:end], **options)


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob(".kernel-runner-*.part"))


# The wire -----------------------------------------------------------------------------------------


async def test_an_upload_in_pieces_is_there_as_a_whole_after_the_last_one(talk: Talk) -> None:
    started, client = talk
    first = await send(client, 0, 500_000, executable=True)
    hidden = parts(started.work_dir)
    listed = await asked(client, "list-files", path="a")
    last = await send(client, 500_000, len(CONTENT), final=True)

    assert (first.kind, first.fields["size"]) == ("part", 500_000)
    assert (len(hidden), listed.fields["entries"]) == (1, [])
    assert last.kind == "ok"
    assert (started.work_dir / "a/file").read_bytes() == CONTENT
    assert (started.work_dir / "a/file").stat().st_mode & 0o100
    assert parts(started.work_dir) == []


async def test_an_upload_goes_on_where_it_has_ended(talk: Talk) -> None:
    started, client = talk
    await send(client, 0, 300_000)
    there = await send(client, 0, 0)
    again = await send(client, 200_000, 400_000)
    gap = await send(client, 600_000, len(CONTENT), final=True)
    last = await send(client, 400_000, len(CONTENT), final=True)
    twice = await send(client, 400_000, len(CONTENT), final=True)

    assert there.fields["size"] == 300_000
    assert again.fields["size"] == 400_000
    assert (gap.kind, gap.fields["code"]) == ("error", "bad-offset")
    assert gap.fields["hint"] == "go on at 400000"
    assert (last.kind, twice.kind) == ("ok", "ok")
    assert (started.work_dir / "a/file").read_bytes() == CONTENT
    assert parts(started.work_dir) == []


async def test_what_does_not_have_the_digest_is_removed_and_the_former_file_stays(
    talk: Talk,
) -> None:
    started, client = talk
    await asked(client, "upload", b"former", path="a/file")
    await send(client, 0, 300_000)
    wrong = await asked(
        client, "upload", b"other", path="a/file", offset=300_000, sha256=DIGEST, final=True
    )
    whole = await asked(client, "upload", b"other", path="a/file", sha256=DIGEST)

    assert (wrong.kind, wrong.fields["code"]) == ("error", "bad-digest")
    assert (whole.kind, whole.fields["code"]) == ("error", "bad-digest")
    assert (started.work_dir / "a/file").read_bytes() == b"former"
    assert parts(started.work_dir) == []


async def test_uploads_of_different_contents_to_one_name_do_not_meet(talk: Talk) -> None:
    started, client = talk
    other = CONTENT[::-1]
    fields = {"path": "a/file", "sha256": hashlib.sha256(other).hexdigest()}
    await send(client, 0, 300_000)
    await asked(client, "upload", other[:500], final=False, **fields)
    await send(client, 300_000, len(CONTENT), final=True)
    first = (started.work_dir / "a/file").read_bytes()
    await asked(client, "upload", other[500:], offset=500, **fields)

    assert first == CONTENT
    assert (started.work_dir / "a/file").read_bytes() == other


async def test_a_download_in_pieces_tells_size_and_digest_of_the_whole(talk: Talk) -> None:
    _, client = talk
    await asked(client, "upload", CONTENT, path="file")
    first = await asked(client, "download", path="file", length=1_000, digest=True)
    middle = await asked(client, "download", path="file", offset=1_000, length=1_000)
    end = await asked(client, "download", path="file", offset=len(CONTENT) - 10, length=1_000)
    beyond = await asked(client, "download", path="file", offset=1 << 62, length=1_000)

    assert (first.body, first.fields["size"]) == (CONTENT[:1_000], len(CONTENT))
    assert first.fields["sha256"] == DIGEST
    assert (middle.body, middle.fields["offset"]) == (CONTENT[1_000:2_000], 1_000)
    assert "sha256" not in middle.fields
    assert end.body == CONTENT[-10:]
    assert (beyond.kind, beyond.body) == ("file", b"")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"path": "x", "offset": 5}, "bad-request"),
        ({"path": "x", "final": False}, "bad-request"),
        ({"path": "x", "offset": -1}, "bad-request"),
        ({"path": "x", "sha256": "abc"}, "bad-request"),
        ({"path": "../x", "sha256": DIGEST, "final": False}, "bad-path"),
        ({"path": "/x", "sha256": DIGEST, "final": False}, "bad-path"),
        ({"path": ".", "sha256": DIGEST, "final": False}, "bad-path"),
        ({"path": "out/x", "sha256": DIGEST, "final": False}, "file-error"),
        ({"path": "x", "sha256": DIGEST, "offset": 1 << 62}, "bad-offset"),
    ],
)
async def test_a_piece_that_cannot_be_is_refused(
    talk: Talk, tmp_path: Path, fields: dict[str, object], code: str
) -> None:
    started, client = talk
    (started.work_dir / "out").symlink_to(tmp_path)
    refused = await asked(client, "upload", b"x", **fields)

    assert (refused.kind, refused.fields["code"]) == ("error", code)
    assert parts(tmp_path / "work") == []


async def test_links_fifos_and_folders_in_the_place_of_a_part_are_refused(talk: Talk) -> None:
    started, client = talk
    await send(client, 0, 10)
    (hidden,) = parts(started.work_dir)
    target = started.work_dir / "target"
    target.write_text("x")
    hidden.unlink()
    hidden.symlink_to(target)
    link = await send(client, 0, 10)
    hidden.unlink()
    hidden.mkdir()
    folder = await send(client, 0, 10)

    assert (link.kind, folder.kind) == ("error", "error")
    assert target.read_text() == "x"


async def test_one_who_does_not_read_gets_no_more_than_fits(talk: Talk) -> None:
    started, client = talk
    await asked(client, "upload", bytes(20 << 20), path="large")
    other = started.session()
    for number in range(100):  # 2 GB, if it were all made at once
        await other.say("download", path="large", id=f"d{number}")
    await asked(client, "status")
    listing = await asked(client, "list-files", path=".")
    peak_kib = _peak_kib((await asked(client, "status")).fields["pid"])
    other.close()

    assert [entry["name"] for entry in listing.fields["entries"]] == ["large"]
    assert peak_kib < 1_200_000


def _peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_unfinished_uploads_are_bounded_and_old_ones_given_up(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "MAX_PARTS", 2)
    files = workspace.Workspace(work)
    names = [workspace.part_of("file", digest)[0] for digest in "abc"]
    for name in names[:2]:
        files.write_part(name, b"x", offset=0, executable=False)
    with pytest.raises(WorkspaceError, match="2 uploads"):
        files.write_part(names[2], b"x", offset=0, executable=False)
    monkeypatch.setattr(workspace, "STALE_SECONDS", -1.0)
    files.write_part(names[2], b"x", offset=0, executable=False)

    assert [path.name for path in parts(work)] == [names[2]]


# The client ---------------------------------------------------------------------------------------


async def test_files_larger_than_a_message_go_both_ways_with_progress(tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(CONTENT)
    sent: list[Progress] = []
    received: list[Progress] = []
    async with launch("shell", options=["--max-body-bytes=70000"]) as kernel:
        await kernel.upload("there", tmp_path / "local", on_progress=sent.append)
        await kernel.download_to("there", tmp_path / "back", on_progress=received.append)
        content = await kernel.download("there")
        await kernel.upload("empty", b"")
        empty = await kernel.download("empty")

    assert (tmp_path / "back").read_bytes() == content == CONTENT
    assert empty == b""
    pieces = -(-len(CONTENT) // 70_000)
    for heard in (sent, received):
        assert [step.done_bytes for step in heard] == [
            min(number * 70_000, len(CONTENT)) for number in range(1, pieces + 1)
        ]
        assert {step.total_bytes for step in heard} == {len(CONTENT)}


@pytest.fixture
async def cut_off(tmp_path: Path) -> AsyncIterator[tuple[Proxy, RunnerProcess, Kernel]]:
    """A kernel behind a proxy."""
    async with runner(tmp_path, "shell") as started:
        proxy = Proxy(f"{tmp_path}/session")
        await proxy.open()
        async with connect(proxy.address) as kernel:
            yield proxy, started, kernel
        await proxy.close()


async def test_transfers_go_on_after_a_cut(
    cut_off: tuple[Proxy, RunnerProcess, Kernel], tmp_path: Path
) -> None:
    proxy, started, kernel = cut_off
    cuts = [300_000, 700_000]

    def cut(step: Progress) -> None:
        if cuts and step.done_bytes >= cuts[0]:
            cuts.pop(0)
            proxy.cut()

    await kernel.upload("file", CONTENT, on_progress=cut)
    assert (started.work_dir / "file").read_bytes() == CONTENT
    cuts += [300_000, 700_000]
    await kernel.download_to("file", tmp_path / "back", on_progress=cut)
    assert (tmp_path / "back").read_bytes() == CONTENT
    assert parts(started.work_dir) == []
    assert cuts == []


async def test_a_transfer_that_was_given_up_is_gone_on_with_by_the_next_one(
    tmp_path: Path,
) -> None:
    class Enough(Exception):
        pass

    def give_up(step: Progress) -> None:
        if step.done_bytes > 500_000:
            raise Enough

    heard: list[Progress] = []
    async with launch("shell") as kernel:
        with pytest.raises(Enough):
            await kernel.upload("file", CONTENT, on_progress=give_up)
        await kernel.upload("file", CONTENT, on_progress=heard.append)
        first_sent = heard[0].done_bytes
        with pytest.raises(Enough):
            await kernel.download_to("file", tmp_path / "back", on_progress=give_up)
        heard.clear()
        await kernel.download_to("file", tmp_path / "back", on_progress=heard.append)

    assert first_sent > 600_000
    assert heard[0].done_bytes > 600_000
    assert (tmp_path / "back").read_bytes() == CONTENT
    assert parts(tmp_path) == []


async def test_an_upload_whose_part_is_removed_begins_again(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell") as started:
        removed: list[Path] = []

        def remove(step: Progress) -> None:
            if not removed and step.done_bytes > 500_000:
                removed.extend(parts(started.work_dir))
                removed[0].unlink()

        async with connect(started.addresses["session"]) as kernel:
            await kernel.upload("file", CONTENT, on_progress=remove)

        assert (started.work_dir / "file").read_bytes() == CONTENT
        assert len(removed) == 1


async def test_a_file_that_changes_while_it_is_downloaded_is_told(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell") as started:
        local = started.work_dir / "file"
        local.write_bytes(CONTENT)

        def change(step: Progress) -> None:
            local.write_bytes(CONTENT[::-1])

        def shorten(step: Progress) -> None:
            local.write_bytes(b"")

        async with connect(started.addresses["session"]) as kernel:
            with pytest.raises(TransferBroken, match="changed while"):
                await kernel.download_to("file", tmp_path / "back", on_progress=change)
            with pytest.raises(TransferBroken, match="shorter"):
                await kernel.download_to("file", tmp_path / "back", on_progress=shorten)

        assert not (tmp_path / "back").exists()


async def test_what_is_appended_while_a_file_is_downloaded_does_no_harm(tmp_path: Path) -> None:
    async with runner(tmp_path, "shell") as started:
        local = started.work_dir / "log"
        local.write_bytes(CONTENT)

        def append(step: Progress) -> None:
            with local.open("ab") as file:
                file.write(b"more")

        async with connect(started.addresses["session"]) as kernel:
            await kernel.download_to("log", tmp_path / "back", on_progress=append)

        assert (tmp_path / "back").read_bytes() == CONTENT


async def test_many_transfers_at_once_do_not_mix(tmp_path: Path) -> None:
    contents = [bytes([number]) * (150_000 + number) for number in range(20)]
    async with launch("shell") as kernel:
        await asyncio.gather(
            *(kernel.upload(f"f{number}", content) for number, content in enumerate(contents)),
            *(kernel.upload("same", contents[0]) for _ in range(5)),
        )
        back = await asyncio.gather(*(kernel.download(f"f{number}") for number in range(20)))
        same = await kernel.download("same")
        with pytest.raises(RequestRefused, match="leads out"):
            await kernel.upload("../out", contents[0])

    assert back == contents
    assert same == contents[0]
