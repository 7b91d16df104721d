"""Options of every source come in; one object goes out, or every problem together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_runner import addresses, config
from kernel_runner.addresses import is_loopback
from kernel_runner.config import Config
from kernel_runner.errors import ConfigError
from kernel_runner.messages.options import Limits

EXAMPLES: dict[str, tuple[str, tuple[str, str, str]]] = {
    "in": ("commands_at", ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3")),
    "out": ("events_at", ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3")),
    "session": ("session_at", ("ipc://a", "ipc://b", "ipc://c")),
    "bind": ("session_at", ("127.0.0.1", "127.0.0.2", "127.0.0.3")),
    "plaintext": ("session_at", ("true", "1", "true")),
    "work-dir": ("work_dir", ("{}/a", "{}/b", "{}/c")),
    "build-dir": ("build_dir", ("{}/a", "{}/b", "{}/c")),
    "runtime-path": ("runtime_path", ("{}/a/run", "{}/b/run", "{}/c/run")),
    "address-file": ("address_file", ("{}/a/x", "{}/b/x", "{}/c/x")),
    "debug": ("debug", ("true", "false", "true")),
    "max-queue-length": ("max_queue_length", ("1", "2", "3")),
    "max-body-bytes": ("max_body_bytes", ("1", "2", "3")),
    "max-pending-bytes": ("max_pending_bytes", ("1", "2", "3")),
    "max-spool-bytes": ("max_spool_bytes", ("1", "0", "3")),
    "spool-dir": ("spool_dir", ("{}/a", "{}/b", "{}/c")),
    "limits": ("limits", ("wall=1", "wall=2", "wall=3")),
    "max-limits": ("max_limits", ("memory=1K", "memory=2K", "memory=3K")),
    "jail": ("jail", ("auto", "python", "default")),
    "cgroup": ("cgroup", ("{}/a", "{}/b", "{}/c")),
}
UNLIKE_TEXT = {"bind", "plaintext", "limits", "max-limits", "cgroup"}
"""They have their own tests."""


def variable(name: str) -> str:
    return config.ENV_PREFIX + name.upper().replace("-", "_")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for letter in "abc":
        (tmp_path / letter).mkdir()
        program = tmp_path / letter / "run"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems_of(
    flags: dict[str, str | bool], environment: dict[str, str] | None = None
) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config.load("python", flags, environment or {})
    return caught.value.problems


def test_every_option_has_an_example_here() -> None:
    elsewhere = {"server-key", "client-keys"}  # in test_keys.py
    elsewhere |= {"query-shell"}  # in test_query_shell.py
    elsewhere |= {"log-format", "log-level", "metrics", "otel"}  # in test_log_lines.py

    assert set(EXAMPLES) | elsewhere == set(config.NAMES)


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - UNLIKE_TEXT))
def test_a_flag_goes_before_the_environment_and_that_before_the_file(
    folder: Path, name: str
) -> None:
    field, texts = EXAMPLES[name]
    flag, environment, line = (text.format(folder) for text in texts)
    file = folder / "config.toml"
    file.write_text(f'{name} = "{line}"\n')
    sources: dict[str, str | bool] = {"config": str(file)}

    from_file: Config = config.load("python", sources, {})
    from_environment = config.load("python", sources, {variable(name): environment})
    from_flag = config.load("python", sources | {name: flag}, {variable(name): environment})

    found = [getattr(one, field) for one in (from_file, from_environment, from_flag)]
    assert [str(value).lower() for value in found] == [line, environment, flag]


def test_limits_are_words_or_a_table(folder: Path) -> None:
    file = folder / "config.toml"
    file.write_text('max-limits = "wall=60"\n[limits]\nwall = 10\nmemory = "64M"\n')

    from_file = config.load("python", {"config": str(file)}, {})
    from_flag = config.load("python", {"config": str(file), "limits": "cpu=2.5,output=1k"}, {})

    assert from_file.limits == Limits(wall_s=10, memory_bytes=64 << 20)
    assert from_file.max_limits == Limits(wall_s=60)
    assert from_flag.limits == Limits(cpu_s=2.5, output_bytes=1024)


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"limits": "memry=1M"}, "limits: 'memry' is no limit; there are wall, cpu, memory, "),
        ({"limits": "memory=-1"}, "limits: memory: '-1' is no size above 0"),
        ({"limits": "wall=0"}, "limits: wall: '0' is no number of seconds above 0"),
        ({"limits": "wall"}, "limits: wall: '' is no number of seconds above 0"),
        ({"limits": "processes=1.5"}, "limits: processes: '1.5' is no whole number above 0"),
        ({"limits": "on-output-limit=stop"}, "'stop' is neither end nor drop"),
        ({"max-limits": "wall=inf"}, "max-limits: wall: 'inf' is no number of seconds above 0"),
        ({"limits": "wall=9", "max-limits": "wall=8"}, "limits: wall is above that of max-limits"),
        ({"cgroup": "/no/such"}, "cgroup: /no/such is no folder of a cgroup v2; write none for"),
    ],
)
def test_limits_that_cannot_be_are_problems(
    folder: Path, flags: dict[str, str | bool], problem: str
) -> None:
    assert problem in "\n".join(problems_of(flags))


def test_no_cgroup_is_one_word(folder: Path) -> None:
    assert config.load("python", {"cgroup": "none"}, {}).cgroup is None


def test_bind_is_the_host_of_addresses_that_are_a_port(folder: Path) -> None:
    one = config.load("python", {"bind": "127.0.0.9", "in": "0", "out": "ipc://out"}, {})
    six = config.load("python", {"session": "7"}, {variable("bind"): "::1"})

    assert one.commands_at == "tcp://127.0.0.9:0"
    assert one.events_at == "ipc://out"
    assert one.session_at == "tcp://127.0.0.9:2010"
    assert six.session_at == "tcp://[::1]:7"


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "*", "192.168.0.1", "::", "example.org", "127.0.0.1.example.org", "eth0"]
)
def test_another_host_than_loopback_needs_plaintext(folder: Path, host: str) -> None:
    address = f"tcp://{f'[{host}]' if ':' in host else host}:5"

    problems = problems_of({"session": address})
    allowed = config.load("python", {"session": address, "plaintext": True}, {})

    assert len(problems) == 1
    assert problems[0].startswith("session: ")
    assert "--plaintext" in problems[0]
    assert allowed.session_at == address


def test_bind_to_all_needs_plaintext_for_each_address(folder: Path) -> None:
    assert len(problems_of({"bind": "0.0.0.0"})) == 3


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0", "127.1", "127.0.0.1 ", "1::1", "LOCALHOST.", "lo"])
def test_whatever_else_is_not_taken_for_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://",
        "tcp://:5",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:x",
        "tcp://127.0.0.1:65536",
        "65536",
        "ipc://",
        "udp://127.0.0.1:5",
        "/tmp/socket",
        "-1",
        "tcp:127.0.0.1:5",
        "None",
    ],
)
def test_what_is_no_address_is_said_with_the_name_of_its_option(folder: Path, address: str) -> None:
    for name in ("in", "out", "session"):
        problems = problems_of({name: address})
        assert len(problems) == 1
        assert problems[0].startswith(f"{name}: ")


def test_an_ipc_path_may_have_107_bytes(folder: Path) -> None:
    fits = "ipc://" + "é" * 53 + "x"

    assert config.load("python", {"session": fits}, {}).session_at == fits
    assert "107 bytes" in problems_of({"session": fits + "x"})[0]


def test_all_problems_of_all_sources_come_together(folder: Path) -> None:
    file = folder / "config.toml"
    file.write_text('no-such-option = 1\nmax-body-bytes = "much"\n')
    environment = {variable("work-dir"): "/no/such/folder", variable("debug"): "perhaps"}
    flags: dict[str, str | bool] = {
        "config": str(file),
        "session": "nowhere",
        "max-queue-length": "0",
        "max-pending-bytes": "-5",
        "runtime-path": "/no/such/program",
        "address-file": "/no/such/folder/addresses",
        "in": "none",
    }

    problems = problems_of(flags, environment)

    expected = ["'no-such-option'", "max-body-bytes: ", "work-dir: ", "debug: ", "session: "]
    expected += ["max-queue-length: ", "max-pending-bytes: ", "runtime-path: ", "in, out: "]
    expected += ["address-file: "]
    for name in expected:
        assert len([one for one in problems if name in one]) == 1, (name, problems)
    assert len(problems) == len(expected)


@pytest.mark.parametrize("content", ["[", "= 1", "a = ", "\x00", 'in = "x'])
def test_a_file_that_is_not_toml_is_a_problem(folder: Path, content: str) -> None:
    file = folder / "config.toml"
    file.write_text(content)

    assert problems_of({"config": str(file)})[0].startswith(str(file))


def test_a_file_that_is_not_utf8_or_not_there_is_a_problem(folder: Path) -> None:
    file = folder / "config.toml"
    file.write_bytes(b'work-dir = "\xff"')

    assert problems_of({"config": str(file)})[0].startswith(str(file))
    assert "No such file" in problems_of({}, {variable("config"): "/no/such/file"})[0]


def test_numbers_and_truths_of_a_file_are_taken_as_they_are(folder: Path) -> None:
    file = folder / "config.toml"
    file.write_text("max-queue-length = 5\ndebug = true\nin = 0\nout = 0\n")

    found = config.load("python", {"config": str(file)}, {})

    assert (found.max_queue_length, found.debug) == (5, True)
    assert found.commands_at == found.events_at == "tcp://127.0.0.1:0"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max-queue-length", "many", "has to be a whole number, not 'many'"),
        ("max-body-bytes", "1.5", "has to be a whole number, not '1.5'"),
        ("max-pending-bytes", "x" * 400, "has to be a whole number, not 'xx"),
        ("debug", "5", "has to be true or false, not '5'"),
        ("plaintext", "", "has to be true or false, not ''"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_in_our_words(
    folder: Path, name: str, value: str, expected: str
) -> None:
    [problem] = problems_of({}, {variable(name): value})

    assert problem.startswith(f"environment: {name}: {expected}")
    assert len(problem) < 100


def test_a_value_of_the_wrong_kind_in_a_file_is_told_in_our_words(folder: Path) -> None:
    file = folder / "config.toml"
    file.write_text("work-dir = 5\ndebug = [1]\nmax-queue-length = 1.5\n")

    problems = problems_of({"config": str(file)})

    assert [problem.partition(": ")[2] for problem in problems] == [
        "work-dir: has to be text, not 5",
        "debug: has to be true or false, not [1]",
        "max-queue-length: has to be a whole number, not 1.5",
    ]


@pytest.mark.parametrize(
    ("misspelt", "near"),
    [
        ("WORKDIR", "WORK_DIR"),
        ("SESION", "SESSION"),
        ("MAX_QUEUE_LENGHT", "MAX_QUEUE_LENGTH"),
        ("ADRESS", "ADDRESS"),
        ("CONFG", "CONFIG"),
    ],
)
def test_a_misspelt_variable_is_told_with_the_nearest_name(
    folder: Path, misspelt: str, near: str
) -> None:
    [problem] = problems_of({}, {config.ENV_PREFIX + misspelt: "x"})

    assert problem == (
        f"environment: KERNEL_RUNNER_{misspelt} is no option; did you mean KERNEL_RUNNER_{near}?"
    )


def test_variables_that_are_like_none_of_ours_are_somebody_elses(folder: Path) -> None:
    names = ("ADDRESS", "ALL_TOOLS", "COLOR", "BENCH", "TEST", "")

    config.load("python", {}, {config.ENV_PREFIX + name: "x" for name in names})


def test_a_current_folder_that_was_removed_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    [problem] = problems_of({})
    fine = config.load("python", {"work-dir": str(tmp_path)}, {})

    assert problem.startswith("work-dir: .: the current folder is not there any more")
    assert fine.work_dir == tmp_path


def test_without_any_address_nobody_could_reach_the_runner(folder: Path) -> None:
    assert len(problems_of({"in": "none", "out": "none", "session": "none"})) == 1
    assert len(problems_of({"out": "none"})) == 1


def test_with_keys_for_the_session_there_is_no_door_without_them(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    keys = tmp_path_factory.mktemp("keys")
    subprocess.run([sys.executable, "-m", "kernel_runner", "keygen", str(keys)], check=True)
    given = {"server-key": f"{keys}/server.key", "client-keys": f"{keys}/clients"}

    closed = config.load("python", {**given, "bind": "127.0.0.1"}, {})
    named = config.load("python", {**given, "in": "2000", "out": "2001"}, {})

    assert (closed.commands_at, closed.events_at) == (None, None)
    assert (named.commands_at, named.events_at) == ("tcp://127.0.0.1:2000", "tcp://127.0.0.1:2001")


def test_programs_do_not_see_the_options_of_the_runner(folder: Path) -> None:
    found = config.load("python", {}, {variable("debug"): "1", "HOME": "/x"})

    assert found.env == {"HOME": "/x"}


def test_the_defaults_are_those_of_the_protocol(folder: Path) -> None:
    found = config.load("python", {}, {})
    bound = config.load("python", {"bind": "::1"}, {})

    assert found.commands_at == "tcp://127.0.0.1:2000"
    assert found.events_at == "tcp://127.0.0.1:2001"
    assert found.session_at == f"ipc:///tmp/kernel-runner-{os.getuid()}/session"
    assert found.session_keys is None
    assert found.work_dir == folder
    assert bound.session_at == "tcp://[::1]:2010"


def test_the_default_of_a_session_is_in_the_users_folder_for_such_things(folder: Path) -> None:
    for environment, place in (
        ({"XDG_RUNTIME_DIR": "/run/user/5", "TMPDIR": "/x"}, "/run/user/5/kernel-runner"),
        ({"XDG_RUNTIME_DIR": "", "TMPDIR": "/x"}, f"/x/kernel-runner-{os.getuid()}"),
    ):
        found = config.load("python", {}, environment)
        assert found.session_at == f"ipc://{place}/session"


def test_a_private_folder_is_made_and_one_that_is_open_to_others_is_refused(folder: Path) -> None:
    private = folder / "private"
    addresses.make_private(private)
    addresses.make_private(private)
    mode = private.stat().st_mode & 0o777
    (folder / "link").symlink_to(private)
    (folder / "file").touch(0o600)
    private.chmod(0o750)

    assert mode == 0o700
    for name in ("private", "link", "file", "no/such"):
        with pytest.raises(ConfigError, match="session: "):
            addresses.make_private(folder / name)
