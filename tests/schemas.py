"""Headers on the wire come in; how they differ from docs/schemas goes out.

`python -m tests.schemas` writes the schemas anew, from the types.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from kernel_runner.messages import schema

Direction: TypeAlias = Literal["requests", "events"]

FOLDER: Final = Path(__file__).parent.parent / "docs" / "schemas"
GENERATORS: Final = {"requests": schema.of_requests, "events": schema.of_events}
NAMED_BY: Final = {"requests": "op", "events": "type"}


def text_of(direction: str) -> str:
    """What has to stand in the file of this direction."""
    return json.dumps(GENERATORS[direction](), indent=2) + "\n"


def problems_of(direction: Direction, header: Mapping[str, Any]) -> list[str]:
    """What the schema says against a header, one sentence each."""
    name = header.get(NAMED_BY[direction])
    if not isinstance(name, str) or (validator := _validators(direction).get(name)) is None:
        return [f"{name!r} is not one of the {direction}"]
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(header)]


@cache
def _validators(direction: Direction) -> Mapping[str, Draft202012Validator]:
    document = json.loads((FOLDER / f"{direction}.json").read_text())
    names = [one["$ref"].rpartition("/")[2] for one in document["oneOf"]]
    parts = document["$defs"]
    return {name: MsgpackValidator({**parts[name], "$defs": parts}) for name in names}


def _type(
    validator: Any, kind: str, instance: object, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """In msgpack bytes are bytes, where JSON writes them as text."""
    if isinstance(instance, bytes) or "contentEncoding" in schema:
        if not isinstance(instance, bytes) or "contentEncoding" not in schema:
            yield ValidationError(f"{instance!r} is text where bytes belong, or the other way")
        return
    yield from Draft202012Validator.VALIDATORS["type"](validator, kind, instance, schema)


MsgpackValidator: Any = extend(Draft202012Validator, {"type": _type})


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for direction in GENERATORS:
        (FOLDER / f"{direction}.json").write_text(text_of(direction))


if __name__ == "__main__":
    main()
