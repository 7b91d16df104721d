"""File names come in, good and evil; only files of the work directory are touched."""

import os
import threading
from pathlib import Path

import pytest

from kernel_runner import workspace as workspace_module
from kernel_runner.errors import WorkspaceError
from kernel_runner.workspace import Workspace

EVIL = ["../x", "a/../../x", "/etc/passwd", "..", "a/..", "//x", "x\0y", "\0", "/"]
NAMELESS = ["", ".", "./", "./."]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "work"
    root.mkdir()
    return Workspace(root)


def code_of(error: pytest.ExceptionInfo[WorkspaceError]) -> str:
    return error.value.code


def content(workspace: Workspace, name: str) -> bytes:
    return workspace.read(name)[0]


@pytest.mark.parametrize("name", EVIL)
def test_a_name_that_leads_out_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(WorkspaceError) as written:
        workspace.write(name, b"x", executable=False)
    with pytest.raises(WorkspaceError) as read:
        workspace.read(name)
    with pytest.raises(WorkspaceError) as listed:
        workspace.entries(name)

    assert {code_of(written), code_of(read), code_of(listed)} == {"bad-path"}
    assert workspace.entries(".") == []


@pytest.mark.parametrize("name", NAMELESS)
def test_a_name_of_no_file_is_refused_and_lists_the_work_directory(
    workspace: Workspace, name: str
) -> None:
    with pytest.raises(WorkspaceError) as written:
        workspace.write(name, b"x", executable=False)

    assert code_of(written) == "bad-path"
    assert workspace.entries(name) == []


@pytest.mark.parametrize("name", ["\ud800", "x" * 256, "a/" * 3_000 + "x"])
def test_whatever_the_name_is_the_error_is_a_workspace_error(
    workspace: Workspace, name: str
) -> None:
    with pytest.raises(WorkspaceError):
        workspace.read(name)


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "中" * 85, "a b\nc", "-rf", "~", "*"])
def test_every_name_that_the_file_system_takes_can_be_written_and_read(
    workspace: Workspace, name: str
) -> None:
    workspace.write(name, b"data", executable=False)

    assert content(workspace, name) == b"data"
    assert [entry.name for entry in workspace.entries(".")] == [name]


def test_a_link_in_the_middle_leads_nowhere(workspace: Workspace, outside: Path) -> None:
    (workspace.root / "link").symlink_to(outside)

    for name in ("link/secret", "link/new", "link/deep/new"):
        with pytest.raises(WorkspaceError):
            workspace.write(name, b"x", executable=False)
        with pytest.raises(WorkspaceError):
            workspace.read(name)
    with pytest.raises(WorkspaceError):
        workspace.entries("link")
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


def test_a_link_at_the_end_is_not_read_and_is_replaced_by_a_write(
    workspace: Workspace, outside: Path
) -> None:
    (workspace.root / "link").symlink_to(outside / "secret")

    with pytest.raises(WorkspaceError):
        workspace.read("link")
    workspace.write("link", b"ours", executable=False)

    assert content(workspace, "link") == b"ours"
    assert (outside / "secret").read_text() == "secret"


def test_a_fifo_in_the_way_is_left_there_and_holds_up_no_write(workspace: Workspace) -> None:
    os.mkfifo(workspace.root / "pipe")
    workspace.write_part(".part", b"ours", offset=0, executable=False)

    with pytest.raises(WorkspaceError) as written:
        workspace.write("pipe", b"ours", executable=False)
    with pytest.raises(WorkspaceError) as renamed:
        workspace.rename(".part", "pipe")

    assert [written.value.code, renamed.value.code] == ["not-a-file"] * 2
    assert workspace.root.joinpath("pipe").is_fifo()
    assert sorted(path.name for path in workspace.root.iterdir()) == [".part", "pipe"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder/../file", "may not contain '..'"),
        ("/file", "leads out of the work directory"),
        ("fi\0le", "may not contain a null character"),
    ],
)
def test_a_name_that_is_refused_is_told_why(workspace: Workspace, name: str, sentence: str) -> None:
    with pytest.raises(WorkspaceError, match=sentence) as refused:
        workspace.read(name)
    assert refused.value.code == "bad-path"


def test_links_are_listed_as_links(workspace: Workspace, outside: Path) -> None:
    (workspace.root / "link").symlink_to(outside / "secret")
    os.mkfifo(workspace.root / "pipe")
    (workspace.root / "folder").mkdir()
    workspace.write("file", b"123", executable=True)

    found = workspace.entries(".")

    assert [(entry.name, entry.kind) for entry in found] == [
        ("file", "file"),
        ("folder", "folder"),
        ("link", "link"),
        ("pipe", "other"),
    ]
    assert found[0].size == 3
    assert found[0].mode & 0o100


def test_a_race_for_a_link_never_leads_out(workspace: Workspace, outside: Path) -> None:
    inside = workspace.root / "inside"
    inside.mkdir()
    (inside / "secret").write_text("inside")
    swap = workspace.root / "swap"
    stop = threading.Event()

    def swap_to_and_fro() -> None:
        while not stop.is_set():
            for target in (inside, outside):
                new = workspace.root / "new"
                new.symlink_to(target)
                new.replace(swap)
            swap.unlink()
            swap.mkdir()
            (swap / "secret").write_text("inside")
            (swap / "secret").unlink()
            swap.rmdir()

    thread = threading.Thread(target=swap_to_and_fro)
    thread.start()
    seen = set()
    try:
        for _ in range(2_000):
            try:
                seen.add(content(workspace, "swap/secret"))
            except WorkspaceError:
                seen.add(b"refused")
    finally:
        stop.set()
        thread.join()

    assert b"secret" not in seen
    assert b"refused" in seen


def test_a_fifo_is_refused_at_once(workspace: Workspace) -> None:
    os.mkfifo(workspace.root / "pipe")

    with pytest.raises(WorkspaceError) as error:
        workspace.read("pipe")

    assert code_of(error) == "not-a-file"


def test_a_device_is_refused(workspace: Workspace) -> None:
    try:
        os.mknod(workspace.root / "zero", 0o20666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")

    with pytest.raises(WorkspaceError) as error:
        workspace.read("zero")

    assert code_of(error) in ("not-a-file", "file-error")


def test_a_file_that_is_too_large_is_refused_without_being_read(workspace: Workspace) -> None:
    with (workspace.root / "sparse").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(WorkspaceError) as error:
        workspace.read("sparse")

    assert code_of(error) == "too-large"


def test_a_missing_file_is_told_from_one_that_cannot_be_read(workspace: Workspace) -> None:
    (workspace.root / "folder").mkdir()

    with pytest.raises(WorkspaceError) as missing:
        workspace.read("nothing")
    with pytest.raises(WorkspaceError) as folder:
        workspace.read("folder")

    assert code_of(missing) == "not-found"
    assert code_of(folder) == "not-a-file"


def test_a_write_makes_its_folders_and_replaces_the_file_as_a_whole(workspace: Workspace) -> None:
    workspace.write("a/b/c.txt", b"a long first version", executable=False)
    before = (workspace.root / "a/b/c.txt").open("rb")
    with before:
        workspace.write("a/b/c.txt", b"second", executable=True)

        assert before.read() == b"a long first version"
    assert content(workspace, "a/b/c.txt") == b"second"
    assert os.access(workspace.root / "a/b/c.txt", os.X_OK)
    assert [entry.name for entry in workspace.entries("a/b")] == ["c.txt"]


def test_a_write_that_fails_leaves_nothing_behind(workspace: Workspace) -> None:
    (workspace.root / "folder").mkdir()

    with pytest.raises(WorkspaceError):
        workspace.write("folder", b"x", executable=False)

    assert [entry.name for entry in workspace.entries(".")] == ["folder"]


def test_of_two_writes_at_once_one_wins_as_a_whole(workspace: Workspace) -> None:
    contents = [bytes([letter]) * 3_000_000 for letter in b"abcd"]
    failures: list[BaseException] = []

    def write(data: bytes) -> None:
        try:
            workspace.write("same", data, executable=False)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert content(workspace, "same") in contents


def test_sources_are_sorted_and_hidden_folders_left_out(workspace: Workspace) -> None:
    for name in ("b.c", "a/z.c", "a.h", ".hidden/x.c", "c/y.C", "z.c"):
        workspace.write(name, b"", executable=False)
    (workspace.root / "folder.c").mkdir()
    (workspace.root / "dangling.c").symlink_to("nowhere")

    found = workspace.sources(".c")

    assert [str(path.relative_to(workspace.root)) for path in found] == ["a/z.c", "b.c", "z.c"]


def test_descriptors_are_not_left_open(workspace: Workspace) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    (workspace.root / "folder").mkdir()
    for name in ("a/b/c", "../x", "folder", "folder/missing/x"):
        for call in (workspace.read, workspace.entries):
            try:
                call(name)
            except WorkspaceError:
                continue
    workspace.write("a/b/c", b"", executable=False)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_read_at_most_is_more_than_what_may_be_sent_at_most() -> None:
    assert workspace_module.MAX_READ_BYTES >= 64 << 20
