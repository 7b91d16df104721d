"""Key files come in; keys go out, or one sentence that says what is wrong with which line."""

import asyncio
import json
import re
import shlex
from pathlib import Path
from stat import S_IMODE

import pytest

from kernel_runner import config, keys
from kernel_runner.errors import BadKey, ConfigError
from tests.commanding import COMMAND, assert_one_sentence, command, environment

KEY = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The folder of a runner and one client."""
    assert command("keygen", "keys", cwd=tmp_path).returncode == 0
    return tmp_path / "keys"


def files_in(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def test_what_keygen_makes_fits_together_and_is_its_owners_alone(made: Path) -> None:
    server = keys.read_server(made / "server.key", made / "clients")
    client = keys.read_client(made / "client.key")

    assert server.clients == {client.public}
    assert client.secret != server.secret
    assert {S_IMODE(path.stat().st_mode) for path in made.rglob("*") if path.is_file()} == {0o600}
    assert {S_IMODE(path.stat().st_mode) for path in (made, made / "clients")} == {0o700}
    assert all(text.startswith("# ") for text in files_in(made).values())


def test_no_key_is_ever_shown(made: Path) -> None:
    server = keys.read_server(made / "server.key", made / "clients")
    client = keys.read_client(made / "client.key")

    assert re.fullmatch(r"<keys of a runner for 1 clients>", repr(server))
    assert repr(client) == f"<keys of a client from {made}/client.key>"


def test_keygen_overwrites_nothing(tmp_path: Path, made: Path) -> None:
    before = files_in(made)

    for words in ([], ["--client", "client"], ["--client", "ada", "--client", "client"]):
        done = command("keygen", "keys", *words, cwd=tmp_path)
        assert_one_sentence(done, "keys/client.key is there already", "--client NAME")

    assert files_in(made) == before


def test_a_client_that_is_added_leaves_the_others_as_they_are(tmp_path: Path, made: Path) -> None:
    before = files_in(made)

    done = command("keygen", "keys", "--client", "ada", "--client", "bob", "--json", cwd=tmp_path)

    assert sorted(json.loads(done.stdout)) == sorted(
        f"keys/{name}" for name in files_in(made).keys() - before.keys()
    )
    assert files_in(made).items() >= before.items()
    clients = [keys.read_client(made / f"{name}.key") for name in ("client", "ada", "bob")]
    assert len({client.server for client in clients}) == 1
    assert keys.read_server(made / "server.key", made / "clients").clients == {
        client.public for client in clients
    }


def test_a_client_can_make_its_key_where_only_the_public_one_of_the_runner_is(
    tmp_path: Path, made: Path
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "server.pub").write_text((made / "server.pub").read_text())

    done = command("keygen", "there", "--client", "ada", cwd=tmp_path)

    assert done.returncode == 0
    assert sorted(files_in(there)) == ["ada.key", "clients/ada.pub", "server.pub"]
    assert (
        keys.read_client(there / "ada.key").server == keys.read_client(made / "client.key").server
    )


@pytest.mark.parametrize("name", ["../x", "", "server", "a b", "-x", "é", "x" * 65])
def test_a_client_has_a_name_that_files_can_have(tmp_path: Path, name: str) -> None:
    assert_one_sentence(command("keygen", "keys", f"--client={name}", cwd=tmp_path), "no name")
    assert not (tmp_path / "keys").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    assert_one_sentence(command("keygen", "no/such", cwd=tmp_path), "no/such", "No such file")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it has no line `secret KEY`"),
        (f"secret {KEY}", "it has no line `server KEY`"),
        (f"# a comment\n\nsecret {KEY[:-1]}", "line 3: a key of 39 characters; it has 40"),
        (f"secret {KEY}x", "line 1: a key of 41 characters; it has 40"),
        ("secret " + '"' * 40, "line 1: these characters are no key"),
        ("secret " + "#" * 40, "line 1: these characters are no key"),
        ("secret " + "é" * 20, "line 1: "),
        (KEY, "line 1: it has to be `secret KEY` or `server KEY`"),
        (f"public {KEY}", "line 1: it has to be `secret KEY` or `server KEY`"),
        (f"secret {KEY} {KEY}", "line 1: it has to be"),
        (f"secret {KEY}\nsecret {KEY}", "it has two lines `secret KEY`"),
        ("\0\xff" * 1000, "line 1: "),
    ],
)
def test_a_file_that_has_no_keys_is_told_with_its_line(
    tmp_path: Path, text: str, reason: str
) -> None:
    file = tmp_path / "client.key"
    file.write_text(text)
    file.chmod(0o600)

    with pytest.raises(BadKey) as caught:
        keys.read_client(file)

    assert str(caught.value).startswith(f"{file}")
    assert reason in str(caught.value)
    assert KEY[:20] not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o606, 0o644])
def test_a_secret_key_that_others_can_read_is_refused(made: Path, mode: int) -> None:
    for file in (made / "client.key", made / "server.key"):
        file.chmod(mode)

    with pytest.raises(BadKey, match="chmod 600"):
        keys.read_client(made / "client.key")
    with pytest.raises(BadKey, match="chmod 600"):
        keys.read_server(made / "server.key", made / "clients")


def test_public_keys_may_be_read_by_others_but_not_written(made: Path) -> None:
    public = made / "clients" / "client.pub"
    public.chmod(0o644)
    keys.read_server(made / "server.key", made / "clients")
    public.chmod(0o664)

    with pytest.raises(BadKey, match="may write into it"):
        keys.read_server(made / "server.key", made / "clients")


def test_one_file_may_have_the_keys_of_all_clients(made: Path) -> None:
    file = made / "clients.txt"
    file.write_text(f"# all\n{(made / 'clients' / 'client.pub').read_text()}\npublic {KEY}\n")
    file.chmod(0o600)

    assert len(keys.read_server(made / "server.key", file).clients) == 2


def test_a_flag_about_keys_goes_before_the_environment_and_that_before_the_file(
    work: Path, made: Path
) -> None:
    for number in (1, 2, 3):
        lines = [f"public {KEY[:-1]}{digit}\n" for digit in range(number)]
        (made / f"{number}.pub").write_text("".join(lines))
    file = made / "config.toml"
    file.write_text(f'server-key = "{made}/server.key"\nclient-keys = "{made}/1.pub"\n')
    sources: dict[str, str | bool] = {"config": str(file), "work-dir": str(work)}
    environment = {"KERNEL_RUNNER_CLIENT_KEYS": f"{made}/2.pub"}

    found = [
        config.load("python", sources, {}),
        config.load("python", sources, environment),
        config.load("python", {**sources, "client-keys": f"{made}/3.pub"}, environment),
    ]

    assert [len(one.session_keys.clients) for one in found if one.session_keys] == [1, 2, 3]


def problems_of(work_dir: Path, **flags: str) -> tuple[str, ...]:
    words: dict[str, str | bool] = {name.replace("_", "-"): text for name, text in flags.items()}
    with pytest.raises(ConfigError) as caught:
        config.load("python", {"work-dir": str(work_dir), **words}, {})
    return caught.value.problems


def test_a_runner_with_keys_may_be_reached_by_others_but_its_agents_sockets_may_not(
    work: Path, made: Path
) -> None:
    flags = {
        "work-dir": str(work),
        "server-key": str(made / "server.key"),
        "client-keys": str(made / "clients"),
        "session": "tcp://0.0.0.0:0",
    }
    loaded = config.load("python", flags, {})
    [problem] = problems_of(work, **{**flags, "in": "tcp://0.0.0.0:0", "out": "2001"})

    assert loaded.session_keys is not None
    assert problem.startswith("in: ")
    assert "--plaintext" in problem


def test_options_about_keys_that_cannot_be_used_are_told(work: Path, made: Path) -> None:
    server, clients = str(made / "server.key"), str(made / "clients")
    empty = made / "empty"
    empty.mkdir()
    (work / "server.key").write_text((made / "server.key").read_text())
    (work / "server.key").chmod(0o600)

    wrong = {
        "client-keys: is missing": {"server_key": server},
        "server-key: is missing": {"client_keys": clients},
        "no session address": {
            "server_key": server,
            "client_keys": clients,
            "session": "none",
            "in": "2000",
            "out": "2001",
        },
        "nobody could connect": {"server_key": server, "client_keys": str(empty)},
        "No such file": {"server_key": server, "client_keys": "/no/such"},
        "it has to be `secret KEY`": {
            "server_key": f"{clients}/client.pub",
            "client_keys": clients,
        },
        "in the work directory": {"server_key": str(work / "server.key"), "client_keys": clients},
    }
    for part, flags in wrong.items():
        problems = problems_of(work, **flags)
        assert [part in problem for problem in problems] == [True], (part, problems)


async def test_the_runner_starts_with_the_line_that_keygen_prints(tmp_path: Path) -> None:
    printed = command("keygen", "my keys", "--json", cwd=tmp_path).stdout
    line = json.loads(printed)["my keys/server.key"].removeprefix("the runner: kernel-runner ")
    (tmp_path / "work").mkdir()
    words = shlex.split(line.replace("LANG", "shell").replace("DIR", "work"))
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, *words, f"--session=ipc://{tmp_path}/session", "--until-eof"),
        cwd=tmp_path,
        env=environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    addresses = json.loads(await process.stdout.readline())
    process.stdin.close()

    assert addresses["session"] == f"ipc://{tmp_path}/session"
    assert await process.wait() == 0
