"""A displayed object and a kind of terminal in; the bytes that show it there out.

A picture is drawn where the terminal can; else it is saved and its file is named.  Of an object
that is no picture its text is shown.  What comes from the program never reaches the terminal as
control characters.
"""

import base64
import enum
import fcntl
import os
import re
import select
import struct
import termios
import time
import tty
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kernel_runner.messages.events import Media

if TYPE_CHECKING:
    from PIL import Image

ANSWER_SECONDS: Final = 0.5
"""How long a terminal may take to say what it is."""
KITTY_CHUNK_BYTES: Final = 4_096
PNG: Final = b"\x89PNG\r\n\x1a\n"
PICTURES: Final = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/svg+xml": ".svg",
    "application/pdf": ".pdf",
}
"""What is drawn or saved, the best one first."""
TEXTS: Final = ("text/plain", "text/markdown", "text/latex", "application/json")
"""What is printed where there is no picture; anything else is saved."""
CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
MAX_SIXEL_WIDTH: Final = 800
MAX_PIXELS: Final = 50_000_000


class Protocol(enum.Enum):
    """How a terminal takes pictures."""

    NONE = enum.auto()
    KITTY = enum.auto()
    ITERM2 = enum.auto()
    SIXEL = enum.auto()


@dataclass(frozen=True, slots=True)
class TerminalKind:
    """What a terminal can show; sizes are 0 when it does not say."""

    protocol: Protocol = Protocol.NONE
    columns: int = 0
    width_pixels: int = 0


def terminal_kind(environ: Mapping[str, str], input_fd: int, output_fd: int) -> TerminalKind:
    """What stands behind these descriptors; it is asked, if need be, for half a second at most."""
    if not (os.isatty(input_fd) and os.isatty(output_fd)):
        return TerminalKind()
    protocol = _by_environment(environ)
    knows_escapes = environ.get("TERM", "dumb") != "dumb"
    if protocol is Protocol.NONE and knows_escapes and _has_sixel(input_fd, output_fd):
        protocol = Protocol.SIXEL
    size = fcntl.ioctl(output_fd, termios.TIOCGWINSZ, bytes(8))
    _, columns, width_pixels, _ = struct.unpack("HHHH", size)
    return TerminalKind(protocol, columns, width_pixels)


def show(media: Media, terminal: TerminalKind, folder: Path) -> bytes:
    """What to write to the terminal; lines end as a program's do.

    Args:
        folder: where a picture goes that cannot be drawn.
    """
    for mime, ending in PICTURES.items():
        if mime in media.data:
            content = _content(media, mime)
            return drawn(content, terminal) or _saved(content, folder, "plot", ending)
    for mime in TEXTS:
        if mime in media.data:
            return _content(media, mime, safe=True) + b"\n"
    for mime in media.data:
        return _saved(_content(media, mime), folder, "output", _ending(mime))
    return b""


def printable(text: str) -> str:
    """The text with every control character, but tab and newline, written out."""
    return CONTROLS.sub(lambda match: repr(match[0])[1:-1], text)


def _content(media: Media, mime: str, *, safe: bool = False) -> bytes:
    content = media.data[mime]
    if safe:
        text = content if isinstance(content, str) else content.decode(errors="replace")
        return printable(text).encode(errors="replace")
    return content.encode(errors="replace") if isinstance(content, str) else content


def _ending(mime: str) -> str:
    """`.html` for ``text/html``; nothing of the type but letters and digits."""
    letters = re.sub(r"[^a-z0-9]", "", mime.lower().partition("/")[2].partition("+")[0])
    return f".{letters[:16] or 'bin'}"


def _saved(content: bytes, folder: Path, stem: str, ending: str) -> bytes:
    for number in range(1, 100_000):
        try:
            with (folder / f"{stem}-{number}{ending}").open("xb") as file:
                file.write(content)
        except FileExistsError:
            continue
        except OSError as error:
            return f"[{stem}{ending} could not be saved here: {error.strerror}]\n".encode()
        return f"[saved as {stem}-{number}{ending}]\n".encode()
    return f"[not saved: there are too many files {stem}-N{ending} here]\n".encode()


# Which terminal ------------------------------------------------------------------------------


def _by_environment(environ: Mapping[str, str]) -> Protocol:
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if "TMUX" in environ or term.startswith(("screen", "tmux")):
        return Protocol.NONE  # the names are those of the terminal around it
    if term in ("xterm-kitty", "xterm-ghostty") or "KITTY_WINDOW_ID" in environ:
        return Protocol.KITTY
    if program == "ghostty":
        return Protocol.KITTY
    if program in ("iTerm.app", "WezTerm", "mintty") or "WEZTERM_PANE" in environ:
        return Protocol.ITERM2
    if environ.get("LC_TERMINAL") == "iTerm2":
        return Protocol.ITERM2
    return Protocol.NONE


def _has_sixel(input_fd: int, output_fd: int) -> bool:
    """Ask the terminal for its attributes: 4 among them is sixel."""
    before = termios.tcgetattr(input_fd)
    try:
        tty.setcbreak(input_fd, termios.TCSANOW)
        os.write(output_fd, b"\x1b[c")
        answer = _read_answer(input_fd)
    finally:
        termios.tcsetattr(input_fd, termios.TCSANOW, before)
    return b"4" in answer.split(b";")[1:]


def _read_answer(fd: int) -> bytes:
    """``?62;4;22`` of ``ESC [ ? 62 ; 4 ; 22 c``; empty when none came in time."""
    heard = b""
    end = time.monotonic() + ANSWER_SECONDS
    while (left := end - time.monotonic()) > 0 and select.select([fd], [], [], left)[0]:
        piece = os.read(fd, 1_024)
        heard += piece
        if answer := re.search(rb"\x1b\[(\?[0-9;]*)c", heard):
            return answer[1]
        if not piece:
            break
    return b""


# How it takes a picture ----------------------------------------------------------------------


def drawn(picture: bytes, terminal: TerminalKind) -> bytes | None:
    """The escape sequences that draw a picture; None where that cannot be done."""
    match terminal.protocol:
        case Protocol.KITTY if (png := _as_png(picture)) is not None:
            return kitty(png, terminal)
        case Protocol.ITERM2 if picture.startswith((PNG, b"\xff\xd8\xff", b"GIF8")):
            return iterm2(picture)
        case Protocol.SIXEL:
            return sixel(picture, terminal)
    return None


def kitty(png: bytes, terminal: TerminalKind) -> bytes:
    """The graphics protocol of kitty; a picture wider than the terminal is made smaller."""
    text = base64.b64encode(png)
    pieces = [text[i : i + KITTY_CHUNK_BYTES] for i in range(0, len(text), KITTY_CHUNK_BYTES)]
    width = int.from_bytes(png[16:20], "big")
    fit = f",c={terminal.columns}" if 0 < terminal.width_pixels < width else ""
    keys = f"a=T,f=100,q=2{fit},"  # q=2: no answer, which would look like typed text
    commands = []
    for number, piece in enumerate(pieces, 1):
        commands.append(b"\x1b_G%sm=%d;%s\x1b\\" % (keys.encode(), number < len(pieces), piece))
        keys = ""
    return b"".join(commands) + b"\n"


def iterm2(picture: bytes) -> bytes:
    """The inline images of iTerm2; it fits them into the window itself."""
    text = base64.b64encode(picture)
    return b"\x1b]1337;File=inline=1;size=%d:%s\a\n" % (len(picture), text)


def sixel(picture: bytes, terminal: TerminalKind) -> bytes | None:
    """Sixel graphics with up to 255 colours; None without Pillow, or when it cannot read it."""
    try:
        from PIL import Image
    except ImportError:
        return None
    if (image := _opened(picture)) is None:
        return None
    width = min(image.width, terminal.width_pixels or MAX_SIXEL_WIDTH)
    image = image.resize((width, max(1, image.height * width // image.width)))
    paper = Image.new("RGBA", image.size, "white")  # plots have black letters
    paper.alpha_composite(image)
    indexed = paper.convert("RGB").quantize(255, dither=Image.Dither.NONE)
    palette = indexed.getpalette() or []
    pixels = indexed.tobytes()
    colours = b"".join(
        b"#%d;2;%d;%d;%d" % (i, *(round(c * 100 / 255) for c in palette[3 * i : 3 * i + 3]))
        for i in sorted(set(pixels))
    )
    bands = b"-".join(_bands(pixels, width))
    return b'\x1bP0;1;0q"1;1;%d;%d%s%s\x1b\\\n' % (width, image.height, colours, bands)


def _opened(picture: bytes) -> "Image.Image | None":
    import io

    from PIL import Image

    try:
        image = Image.open(io.BytesIO(picture), formats=("PNG", "JPEG", "GIF", "WEBP"))
        return image.convert("RGBA") if image.width * image.height <= MAX_PIXELS else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _as_png(picture: bytes) -> bytes | None:
    """The only format that kitty takes; others are converted where Pillow is."""
    if picture.startswith(PNG):
        return picture
    try:
        import PIL  # noqa: F401
    except ImportError:
        return None
    import io

    if (image := _opened(picture)) is None:
        return None
    image.save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def _bands(pixels: bytes, width: int) -> Iterator[bytes]:
    """Six rows at a time: for each colour its columns, one above the other."""
    rows = [pixels[i : i + width] for i in range(0, len(pixels), width)]
    for top in range(0, len(rows), 6):
        band = rows[top : top + 6]
        colours = sorted(set(b"".join(band)))
        yield b"$".join(b"#%d%s" % (colour, _columns(band, colour)) for colour in colours)


def _columns(band: list[bytes], colour: int) -> bytes:
    """One character for each column, with a bit for each row that has the colour there."""
    bits = 0
    for row, pixels in enumerate(band):
        bits |= int.from_bytes(pixels.translate(_only(colour, 1 << row)), "big")
    characters = bits.to_bytes(len(band[0]), "big").translate(_SIXELS).rstrip(b"?")
    return re.sub(rb"(.)\1{3,}", lambda m: b"!%d%s" % (len(m[0]), m[1]), characters)


@cache
def _only(colour: int, bit: int) -> bytes:
    """A table for `bytes.translate`: `bit` for the colour, 0 for all others."""
    return bytes(bit if index == colour else 0 for index in range(256))


_SIXELS: Final = bytes((index + 63) & 255 for index in range(256))
