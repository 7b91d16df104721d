"""`python -m tests.fuzz SECONDS [TARGET]`: messages that the fuzzer thinks of come in.

Each target has its share of the seconds.  The first message that breaks one is written to .fuzz/,
and the exit code is not 0; what was new is kept there for the next time.
"""

import random
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import atheris
import msgpack

with atheris.instrument_imports(include=["kernel_runner.messages"]):
    from tests.fuzz import targets

from tests.fuzz import seeds

FOLDER: Final = Path(".fuzz")
MAX_BYTES: Final = 4_096
KEYS: Final = [msgpack.unpackb(word) for word in seeds.words() if not word.startswith(b'"')]
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2, 2**31, 2**63, 2**64 - 1, -(2**63), 1.0, 1.5, -0.0),
    *(float("nan"), float("inf"), "", "r1", "x" * 64, "x" * 65, "\0", b"", b"\xff", [], {}, [[]]),
    *(["x"], {"x": "y"}, {"rows": 1, "cols": 1}, {"wall_s": 1}, {"": {"": []}}, {b"x": 1}),
    *(msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 1)),
)


def mutator(first: Sequence[bytes]) -> Callable[[bytes, int, int], bytes]:
    """Often the header as a map that has changed, else the bytes as the fuzzer would.

    Args:
        first: messages to begin with anew, as the code that is run does not tell one op from
            another, so the fuzzer forgets most of them.
    """

    def mutate(data: bytes, max_bytes: int, seed: int) -> bytes:
        dice = random.Random(seed)
        if dice.random() < 0.3:
            return bytes(atheris.Mutate(data, max_bytes))
        header, body = targets.session_frames(dice.choice(first) if dice.random() < 0.5 else data)
        try:
            fields: Any = msgpack.unpackb(header)
            changed = {**fields, **_changes(dice, fields)}
            return bytes(msgpack.packb(changed) + body)[:max_bytes]
        except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
            return bytes(atheris.Mutate(data, max_bytes))

    return mutate


def _changes(dice: random.Random, fields: dict[str, object]) -> dict[str, object]:
    """Other values for some fields, most of them such as are there."""
    changes = {}
    for _ in range(dice.randint(1, 3)):
        name = dice.choice([*fields] if fields and dice.random() < 0.7 else KEYS)
        value = dice.choice(VALUES if dice.random() < 0.7 else KEYS)
        changes[name] = dice.choice([value, value, [value], {"x": value}])
    return changes


def fuzz(name: str, seconds: int) -> None:
    """Never returns: the fuzzer ends the process."""
    corpus = FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    first = [*seeds.SEEDS[name]()]
    for number, seed in enumerate(first):
        (corpus / f"seed-{number}").write_bytes(seed)
    dictionary = FOLDER / f"{name}-words"
    escaped = ["".join(f"\\x{byte:02x}" for byte in word) for word in seeds.words()]
    dictionary.write_text("".join(f'"{word}"\n' for word in escaped))
    options = [
        *(f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-dict={dictionary}"),
        *(f"-artifact_prefix={FOLDER}/{name}-", "-timeout=10"),
    ]
    special = {"custom_mutator": mutator(first)} if name.startswith("session") else {}
    atheris.Setup([sys.argv[0], *options, str(corpus)], targets.TARGETS[name], **special)
    atheris.Fuzz()


def fuzz_all(seconds: int) -> int:
    """The first exit code that is not 0, else 0."""
    FOLDER.mkdir(exist_ok=True)
    for name in targets.TARGETS:
        share = max(seconds // len(targets.TARGETS), 1)
        log = FOLDER / f"{name}.log"
        with log.open("wb") as output:
            command = [sys.executable, "-m", "tests.fuzz", str(share), name]
            ended = subprocess.run(command, check=False, stdout=output, stderr=output)
        text = log.read_text(errors="replace")
        done = re.search(r"#(\d+)\s+DONE\s+cov: (\d+)", text)
        if ended.returncode or done is None:
            print(text[-5_000:])
            return ended.returncode or 1
        print(f"{name}: {share} s, {done[1]} messages, {done[2]} edges of the code", flush=True)
    return 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case [seconds]:
            sys.exit(fuzz_all(int(seconds)))
        case [seconds, name]:
            fuzz(name, int(seconds))
        case _:
            sys.exit(__doc__)
