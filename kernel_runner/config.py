"""Options in, one frozen object out: command line, then environment, then file, then default.

Every address, path and size that can be chosen is a field here, with its unit.
"""

import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, get_type_hints

import msgspec

from kernel_runner import addresses, cgroup, keys, limit_words, telemetry
from kernel_runner.errors import BadKey, ConfigError
from kernel_runner.keys import ServerKeys
from kernel_runner.limit_words import Written
from kernel_runner.messages.options import Limits
from kernel_runner.telemetry import Telemetry

ENV_PREFIX: Final = "KERNEL_RUNNER_"
HIDDEN: Final = (ENV_PREFIX, *telemetry.OTEL_KEYS)
"""The beginnings of variables that are not for programs."""
MEDIA_VARIABLE: Final = ENV_PREFIX + "MEDIA"
"""Where a program finds the path of the socket in which it shows its pictures."""
MAX_QUEUE_LENGTH: Final = 16_384
MAX_PENDING_BYTES: Final = 8 << 20
SOCKET_NAME_BYTES: Final = 32
"""What a socket in the scratch folder may be called, with the slash before it."""
MAX_BODY_BYTES: Final = 64 << 20


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """How one runner runs.  An address is ``tcp://host:port``, ``ipc://path``, or None for none."""

    language: str
    commands_at: str | None
    events_at: str | None
    session_at: str | None
    session_keys: ServerKeys | None
    """Without them everybody may come in who reaches the address."""

    address_file: Path | None
    work_dir: Path
    build_dir: Path
    """Where the hidden folder of built programs is."""

    runtime_path: Path | None
    debug: bool
    env: Mapping[str, str]
    """The environment of programs."""

    max_queue_length: int = MAX_QUEUE_LENGTH
    max_body_bytes: int = MAX_BODY_BYTES
    max_pending_bytes: int = MAX_PENDING_BYTES
    """What one session keeps in memory until it is acknowledged."""

    spool_dir: Path | None = None
    """Where what goes beyond is kept; None: in TMPDIR or /var/tmp, if that is on a disk."""

    max_spool_bytes: int | None = None
    """What all sessions keep there; None: 1 GiB, but at most a quarter of what is free."""

    limits: Limits = Limits()
    """What requests get that say nothing."""

    max_limits: Limits = Limits()
    """The most that requests may ask for."""

    query_shell: str | None = None
    """What executes queries inside the interpreter; None: the first one of its language."""

    cgroup: str | None = None
    """The cgroup v2 below which limited programs get theirs; None: they are only watched."""

    jail: str | None = None
    """The policy of the jail that programs are put into; None: there is no jail."""

    telemetry: Telemetry = Telemetry()


class Options(telemetry.Options, frozen=True, forbid_unknown_fields=True):
    """Options as people write them: text, or absent."""

    commands: str | None = None
    events: str | None = None
    session: str | None = None
    server_key: str | None = None
    client_keys: str | None = None
    bind: str | None = None
    plaintext: bool | None = None
    work_dir: str | None = None
    build_dir: str | None = None
    runtime_path: str | None = None
    address_file: str | None = None
    max_queue_length: int | None = None
    max_body_bytes: int | None = None
    max_pending_bytes: int | None = None
    max_spool_bytes: int | None = None
    spool_dir: str | None = None
    limits: Written | None = None
    max_limits: Written | None = None
    cgroup: str | None = None
    query_shell: str | None = None
    jail: str | None = None


NAMES: Final[Mapping[str, str]] = {
    "in": "commands",
    "out": "events",
    **{
        field.replace("_", "-"): field
        for field in Options.__struct_fields__
        if field not in ("commands", "events")
    },
}
"""The name of each option on the command line and in a file, and its field."""

VARIABLES: Final[Mapping[str, str]] = {
    ENV_PREFIX + name.upper().replace("-", "_"): name for name in NAMES
}
"""The environment variable of each option."""

CLIENT_VARIABLES: Final = tuple(ENV_PREFIX + name for name in ("CONFIG", "ADDRESS", "KEY_FILE"))
"""What the environment may hold beside them: the file with options, and what clients need."""

EXPECTED: Final[Mapping[object, str]] = {
    str | None: "text",
    int | None: "a whole number",
    bool | None: "true or false",
    Written | None: "text such as wall=10,memory=256M, or a table",
    **telemetry.EXPECTED,
}

DEFAULT_PORTS: Final = {"commands": 2000, "events": 2001, "session": 2010}


def load(language: str, flags: Mapping[str, str | bool], environment: Mapping[str, str]) -> Config:
    """Put the sources together.

    Args:
        flags: options of the command line by their name; ``config`` names the file.

    Raises:
        ConfigError: with every problem of every source.
    """
    problems: list[str] = []
    settings: dict[str, object] = {}
    file = flags.get("config") or environment.get(ENV_PREFIX + "CONFIG")
    if file:
        settings |= _checked(_read_file(Path(str(file)), problems), str(file), problems)
    settings |= _checked(_from_environment(environment, problems), "environment", problems)
    given = {name: value for name, value in flags.items() if name != "config"}
    settings |= _checked(given, "command line", problems)
    config = _build(language, msgspec.convert(settings, Options), environment, problems)
    if (config.commands_at is None) != (config.events_at is None):
        problems.append("in, out: give both an address, or say none for both")
    elif config.commands_at is None and config.session_at is None:
        problems.append("in, out, session: all are none, so nobody could reach the runner")
    if problems:
        raise ConfigError(problems)
    return config


def _read_file(path: Path, problems: list[str]) -> Mapping[str, object]:
    import tomllib

    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        problems.append(f"{path}: {error.strerror}")
    except ValueError as error:  # not TOML, or not UTF-8
        problems.append(f"{path}: {error}")
    return {}


def _from_environment(environment: Mapping[str, str], problems: list[str]) -> Mapping[str, object]:
    """The options by name; a variable that looks like a misspelt one of ours is a problem."""
    known = (*VARIABLES, *CLIENT_VARIABLES)
    for key in environment:
        if key.startswith(ENV_PREFIX) and key not in known:
            import difflib  # late: hardly any start needs it

            short = [name.removeprefix(ENV_PREFIX) for name in known]
            for near in difflib.get_close_matches(key.removeprefix(ENV_PREFIX), short, 1, 0.75):
                problems.append(
                    f"environment: {key} is no option; did you mean {ENV_PREFIX}{near}?"
                )
    return {VARIABLES[key]: value for key, value in environment.items() if key in VARIABLES}


def _checked(given: Mapping[str, object], source: str, problems: list[str]) -> dict[str, object]:
    """The options that can be used, by field; the others become problems."""
    settings: dict[str, object] = {}
    for name, value in given.items():
        if (field := NAMES.get(name)) is None:
            problems.append(f"{source}: unknown option {name!r}; known: {', '.join(sorted(NAMES))}")
            continue
        if field in (*DEFAULT_PORTS, "metrics") and type(value) is int:
            value = str(value)  # in a file a port is a number
        try:
            # strict=False: in the environment and on the command line all is text
            options = msgspec.convert({field: value}, Options, strict=False)
        except msgspec.ValidationError:
            expected = EXPECTED[get_type_hints(Options)[field]]
            problems.append(f"{source}: {name}: has to be {expected}, not {reprlib.repr(value)}")
            continue
        settings[field] = getattr(options, field)
    return settings


def _build(
    language: str, options: Options, environment: Mapping[str, str], problems: list[str]
) -> Config:
    work_dir = Path(os.path.realpath(_absolute("work-dir", options.work_dir or ".", problems)))
    if not work_dir.is_dir():
        problems.append(f"work-dir: {work_dir} is not a folder")
    build_dir = _absolute("build-dir", options.build_dir or str(work_dir), problems)
    if options.build_dir and not (build_dir.is_dir() and os.access(build_dir, os.W_OK)):
        problems.append(f"build-dir: {build_dir} is not a folder that can be written to")
    runtime_path = address_file = spool_dir = None
    if options.runtime_path:
        runtime_path = _absolute("runtime-path", options.runtime_path, problems)
        if not runtime_path.is_file() or not os.access(runtime_path, os.X_OK):
            problems.append(f"runtime-path: {runtime_path} is not an executable file")
    if options.address_file:
        address_file = _absolute("address-file", options.address_file, problems)
        if not address_file.parent.is_dir() or address_file.is_dir():
            problems.append(f"address-file: {address_file} cannot be a file")
    if options.spool_dir:
        spool_dir = _absolute("spool-dir", options.spool_dir, problems)
        if not spool_dir.is_dir() or not os.access(spool_dir, os.W_OK):
            problems.append(f"spool-dir: {spool_dir} is not a folder that can be written to")
    sizes = {
        name: value
        for name in ("max_queue_length", "max_body_bytes", "max_pending_bytes", "max_spool_bytes")
        if (value := getattr(options, name)) is not None
    }
    for name, value in sizes.items():
        if value < 0 or (value == 0 and name != "max_spool_bytes"):
            problems.append(f"{name.replace('_', '-')}: has to be above 0, not {value}")
    limits = _limits("limits", options.limits, problems)
    max_limits = _limits("max-limits", options.max_limits, problems)
    if (field := limit_words.above(limits, max_limits)) is not None:
        name = next(word for word, one in limit_words.FIELDS.items() if one == field)
        problems.append(f"limits: {name} is above that of max-limits")
    return Config(
        language=language,
        commands_at=_address("commands", options, environment, problems),
        events_at=_address("events", options, environment, problems),
        session_at=_address("session", options, environment, problems),
        session_keys=_keys(options, work_dir, problems),
        address_file=address_file,
        work_dir=work_dir,
        build_dir=build_dir,
        runtime_path=runtime_path,
        spool_dir=spool_dir,
        debug=bool(options.debug),
        limits=limits,
        max_limits=max_limits,
        cgroup=_cgroup(options.cgroup, problems),
        query_shell=options.query_shell,
        jail=None if options.jail == addresses.NO_ADDRESS else options.jail,
        telemetry=telemetry.read(options, environment, problems, plaintext=options.plaintext),
        env={key: value for key, value in environment.items() if not key.startswith(HIDDEN)},
        **sizes,
    )


def _limits(name: str, written: Written | None, problems: list[str]) -> Limits:
    try:
        return limit_words.parse(written or {})
    except ValueError as error:
        problems.append(f"{name}: {error}")
        return Limits()


def _cgroup(folder: str | None, problems: list[str]) -> str | None:
    if folder is None:
        return cgroup.own_folder()
    if folder == addresses.NO_ADDRESS:
        return None
    if not Path(folder, "cgroup.procs").is_file():
        problems.append(f"cgroup: {folder} is no folder of a cgroup v2; write none for none")
    return folder


def _absolute(name: str, path: str, problems: list[str]) -> Path:
    try:
        return Path(path).absolute()
    except OSError as error:
        problems.append(
            f"{name}: {path}: the current folder is not there any more ({error.strerror}); "
            "change to another one, or give a full path"
        )
        return Path("/", path)


def _address(
    field: str, options: Options, environment: Mapping[str, str], problems: list[str]
) -> str | None:
    """The address that an option names: a port alone takes its host from ``bind``."""
    name = next(key for key, value in NAMES.items() if value == field)
    text: str | None = getattr(options, field)
    is_for_agents = field != "session"
    if text == addresses.NO_ADDRESS or (not text and is_for_agents and options.server_key):
        return None
    if not text and field == "session" and not options.bind:
        text = addresses.private_session(environment)
    text = addresses.in_full(text or str(DEFAULT_PORTS[field]), options.bind or addresses.LOOPBACK)
    if problem := addresses.problem_of(text):
        problems.append(f"{name}: {problem}")
    elif addresses.reaches_others(text) and not options.plaintext:
        _check_keys(name, text, options, problems)
    return text


def _check_keys(name: str, address: str, options: Options, problems: list[str]) -> None:
    if name == "session" and options.server_key:
        return
    keys = "give it keys (--server-key, --client-keys), " if name == "session" else ""
    problems.append(
        f"{name}: {address} can be reached from other machines, and whoever reaches it can run "
        f"code; bind 127.0.0.1, {keys}or say --plaintext on a network that is private"
    )


def _keys(options: Options, work_dir: Path, problems: list[str]) -> ServerKeys | None:
    """Both or none; not where clients and their programs read and write."""
    files = {"server-key": options.server_key, "client-keys": options.client_keys}
    paths = {name: _absolute(name, text, problems) for name, text in files.items() if text}
    for name in files.keys() - paths.keys() if paths else ():
        problems.append(f"{name}: is missing; server-key and client-keys go together")
    if paths and options.session == addresses.NO_ADDRESS:
        problems.append("server-key: there is no session address that it could protect")
    for name, path in paths.items():
        if Path(os.path.realpath(path)).is_relative_to(work_dir):
            problems.append(
                f"{name}: {path} is in the work directory, where clients and their programs reach "
                "it; keep keys elsewhere"
            )
    if len(paths) < 2:
        return None
    try:
        return keys.read_server(paths["server-key"], paths["client-keys"])
    except BadKey as error:
        problems.append(str(error))
        return None


def make_scratch(environment: Mapping[str, str]) -> Path:
    """A private folder for what the runner writes beside the work directory.

    It is in TMPDIR, unless sockets in that would have names that are too long.

    Raises:
        ConfigError: it cannot be made.
    """
    # the module tempfile would cost every start 3 ms
    parent = Path(environment.get("TMPDIR") or "/tmp")
    name = f"kernel-runner-{os.urandom(8).hex()}"
    try:
        folder = parent.resolve(strict=True) / name
        if len(os.fsencode(folder)) + SOCKET_NAME_BYTES > addresses.MAX_IPC_BYTES:
            folder = Path("/tmp") / name
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError([f"TMPDIR: {parent}: {error.strerror}"]) from error
    return folder
