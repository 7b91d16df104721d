"""What a language model asks to run comes in; the text and pictures that it gets back go out.

The kernel is kept between the calls, so what one call defines is there in the next.
"""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from kernel_runner import Kernel, launch
from kernel_runner.client import RequestRefused, events

MAX_BYTES = 2_000
WALL_SECONDS = 10.0
Part: TypeAlias = Mapping[str, str]
"""A text or a picture, as interfaces of models have it."""


async def run_code(kernel: Kernel, code: str) -> Sequence[Part]:
    """The tool: at most `MAX_BYTES` of text, after at most `WALL_SECONDS`."""
    reply = kernel.query(code, stdin="none", wall_s=WALL_SECONDS)
    printed, ending, is_stopped = b"", "", False
    pictures: list[Part] = []
    async for event in reply:
        match event:
            case events.Output() if not is_stopped:
                printed += event.data
                if len(printed) > MAX_BYTES:
                    is_stopped = True
                    with suppress(RequestRefused):  # it has just ended
                        await reply.interrupt()
            case events.Media():
                pictures += pictures_in(event)
            case events.Finished(reason=reason) if reason not in ("completed", "error"):
                ending = "too much output" if is_stopped else event.message or reason
    text = printed[:MAX_BYTES].decode(errors="replace") + (f"\n[{ending}]" if ending else "")
    return [{"type": "text", "text": text.strip() or "(no output)"}, *pictures]


def pictures_in(media: events.Media) -> Sequence[Part]:
    """What was displayed, if it is a picture."""
    for mime, data in media.data.items():
        if mime.startswith("image/"):
            raw = data.encode() if isinstance(data, str) else data
            return [{"type": "image", "mime": mime, "base64": base64.b64encode(raw).decode()}]
    return []


CALLS = [
    "prices = [3, 5, 8]; sum(prices)",
    "max(prices)  # still there",
    "prices[7]",
    "while True: print('never ends')",
    "class Dot:\n    def _repr_svg_(self):\n        return '<svg></svg>'\nDot()",
    "len(prices)  # an interrupt keeps what was defined",
]
"""In place of a model: what it might ask for, one call after the other."""


async def main() -> None:
    async with launch("python") as kernel:
        for code in CALLS:
            print(">>>", code.splitlines()[0])
            for part in await run_code(kernel, code):
                match part["type"]:
                    case "text":
                        print(part["text"].splitlines()[-1])
                    case "image":
                        print(f"a picture: {part['mime']}")


if __name__ == "__main__":
    asyncio.run(main())
