"""A displayed object and a kind of terminal come in; what is written to the terminal goes out."""

import base64
import io
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from kernel_runner.cli import media
from kernel_runner.cli.media import Protocol, TerminalKind, show, terminal_kind
from kernel_runner.messages.events import Media
from tests.tools import require_tool

NOTHING = TerminalKind()
KITTY = TerminalKind(Protocol.KITTY, columns=80)
ITERM2 = TerminalKind(Protocol.ITERM2)
SIXEL = TerminalKind(Protocol.SIXEL)


def picture(width: int = 40, height: int = 20, kind: str = "PNG") -> bytes:
    """Red on the left, blue on the right; one corner can be seen through, if the format can."""
    image = Image.new("RGBA", (width, height), (255, 0, 0, 255))
    image.paste((0, 0, 255, 255), (width // 2, 0, width, height))
    image.putpixel((0, height - 1), (0, 0, 0, 0))
    if kind != "PNG":
        image = image.convert("RGB")
    image.save(file := io.BytesIO(), kind)
    return file.getvalue()


def kitty_payload(shown: bytes) -> bytes:
    return base64.b64decode(b"".join(re.findall(rb"\x1b_G[^;]*;([^\x1b]*)\x1b\\", shown)))


# Which terminal ------------------------------------------------------------------------------


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The person's side and the program's side of a terminal."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("environ", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Protocol.KITTY),
        ({"TERM": "xterm-ghostty"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Protocol.ITERM2),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, Protocol.ITERM2),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Protocol.ITERM2),
        ({"TERM": "dumb"}, Protocol.NONE),
        ({}, Protocol.NONE),
    ],
)
def test_terminals_that_say_so_in_the_environment_are_known(
    environ: dict[str, str], protocol: Protocol, terminal: tuple[int, int]
) -> None:
    _, theirs = terminal

    assert terminal_kind(environ, theirs, theirs).protocol is protocol


@pytest.mark.parametrize(
    ("answer", "protocol"),
    [
        (b"\x1b[?62;4;22c", Protocol.SIXEL),
        (b"\x1b[?64;1;2;4c", Protocol.SIXEL),
        (b"typed\x1b[?65;4c", Protocol.SIXEL),
        (b"\x1b[?1;2c", Protocol.NONE),
        (b"\x1b[?62;44c", Protocol.NONE),
        (b"", Protocol.NONE),
    ],
)
def test_other_terminals_are_asked_whether_they_have_sixel(
    answer: bytes, protocol: Protocol, terminal: tuple[int, int]
) -> None:
    ours, theirs = terminal
    os.write(ours, answer)

    kind = terminal_kind({"TERM": "xterm"}, theirs, theirs)

    assert kind.protocol is protocol
    heard = b""
    while b"\x1b[c" not in heard:  # the echo of what was typed may come by itself
        heard += os.read(ours, 1_024)


def test_the_names_of_the_terminal_around_tmux_do_not_count(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    os.write(ours, b"\x1b[?1;2c")
    environ = {"TERM": "tmux-256color", "TMUX": "/tmp/t", "KITTY_WINDOW_ID": "1"}

    assert terminal_kind(environ, theirs, theirs).protocol is Protocol.NONE


def test_a_pipe_is_never_asked(terminal: tuple[int, int], tmp_path: Path) -> None:
    _, theirs = terminal
    with (tmp_path / "out").open("wb") as file:
        kind = terminal_kind({"TERM": "xterm-kitty"}, theirs, file.fileno())

    assert kind == NOTHING
    assert (tmp_path / "out").read_bytes() == b""


# Drawing -------------------------------------------------------------------------------------


def test_kitty_gets_the_picture_in_pieces_of_at_most_4096_bytes(tmp_path: Path) -> None:
    noise = Image.frombytes("RGB", (100, 100), os.urandom(30_000))
    noise.save(file := io.BytesIO(), "PNG")

    shown = show(Media({"image/png": file.getvalue()}), KITTY, tmp_path)

    keys = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", shown)
    assert kitty_payload(shown) == file.getvalue()
    assert [part[-3:] for part, _ in keys] == [b"m=1"] * (len(keys) - 1) + [b"m=0"]
    assert max(len(piece) for _, piece in keys) <= 4_096
    assert keys[0][0].startswith(b"a=T,f=100,q=2,")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_wider_than_the_terminal_is_fitted_into_its_columns() -> None:
    narrow = TerminalKind(Protocol.KITTY, columns=80, width_pixels=39)

    assert b",c=80," in (media.drawn(picture(), narrow) or b"")
    assert b",c=80," not in (media.drawn(picture(), KITTY) or b"")


def test_kitty_gets_other_formats_as_png() -> None:
    shown = media.drawn(picture(kind="JPEG"), KITTY)

    assert shown is not None
    assert Image.open(io.BytesIO(kitty_payload(shown))).size == (40, 20)


def test_iterm2_gets_the_picture_whole() -> None:
    shown = media.drawn(picture(), ITERM2)

    assert shown is not None
    assert shown.startswith(b"\x1b]1337;File=inline=1;size=%d:" % len(picture()))
    assert base64.b64decode(shown.partition(b":")[2].rstrip(b"\a\n")) == picture()


def test_sixel_is_read_by_another_program_as_the_same_picture(tmp_path: Path) -> None:
    require_tool("sixel2png")
    shown = media.drawn(picture(), SIXEL)
    assert shown is not None
    (tmp_path / "in.six").write_bytes(shown)

    words = ["sixel2png", "-i", str(tmp_path / "in.six"), "-o", str(tmp_path / "out.png")]
    subprocess.run(words, check=True)

    with Image.open(tmp_path / "out.png") as image:
        colours = image.convert("RGB")
    assert colours.size == (40, 20)
    assert [colours.getpixel(at) for at in ((1, 1), (39, 19), (19, 7), (20, 7), (0, 19))] == [
        (255, 0, 0),
        (0, 0, 255),
        (255, 0, 0),
        (0, 0, 255),
        (255, 255, 255),
    ]


def test_sixel_of_two_colours_is_short_and_says_its_size() -> None:
    shown = media.drawn(picture(), SIXEL)

    assert shown is not None
    assert shown.startswith(b'\x1bP0;1;0q"1;1;40;20#')
    assert shown.endswith(b"\x1b\\\n")
    assert b"!20~" in shown
    assert len(shown) < 400


def test_sixel_pictures_are_made_as_narrow_as_the_terminal() -> None:
    shown = media.drawn(picture(1_000, 100), TerminalKind(Protocol.SIXEL, 80, 500))

    assert shown is not None
    assert b'"1;1;500;50#' in shown


# Saving --------------------------------------------------------------------------------------


def test_a_picture_that_cannot_be_drawn_is_saved_and_named(tmp_path: Path) -> None:
    shown = Media({"text/plain": "<Figure>", "image/png": picture()})

    assert show(shown, NOTHING, tmp_path) == b"[saved as plot-1.png]\n"
    assert (tmp_path / "plot-1.png").read_bytes() == picture()


def test_no_file_is_ever_overwritten(tmp_path: Path) -> None:
    (tmp_path / "plot-1.png").write_text("mine")
    (tmp_path / "plot-2.png").symlink_to(tmp_path / "nowhere")

    shown = show(Media({"image/png": b"\x89PNG"}), NOTHING, tmp_path)

    assert shown == b"[saved as plot-3.png]\n"
    assert (tmp_path / "plot-1.png").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("terminal", [KITTY, ITERM2, SIXEL])
def test_what_only_says_that_it_is_a_picture_is_saved(
    terminal: TerminalKind, tmp_path: Path
) -> None:
    shown = show(Media({"image/png": b"no picture\x1b[2J"}), terminal, tmp_path)

    assert shown == b"[saved as plot-1.png]\n"


def test_a_broken_picture_is_saved_where_it_has_to_be_decoded(tmp_path: Path) -> None:
    assert show(Media({"image/png": picture()[:60]}), SIXEL, tmp_path) == b"[saved as plot-1.png]\n"


def test_drawings_and_pages_are_saved_with_their_endings(tmp_path: Path) -> None:
    assert show(Media({"image/svg+xml": "<svg/>"}), KITTY, tmp_path) == b"[saved as plot-1.svg]\n"
    assert show(Media({"text/html": "<b>"}), KITTY, tmp_path) == b"[saved as output-1.html]\n"
    assert (tmp_path / "plot-1.svg").read_text() == "<svg/>"


def test_the_ending_of_a_strange_type_has_letters_only(tmp_path: Path) -> None:
    shown = show(Media({"x/../../\x1b[2Jé": b"1"}), NOTHING, tmp_path)

    assert shown == b"[saved as output-1.2j]\n"
    assert [file.name for file in tmp_path.iterdir()] == ["output-1.2j"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    shown = show(Media({"image/png": picture()}), NOTHING, tmp_path / "missing")

    assert shown == b"[plot.png could not be saved here: No such file or directory]\n"


# Texts ---------------------------------------------------------------------------------------


def test_of_an_object_that_is_no_picture_the_text_is_shown(tmp_path: Path) -> None:
    shown = show(Media({"text/html": "<b>x</b>", "text/plain": "x\ty\nz"}), KITTY, tmp_path)

    assert shown == b"x\ty\nz\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["\x1b]0;title\a", "\x1b[2J", "\x9b2J", "\r\x08", "\u202e", "\x1b_Ga=T;AAAA\x1b\\"]
)
def test_control_characters_of_a_text_do_not_reach_the_terminal(text: str, tmp_path: Path) -> None:
    shown = show(Media({"text/plain": text}), KITTY, tmp_path).decode()

    assert shown.rstrip("\n").isprintable()


def test_nothing_to_show_is_nothing(tmp_path: Path) -> None:
    assert show(Media({}), KITTY, tmp_path) == b""
