"""Frames cut anywhere come in; whole frames go out, or the one error."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_runner.langs._frames import (
    MAX_HEADER_BYTES,
    Frame,
    FrameReader,
    MalformedFrame,
    encode,
)

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9)
NAMES = WORDS.filter(lambda word: "=" not in word)
FRAMES = st.builds(Frame, WORDS, st.binary(max_size=50), st.dictionaries(NAMES, WORDS, max_size=3))


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(1, 9), min_size=1))
def test_frames_are_put_together_from_any_cut(frames: list[Frame], cuts: list[int]) -> None:
    data = b"".join(encode(frame) for frame in frames)
    reader = FrameReader()
    found: list[Frame] = []
    turn = 0

    while data:
        size = cuts[turn % len(cuts)]
        found += reader.feed(data[:size])
        data, turn = data[size:], turn + 1

    assert found == frames


@given(st.lists(st.binary(max_size=40)))
def test_any_bytes_are_frames_or_the_one_error(pieces: list[bytes]) -> None:
    reader = FrameReader()
    with suppress(MalformedFrame):
        for piece in pieces:
            list(reader.feed(piece))


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"stdout\n",
        b"stdout x\n",
        b"stdout 1 key\n",
        b"\xff 0\n",
        b"stdout -1\n",
        b"x" * MAX_HEADER_BYTES,
        b"stdout 5.0\n",
        b"stdout -100\nabc",
    ],
)
def test_what_is_no_header_is_an_error(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        list(FrameReader().feed(data))


def test_a_frame_comes_as_soon_as_it_is_complete() -> None:
    reader = FrameReader()

    assert list(reader.feed(b"stdout 3\nab")) == []
    assert list(reader.feed(b"cdone 0 exit=1\n")) == [
        Frame("stdout", b"abc"),
        Frame("done", b"", {"exit": "1"}),
    ]
