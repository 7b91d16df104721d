"""`python -m tests.fuzz TARGET SECONDS`: messages that the fuzzer thinks of come in.

The first one that breaks the target is written to .fuzz/, and the exit code is not 0; what was new
is kept there for the next time.  The last line has the number of executions and the coverage.
"""

import random
import sys
from pathlib import Path
from typing import Any, Final

import atheris
import msgpack

with atheris.instrument_imports(include=["kernel_runner.messages"]):
    from tests.fuzz import targets

from tests.fuzz import seeds

FOLDER: Final = Path(".fuzz")
MAX_BYTES: Final = 4_096
SEEDS: Final = [*seeds.session_requests(), *seeds.session_events()]
KEYS: Final = [msgpack.unpackb(word) for word in seeds.words() if not word.startswith(b'"')]
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2, 2**31, 2**63, 2**64 - 1, -(2**63), 1.0, 1.5, -0.0),
    *(float("nan"), float("inf"), "", "r1", "x" * 64, "x" * 65, "\0", b"", b"\xff", [], {}, [[]]),
    *(["x"], {"x": "y"}, {"rows": 1, "cols": 1}, {"wall_s": 1}, {"": {"": []}}, {b"x": 1}),
    *(msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 1)),
)


def mutate(data: bytes, max_bytes: int, seed: int) -> bytes:
    """Often the header as a map that has changed, else the bytes as the fuzzer would."""
    dice = random.Random(seed)
    header, body = targets.session_frames(data)
    try:
        fields: Any = msgpack.unpackb(header, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException):
        fields = None
    if not isinstance(fields, dict) or dice.random() < 0.3:
        return bytes(atheris.Mutate(data, max_bytes))
    if dice.random() < 0.3:  # the code that is run does not tell it one op from another
        header, body = targets.session_frames(dice.choice(SEEDS))
        fields = msgpack.unpackb(header)
    for _ in range(dice.randint(1, 3)):
        key = dice.choice([*fields, *KEYS])
        if dice.random() < 0.2:
            fields.pop(key, None)
        else:
            fields[key] = dice.choice([*VALUES, *fields.values(), *KEYS])
    try:
        return bytes(msgpack.packb(fields) + body)[:max_bytes]
    except (ValueError, OverflowError):  # too deep
        return data


def main(name: str, seconds: str) -> None:
    corpus = FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds.SEEDS[name]()):
        (corpus / f"seed-{number}").write_bytes(seed)
    dictionary = FOLDER / "words"
    escaped = ["".join(f"\\x{byte:02x}" for byte in word) for word in seeds.words()]
    dictionary.write_text("".join(f'"{word}"\n' for word in escaped))
    options = [
        *(f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-dict={dictionary}"),
        *(f"-artifact_prefix={FOLDER}/{name}-", "-print_final_stats=1", "-timeout=10"),
    ]
    mutator = {"custom_mutator": mutate} if name.startswith("session") else {}
    atheris.Setup([sys.argv[0], *options, str(corpus)], targets.TARGETS[name], **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
