"""`serve`: options of a runner in; it serves until a signal says to stop."""

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

from kernel_runner import addresses, langs, logs
from kernel_runner import config as configuration
from kernel_runner.cli import COMMANDS, PROGRAM
from kernel_runner.cli.command_line import reported
from kernel_runner.cli.until import Until
from kernel_runner.config import Config
from kernel_runner.errors import BrokenLanguage, ConfigError, RunnerBroken, UnknownLanguage
from kernel_runner.host import Host
from kernel_runner.launcher import Launcher
from kernel_runner.messages.events import JAIL
from kernel_runner.workspace import Workspace, build_folder_in

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ADDRESS: Final = "tcp://HOST:PORT, PORT, ipc://PATH or none; port 0 takes any"
OPTIONS: Final = (
    ("--in", "ADDRESS", f"commands of agents (2000, none with keys): {ADDRESS}"),
    ("--out", "ADDRESS", f"events for agents (2001, none with keys): {ADDRESS}"),
    ("--session", "ADDRESS", f"the session dialect (ipc in a private folder): {ADDRESS}"),
    ("--server-key", "FILE", "a session wants keys: this is the runner's, made by `keygen`"),
    ("--client-keys", "PATH", "a file or folder with the public keys of clients (*.pub)"),
    ("--bind", "HOST", "the host of addresses given as a port (127.0.0.1); session at 2010"),
    ("--work-dir", "DIR", "where the user's files are (.)"),
    ("--build-dir", "DIR", "where .kernel-runner/build is, for built programs (the --work-dir)"),
    ("--runtime-path", "FILE", "the interpreter or compiler (the one on the PATH)"),
    ("--address-file", "FILE", "write the addresses there as JSON"),
    ("--max-queue-length", "N", "tasks that may wait (16384)"),
    ("--max-body-bytes", "N", "the size of one message (64 MiB)"),
    ("--max-pending-bytes", "N", "kept in memory for one session (8 MiB)"),
    ("--max-spool-bytes", "N", "kept on disk beyond that, for all (1 GiB, or 1/4 of what is free)"),
    ("--spool-dir", "DIR", "where that is (TMPDIR or /var/tmp, unless they are in memory)"),
    ("--limits", "LIMITS", "what a request may use that says nothing, such as wall=60,memory=1G"),
    ("--max-limits", "LIMITS", "the most that requests may ask for (no limit)"),
    ("--cgroup", "DIR", "a cgroup v2 in which to make those of programs, or none (our own)"),
    ("--query-shell", "NAME", "what executes queries in the interpreter: plain or ipython (plain)"),
    ("--jail", "POLICY", "of the programs: a policy, auto for the language's own, or none (none)"),
    ("--metrics", "ADDRESS", "counts for Prometheus: PORT on loopback, or tcp://HOST:PORT"),
    ("--log-format", "FORMAT", "of standard error: text, or json with one object a line (text)"),
    ("--log-level", "LEVEL", "of standard error: debug, info, warning or error (warning)"),
    ("--config", "FILE", "a TOML file with these options"),
)
"""The options that have a value: name, what the value is, help."""

SWITCHES: Final = {
    "--plaintext": "bind other hosts than loopback without keys",
    "--otel": "send a span of each task to the collector that the OTEL_ variables name",
    "--debug": "log more, to standard error; debuggers may attach, so may programs",
    "--until-eof": "end when standard input ends: when whoever started it is gone",
    "--until-fetched": "end when all that was asked is done, and fetched or expired",
}
GENERAL: Final = ("--help", "--version")
"""What people write without the hyphens."""
EXAMPLES: Final = """\
Each option is also an environment variable (KERNEL_RUNNER_WORK_DIR=...) and a key of the file that
--config names (work-dir = '...').  Once it can be reached, the runner prints its addresses as one
line of JSON.  LIMITS are of wall and cpu (seconds), memory, output and file-size (sizes such as
256M), processes, open-files, and on-output-limit=drop; in the file they may be a table.

examples:
  kernel-runner serve python --in 0 --out 0 --session 0
  kernel-runner serve shell --in none --out none --session ipc://kernel.session
  kernel-runner serve shell --in 0 --out 0 --session 0 --address-file kernel.json
  kernel-runner serve shell --in 0 --out 0 --session 0 --limits wall=60,memory=512M
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.argument_default = argparse.SUPPRESS
    # nargs="?": a value that is missing is told later, together with all other problems
    parser.add_argument(
        "language", nargs="?", metavar="LANG", help="such as python, c or shell", default=None
    )
    for name, value, text in OPTIONS:
        parser.add_argument(name, nargs="?", metavar=value, help=text)
    for name, text in SWITCHES.items():
        parser.add_argument(name, action="store_true", help=text)


def main(control: socket.socket, argv: Sequence[str], *, stdin_fd: int | None) -> int:
    """Serve until a signal says to stop, or `stdin_fd` ends; the exit code.

    Args:
        control: leads to the guardian.
    """
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} serve",
        description="Run the commands of a client, one at a time, in the order they were sent.  "
        "Defaults are in parentheses.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)
    # a switch with a value is told later, too: argparse would stop there
    valued = [word for word in argv if word.startswith(tuple(f"{name}=" for name in SWITCHES))]
    options, unknown = parser.parse_known_args([word for word in argv if word not in valued])
    flags = {name.replace("_", "-"): value for name, value in vars(options).items()}
    flags |= dict(word.removeprefix("--").split("=", 1) for word in valued)
    language = flags.pop("language")
    is_for = {name for name in ("until-eof", "until-fetched") if flags.get(name) is True}
    flags = {name: value for name, value in flags.items() if name not in is_for}
    until = Until(stdin_fd, eof="until-eof" in is_for, fetched="until-fetched" in is_for)
    return reported(lambda: _run(_configure(language, flags, unknown), control, until))


def _configure(
    language: str | None, flags: Mapping[str, str | bool | None], unknown: Sequence[str]
) -> Config:
    """All that is wrong is told at once, so the parser lets missing values through to here."""
    if language and (advice := _advice_for(language)):
        raise ConfigError([advice])
    problems = [f"command line: {word!r} is not understood{_near_option(word)}" for word in unknown]
    problems += [f"command line: {name}: a value is missing" for name in flags if not flags[name]]
    given = {name: value for name, value in flags.items() if value}
    shells: Sequence[str] = ()
    try:
        shells = langs.load(language or "").query_shells
    except (UnknownLanguage, BrokenLanguage) as error:
        problems.append(str(error))
    try:
        config = configuration.load(language or "", given, os.environ)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if config.query_shell not in (None, *shells):
        known = f"has {', '.join(shells)}" if shells else "has no choice of them"
        problems.append(f"query-shell: {config.query_shell!r} is none of {language}, which {known}")
    if problems:
        raise ConfigError(problems)
    return config


def _near_option(word: str) -> str:
    import difflib  # late, as below: a start that is fine needs none of it

    known = [*(name for name, _, _ in OPTIONS), *SWITCHES]
    near = difflib.get_close_matches(word.partition("=")[0], known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _advice_for(word: str) -> str | None:
    """What was meant by a word that stands where a language does; None when it may be one."""
    with suppress(UnknownLanguage, BrokenLanguage):
        langs.load(word)
        return None
    import difflib
    import shlex

    if Path(word).suffix or Path(word).is_file():
        return f"{word!r} is no language; did you mean `{PROGRAM} run {shlex.quote(word)}`?"
    if near := difflib.get_close_matches(word, [*COMMANDS, *langs.names(), *GENERAL], 1):
        return f"no command or language {word!r}; did you mean `{PROGRAM} {near[0]}`?"
    return None


def _run(config: Config, control: socket.socket, until: Until) -> int:
    logs.to_stderr(config.telemetry.log_level, config.telemetry.log_format)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(_serve(config, control, until))
        except SystemExit as error:  # of a language, in a callback: nobody here means that
            raise RunnerBroken("something in it called exit") from error
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(config: Config, control: socket.socket, until: Until) -> None:
    scratch = configuration.make_scratch(os.environ)
    launcher = Launcher(control, config.cgroup)
    launcher.remove_at_end(scratch)
    if config.session_at == addresses.private_session(os.environ):
        addresses.make_private(Path(config.session_at.removeprefix("ipc://")).parent)
    env = config.env
    build_folder = build_folder_in(config.build_dir)
    if config.jail is not None:
        from kernel_runner.cli.jailed import jailed  # late: most runners have none

        words = (config.jail, config.language, config.work_dir, scratch, env)
        # in the work directory programs may write anyway
        other = [build_folder] if config.build_dir != config.work_dir else []
        env = jailed(launcher, *words, *other, tell=logging.getLogger(JAIL).warning)
    host = Host(
        launcher,
        Workspace(config.work_dir, build_folder),
        scratch,
        env,
        config.runtime_path,
        query_shell=config.query_shell,
    )
    runner = langs.load(config.language)(host)
    ready = asyncio.create_task(runner.init(), name="init")
    await asyncio.sleep(0)  # an interpreter starts while we load what channels need

    from kernel_runner.channels.zeromq import zeromq_channels
    from kernel_runner.cli.telling import telling
    from kernel_runner.limits import Allowance
    from kernel_runner.metrics import Metrics
    from kernel_runner.server import Server
    from kernel_runner.spool import Spool

    metrics = Metrics()
    async with AsyncExitStack() as stack:
        told_at = await stack.enter_async_context(telling(config, metrics))
        channels = stack.enter_context(zeromq_channels(config))
        server = Server(
            runner,
            channels,
            ready=ready,
            announce=lambda addresses: _announce(config, launcher, {**addresses, **told_at}),
            max_queue_length=config.max_queue_length,
            max_body_bytes=config.max_body_bytes,
            max_pending_bytes=config.max_pending_bytes,
            spool=Spool.of(config.spool_dir, config.max_spool_bytes),
            allowance=Allowance(config.limits, config.max_limits),
            metrics=metrics,
        )
        stop = _stop_on_signals()
        until.watch(server, launcher, stop, config.session_at)
        try:
            await server.serve(stop)
        finally:
            _ignore_signals()
    launcher.remove_now()


def _announce(config: Config, launcher: Launcher, addresses: Mapping[str, str]) -> None:
    for address in addresses.values():
        if address.startswith("ipc://"):
            launcher.remove_at_end(Path(address.removeprefix("ipc://")))
    if (file := config.address_file) is not None:
        launcher.remove_at_end(file)
        new = file.with_name(f"{file.name}.{os.getpid()}")
        try:
            new.write_text(_line({name: _absolute(at) for name, at in addresses.items()}) + "\n")
            new.replace(file)  # whoever finds it finds all of it
        except OSError as error:
            raise ConfigError([f"address-file: {file}: {error.strerror}"]) from error
    print(_line(addresses), flush=True)


def _line(addresses: Mapping[str, str]) -> str:
    always: Mapping[str, str | None] = {"in": None, "out": None, "session": None}
    return json.dumps({**always, **addresses})


def _absolute(address: str) -> str:
    """As somebody in another folder has to write it."""
    if not address.startswith("ipc://"):
        return address
    return f"ipc://{Path(address.removeprefix('ipc://')).absolute()}"


def _stop_on_signals() -> asyncio.Event:
    """Set by the first of these signals; a second one changes nothing."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    return stop


def _ignore_signals() -> None:
    """Everything has ended; a signal that comes now must not change the exit code."""
    loop = asyncio.get_running_loop()
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    for number in STOP_SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
