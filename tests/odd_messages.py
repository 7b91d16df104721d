"""What the machine of test_protocol_machine.py says to a runner, most of it wrong."""

from typing import Any, Final

import msgpack
from hypothesis import strategies as st

from kernel_runner.messages import commands
from kernel_runner.messages.options import TaskOptions
from tests.strategies import ANYTHING, FIELDS

BAD_FRAMES: Final[dict[str, list[bytes]]] = {
    "one": [b"one"],
    "ten": [b"x"] * 10,
    "empty": [b"", b""],
    "no msgpack": [b"\xc1", b""],
    "cut": [msgpack.packb({"v": 2, "op": "status", "id": "x"})[:-1], b""],
    "two headers": [msgpack.packb({"v": 2, "op": "status", "id": "x"}) * 2, b""],
    "a list": [msgpack.packb([2, "status", "x"]), b""],
    "numbers as keys": [msgpack.packb({1: 2}), b""],
    "too deep": [b"\x91" * 2_000, b""],
    "an extension": [msgpack.packb({"v": 2, "id": msgpack.ExtType(3, b"x")}), b""],
}
BAD_IDS: Final[st.SearchStrategy[object]] = st.sampled_from(
    [None, 7, b"r1", "", "x" * 65, "x" * 100_000, ["r1"], {}]
)
BAD_FIELDS: Final = st.sampled_from(
    [{"v": 1}, {"v": None}, {"op": "dance"}, {"op": None}, {"op": ["exec"]}, {"surprise": 1}]
)
BAD_OPTIONS: Final = st.sampled_from(
    [
        *({"surprise": 1}, {"args": "x"}, {"args": [1]}, {"stdin": "often"}, {"stdin": 7}),
        *({"limits": {"wall_s": "x"}}, {"limits": {"no": 1}}, {"env": {"A": 1}}, {"run": 1}),
        *({"limits": {"wall_s": -1}}, {"tty": True}, {"tty": {"rows": 0, "cols": 1}}),
    ]
)
BAD_HELLOS: Final = st.sampled_from(
    [{"session": 7}, {"session": "nobody's"}, {"after_seq": 0}, {"after_seq": "x"}, {"now": True}]
)
BAD_IMMEDIATE: Final = st.sampled_from(
    [
        *(("ack", {"seq": "x"}), ("ack", {}), ("cancel", {}), ("cancel", {"target": "nobody"})),
        *(("interrupt", {"target": "nobody"}), ("signal", {"name": "NONE", "target": "nobody"})),
        *(("resize", {"rows": 0, "cols": 1}), ("complete", {"cursor": -1}), ("download", {})),
        *(("upload", {"path": "../x"}), ("upload", {"path": "/etc/x"}), ("upload", {"path": ""})),
        *(
            ("download", {"path": "none"}),
            ("download", {"path": "."}),
            ("download", {"path": "\0"}),
        ),
        *(("list-files", {"path": "none"}), ("list-files", {"path": 7})),
        ("shutdown-service", {"name": "none"}),
    ]
)
ANSWERED: Final[list[tuple[str, bytes, dict[str, Any], str]]] = [
    ("status", b"", {"echo": "x"}, "status"),
    ("queue", b"", {}, "queue"),
    ("complete", b"import o", {"cursor": 8}, "completion"),
    ("complete", b"x", {"cursor": 2**63}, "completion"),
    ("inspect", b"len", {"cursor": 3}, "inspection"),
    ("is-complete", b"if x:", {}, "completeness"),
    ("event", b"", {"type": "oom", "data": [1]}, "ok"),
    ("get-apps", b"", {}, "apps-result"),
    ("start-service", b"", {"name": "none"}, "service-result"),
    (
        "start-model-service",
        b"",
        {"name": "x", "model_path": "x", "service": {}},
        "model-service-result",
    ),
    ("list-files", b"", {}, "files"),
]
# what these do to others is for rules of their own
HARMLESS: Final = sorted(commands.COMMANDS.keys() - {"hello", "ack", "upload"})
HEADERS: Final = st.dictionaries(
    st.sampled_from([*FIELDS, *TaskOptions.__struct_fields__]), ANYTHING, max_size=3
)
