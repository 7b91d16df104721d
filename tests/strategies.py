"""Commands, events and what resembles them, of every kind, for tests of properties."""

import json

from hypothesis import strategies as st

from kernel_runner.messages import commands, events
from kernel_runner.messages.options import Limits, TaskOptions, Terminal

TEXTS = st.text(max_size=20)
IDS = st.text(min_size=1, max_size=64)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
POSITIONS = st.integers(0, 2**40)
FLOATS = st.floats(allow_nan=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | TEXTS
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OPS = st.sampled_from(sorted(commands.COMMANDS)) | TEXTS
FIELDS = sorted({field for kind in commands.COMMANDS.values() for field in kind.__struct_fields__})
KEYS = st.sampled_from([*FIELDS, *TaskOptions.__struct_fields__, "v", "id", "line", "row", "col"])
JSON_BODIES = st.dictionaries(KEYS | TEXTS, PLAIN, max_size=6).map(lambda d: json.dumps(d).encode())

SIZES = st.builds(Terminal, st.integers(1, 65_535), st.integers(1, 65_535))
OPTIONS = st.builds(
    TaskOptions,
    run=st.none() | TEXTS,
    args=st.lists(TEXTS, max_size=3).map(tuple),
    stdin=st.sampled_from(["prompt", "stream", "none"]),
    limits=st.builds(
        Limits,
        wall_s=st.none() | FLOATS,
        cpu_s=st.none() | FLOATS,
        memory_bytes=st.none() | NUMBERS,
    ),
    env=st.dictionaries(TEXTS, TEXTS, max_size=3),
    cwd=st.none() | TEXTS,
    tty=st.none() | st.just(False) | SIZES,
    keep_background=st.booleans(),
) | st.builds(TaskOptions, stdin_bytes=st.binary())
QUEUED = st.one_of(*(st.builds(kind, TEXTS, OPTIONS) for kind in commands.QUEUED))
SERVICES = st.one_of(
    st.builds(
        commands.StartService,
        TEXTS,
        st.none() | POSITIONS,
        st.lists(POSITIONS, max_size=3).map(tuple),
        TEXTS,
        st.builds(
            commands.ServiceOptions,
            st.none() | st.dictionaries(TEXTS, PLAIN, max_size=2),
            st.none() | st.dictionaries(TEXTS, TEXTS, max_size=2),
        ),
    ),
    st.builds(commands.ShutdownService, TEXTS),
    st.builds(commands.ListServices, TEXTS),
    st.builds(commands.StartModelService, TEXTS, TEXTS, st.dictionaries(TEXTS, PLAIN, max_size=2)),
)
COMMANDS = st.one_of(
    QUEUED,
    SERVICES,
    st.builds(commands.Input, st.binary()),
    st.builds(commands.EndOfInput),
    st.builds(commands.Complete, TEXTS, POSITIONS),
    st.builds(commands.Inspect, TEXTS, POSITIONS),
    st.builds(commands.IsComplete, TEXTS),
    st.builds(commands.Interrupt, st.none() | IDS, st.booleans()),
    st.builds(commands.Cancel, IDS),
    st.builds(commands.GetStatus),
    st.builds(commands.ListQueue),
    st.builds(commands.HostEvent, TEXTS, PLAIN),
    st.builds(commands.Hello, st.none() | TEXTS, st.none() | POSITIONS),
    st.builds(commands.Acknowledge, POSITIONS),
    st.builds(commands.Upload, TEXTS, st.binary(), st.booleans()),
    st.builds(commands.Download, TEXTS),
    st.builds(commands.ListFiles, TEXTS),
)

USAGES = st.builds(events.Usage, FLOATS, FLOATS, POSITIONS, POSITIONS, POSITIONS)
ERRORS = st.none() | st.text(max_size=9)
SERVICE_STATES = st.sampled_from(["started", "running", "failed"])
ENTRIES = st.builds(events.QueueEntry, IDS, TEXTS, TEXTS)
EVENTS = st.one_of(
    st.builds(events.Output, st.sampled_from(["stdout", "stderr"]), st.binary()),
    st.builds(
        events.Finished,
        st.sampled_from(["finished", "build-finished", "clean-finished"]),
        st.integers(0, 255),
        st.sampled_from(["completed", "error", "timeout", "crashed"]),
        USAGES,
        st.none() | st.integers(1, 64),
        st.lists(st.sampled_from(["SIGINT", "SIGTERM"])).map(tuple),
        st.lists(st.sampled_from(["processes", "file_bytes"])).map(tuple),
        st.none() | TEXTS,
        st.none()
        | st.builds(
            events.ErrorDetails, TEXTS, TEXTS, st.lists(st.dictionaries(TEXTS, PLAIN), max_size=2)
        ),
    ),
    st.builds(
        events.Media,
        st.dictionaries(TEXTS, TEXTS | st.binary(), min_size=1, max_size=3),
        st.dictionaries(TEXTS, PLAIN, max_size=2),
    ),
    st.builds(events.Log, TEXTS, TEXTS, TEXTS, TEXTS),
    st.builds(events.Accepted, POSITIONS),
    st.builds(events.Started),
    st.builds(events.WaitingInput, st.booleans(), st.booleans()),
    st.builds(events.Completion, st.lists(TEXTS)),
    st.builds(events.Inspection, TEXTS),
    st.builds(events.Completeness, st.sampled_from(["complete", "incomplete", "unknown"])),
    st.builds(events.Status, FLOATS, TEXTS, TEXTS, TEXTS, POSITIONS, st.none() | IDS, POSITIONS),
    st.builds(events.QueueListing, st.none() | ENTRIES, st.lists(ENTRIES, max_size=3)),
    st.builds(events.ServiceResult, SERVICE_STATES, ERRORS),
    st.builds(events.ModelServiceResult, SERVICE_STATES, ERRORS),
    st.builds(
        events.AppsResult,
        st.sampled_from(["done", "failed"]),
        st.lists(st.dictionaries(TEXTS, PLAIN, max_size=2), max_size=2),
        ERRORS,
    ),
    st.builds(events.Welcome, TEXTS, TEXTS, TEXTS, st.lists(TEXTS), *[POSITIONS] * 4),
    st.builds(events.Superseded),
    st.builds(events.File, TEXTS, st.binary()),
    st.builds(
        events.Files,
        TEXTS,
        st.lists(st.builds(events.FileEntry, TEXTS, TEXTS, NUMBERS, NUMBERS, FLOATS), max_size=2),
    ),
    st.builds(events.Ok),
    st.builds(events.Refused, TEXTS, TEXTS, TEXTS, TEXTS),
)
