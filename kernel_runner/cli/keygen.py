"""`keygen`: a folder comes in; files with new keys of a runner and its clients go into it."""

import argparse
import re
import shlex
from pathlib import Path
from typing import Final

from kernel_runner import keys
from kernel_runner.cli import PROGRAM, output
from kernel_runner.errors import BadKey, UsageError

EXAMPLES: Final = """\
examples:
  kernel-runner keygen keys
  kernel-runner keygen keys --client ada --client bob
  kernel-runner keygen others --json

Without --client there is one client, of the name client.  With it, and a server.pub in the folder,
only clients are added.  So a client can make its key on its own machine: copy server.pub there, and
clients/NAME.pub back.  The runner reads its keys when it starts; they may not be in its --work-dir,
which clients and their programs read.
"""
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
CLIENT: Final = "client"
SERVER: Final = "server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the files go")
    parser.add_argument(
        "--client", action="append", metavar="NAME", help="a client that gets a key"
    )
    output.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Write the files; the exit code.

    Raises:
        UsageError: one of them is there already, or cannot be written; nothing is overwritten.
    """
    try:
        made = _make(options.folder, options.client)
    except OSError as error:
        raise UsageError(f"{error.filename or options.folder}: {error.strerror}") from error
    except BadKey as error:
        raise UsageError(str(error)) from error
    if options.json:
        output.show_json({str(file): purpose for file, purpose in made.items()})
    else:
        output.show_table(("file", "what for"), [(str(f), text) for f, text in made.items()])
    return 0


def _make(folder: Path, clients: list[str] | None) -> dict[Path, str]:
    """The files that were made, and what each is for."""
    has_server = (folder / f"{SERVER}.pub").exists()
    names = list(dict.fromkeys(clients or [CLIENT]))
    _check(folder, names, has_server=has_server, wants_server=clients is None)
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "clients").mkdir(mode=0o700, exist_ok=True)
    made: dict[Path, str] = {}
    if not has_server:
        made |= _make_server(folder)
    server = keys.read_public(folder / f"{SERVER}.pub")
    for name in names:
        made |= _make_client(folder, name, server)
    return made


def _check(folder: Path, names: list[str], *, has_server: bool, wants_server: bool) -> None:
    """Nothing is written unless all can be."""
    for name in names:
        if not NAME.fullmatch(name) or name == SERVER:
            raise UsageError(f"{name!r} is no name for a client; use letters, digits, . _ @ and -")
    files = [file for name in names for file in _files_of(folder, name)]
    if wants_server or not has_server:
        files += [folder / f"{SERVER}.key", folder / f"{SERVER}.pub"]
    for file in files:
        if file.exists() or file.is_symlink():
            raise UsageError(
                f"{file} is there already and would be lost; remove it, choose another folder, "
                "or add a client with --client NAME"
            )


def _files_of(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.key", folder / "clients" / f"{name}.pub"


def _make_server(folder: Path) -> dict[Path, str]:
    public, secret = keys.new_pair()
    secret_file, public_file = folder / f"{SERVER}.key", folder / f"{SERVER}.pub"
    purpose = [
        "Secret key of a runner: `kernel-runner serve --server-key FILE`.  Show it to nobody."
    ]
    keys.write_new(secret_file, purpose, {"secret": secret})
    purpose = ["Public key of a runner: what `kernel-runner keygen --client` needs to know of it."]
    keys.write_new(public_file, purpose, {"public": public})
    words = shlex.join(["--server-key", str(secret_file), "--client-keys", str(folder / "clients")])
    runner = f"the runner: {PROGRAM} serve LANG --work-dir DIR {words}"
    return {secret_file: runner, public_file: "to make keys for clients"}


def _make_client(folder: Path, name: str, server: bytes) -> dict[Path, str]:
    public, secret = keys.new_pair()
    secret_file, public_file = _files_of(folder, name)
    purpose = [
        f"Key of the client {name}: `--key FILE` or KERNEL_RUNNER_KEY_FILE.  Show it to nobody.",
        "Its own secret key, and the public key of the runner that it means.",
    ]
    keys.write_new(secret_file, purpose, {"secret": secret, "server": server})
    purpose = [f"Public key of the client {name}: lets it in, see `serve --client-keys`."]
    keys.write_new(public_file, purpose, {"public": public})
    return {
        secret_file: f"{name}: --key {shlex.quote(str(secret_file))}",
        public_file: f"lets {name} in",
    }
