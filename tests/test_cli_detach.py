"""Programs are detached and come back to, by processes that are killed, cut off and in each other's
way; what they print and their exit codes arrive."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import pytest

from kernel_runner.cli.detached import Detached
from tests.commanding import COMMAND, assert_one_sentence, environment
from tests.running import LOOK_SECONDS, MARK, RunnerProcess, marked_processes, process_ended, runner
from tests.screen import Terminal
from tests.tools import require_tool
from tests.wire import FAILURE_SECONDS

LINES: Final = 1_000_000
"""Of 11 bytes each."""
GATE: Final = "until [ -e go ]; do sleep 0.02; done"
ASK_AND_DIE: Final = """
import asyncio, os, signal, sys
from kernel_runner.client import connect

async def main():
    async with connect(sys.argv[1]) as kernel:
        await anext(kernel.query("echo left"))
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
MUCH: Final = f"seq -f %010.0f {LINES}; exit 7"


class Person:
    """Somebody with a home and a folder, who comes back in one process after the other."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.folder = folder
        self.mark = str(home)
        self.env = environment(
            {"XDG_STATE_HOME": str(home), "XDG_RUNTIME_DIR": str(home), MARK: self.mark}
        )

    def start(self, *words: str, **env: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [COMMAND, *words],
            cwd=self.folder,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*words, **env)
        stdout, stderr = process.communicate(timeout=FAILURE_SECONDS)
        return subprocess.CompletedProcess(
            words, process.returncode, stdout.decode(), stderr.decode()
        )

    def detach(self, script: str, *words: str, file: str = "work.sh", **env: str) -> str:
        """Have it run; the name by which it is come back to."""
        (self.folder / file).write_text(script)
        done = self.run("run", "--detach", *words, file, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def terminal(self, *words: str) -> Terminal:
        return Terminal([COMMAND, *words], cwd=self.folder, env=self.env)

    def until(self, name: str, state: str) -> None:
        for _ in range(1_000):
            if f"state     {state}" in self.run("status", name).stdout:
                return
        raise AssertionError(f"{name} is not {state}")

    async def all_ended(self) -> None:
        async with asyncio.timeout(FAILURE_SECONDS):
            for pid in marked_processes(self.mark):
                await process_ended(pid)

    async def assert_nothing_left(self) -> None:
        """The runner has ended by itself, and its folder is gone."""
        await self.all_ended()
        assert [*(Path(self.mark) / "kernel-runner" / "detached").iterdir()] == []


@pytest.fixture
def person(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    home = tmp_path_factory.mktemp("h")  # the path of a socket has to be short
    person = Person(home, tmp_path)
    yield person
    kill(*marked_processes(person.mark))
    shutil.rmtree(home, ignore_errors=True)


def kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def numbered(lines: Sequence[bytes]) -> bool:
    """Whether these are the lines of `MUCH` from some number on, to the end."""
    return [int(line) for line in lines] == [*range(LINES - len(lines) + 1, LINES + 1)]


async def test_what_a_killed_submitter_has_left_is_fetched_with_its_exit_code(
    person: Person,
) -> None:
    (person.folder / "work.sh").write_text(MUCH)
    submitter = person.start("run", "--detach", "work.sh")
    assert submitter.stdout is not None
    name = submitter.stdout.readline().decode().strip()
    with suppress(ProcessLookupError):  # it may have ended by itself
        os.killpg(submitter.pid, signal.SIGKILL)
    submitter.communicate()
    person.until(name, "idle")  # it has finished before anybody comes

    done = person.run("attach")

    assert (done.returncode, done.stderr) == (7, "")
    assert len(done.stdout) == LINES * 11
    assert numbered(done.stdout.encode().splitlines())
    await person.assert_nothing_left()


async def test_output_comes_live_and_both_streams_are_kept_apart(person: Person) -> None:
    name = person.detach(f"echo out; echo err >&2; {GATE}; echo late")
    attached = person.start("attach", name)
    assert attached.stdout is not None
    assert attached.stdout.readline() == b"out\n"
    (person.folder / "go").touch()
    stdout, stderr = attached.communicate(timeout=FAILURE_SECONDS)

    assert (attached.returncode, stdout, stderr) == (0, b"late\n", b"err\n")
    await person.assert_nothing_left()


@pytest.mark.parametrize("moment_lines", [1, 300_000])
async def test_what_an_attach_has_not_shown_when_it_was_killed_is_shown_by_the_next(
    person: Person, moment_lines: int
) -> None:
    name = person.detach(MUCH)
    first = person.start("attach", name)
    assert first.stdout is not None
    shown = [first.stdout.readline() for _ in range(moment_lines)]
    first.kill()
    shown += first.communicate()[0].splitlines()
    if not shown[-1].endswith(b"\n"):
        shown.pop()

    done = person.run("attach", name)
    again = done.stdout.encode().partition(b"\n")[2].splitlines()  # it may begin within a line

    assert done.returncode == 7
    assert numbered(again)
    assert LINES - len(again) <= len(shown) + 1
    await person.assert_nothing_left()


async def test_who_attaches_second_takes_over_and_the_first_is_told(person: Person) -> None:
    name = person.detach(f"echo begin; {GATE}; echo end")
    first = person.start("attach", name)
    assert first.stdout is not None
    assert first.stdout.readline() == b"begin\n"
    second = person.start("attach", name)
    assert second.stdout is not None
    assert second.stdout.readline() == b"begin\n"
    stdout, stderr = first.communicate(timeout=FAILURE_SECONDS)
    (person.folder / "go").touch()
    rest, _ = second.communicate(timeout=FAILURE_SECONDS)

    told = f"kernel-runner: {name} was attached elsewhere, and goes on there\n"
    assert (first.returncode, stdout, stderr.decode()) == (2, b"", told)
    assert (second.returncode, rest) == (0, b"end\n")
    await person.assert_nothing_left()


async def test_ctrl_c_lets_go_and_what_is_typed_later_is_its_input(person: Person) -> None:
    name = person.detach("echo 'who is there?'; read name; echo hello $name; exit 5")
    for _ in range(2):
        attached = person.terminal("attach")
        attached.until("who is there")
        attached.type("<ctrl-c>")
        attached.until("work-.* goes on")
        assert attached.until_end() == 130
    attached = person.terminal("attach", name)
    attached.until("who is there")
    attached.line("Ada")
    attached.until("^hello Ada$")

    assert attached.until_end() == 5
    await person.assert_nothing_left()


async def test_a_terminal_that_is_closed_leaves_it_running(person: Person) -> None:
    name = person.detach(f"echo begin; {GATE}; echo end")
    attached = person.terminal("attach")
    attached.until("^begin$")
    attached.close()
    (person.folder / "go").touch()
    done = person.run("attach", name)

    assert (done.returncode, done.stdout) == (0, "begin\nend\n")


async def test_a_reader_that_leaves_does_not_end_it(person: Person) -> None:
    name = person.detach(f"{MUCH}")
    attached = person.start("attach")
    assert attached.stdout is not None
    assert attached.stdout.readline() == b"0000000001\n"
    attached.stdout.close()
    attached.stdout = None
    attached.communicate(timeout=FAILURE_SECONDS)
    assert attached.returncode == 128 + signal.SIGPIPE
    done = person.run("attach", name)

    assert done.returncode == 7
    assert numbered(done.stdout.partition("\n")[2].encode().splitlines())


async def test_status_queue_and_cancel_find_the_only_one_and_each_by_name(person: Person) -> None:
    name = person.detach("echo begin; sleep 600")
    assert f"running   {name}" in person.run("status").stdout
    assert name in person.run("queue").stdout
    other = person.detach("echo other; sleep 600", file="other.sh")
    which = person.run("status")
    assert f"running   {other}" in person.run("status", other).stdout
    assert person.run("cancel", other).stdout == f"cancelled {other}\n"
    assert person.run("cancel", name, name).stdout == f"cancelled {name}\n"
    ends = [person.run("attach", one) for one in (name, other)]

    assert_one_sentence(which, f"which one? {name} (shell), {other} (shell)")
    assert [(end.returncode, end.stdout) for end in ends] == [(130, "begin\n"), (130, "other\n")]
    await person.assert_nothing_left()


async def test_what_is_not_there_is_a_sentence_that_lists_what_is(person: Person) -> None:
    nothing = person.run("attach")
    unknown_of_none = person.run("attach", "work-0000")
    names = [person.detach("sleep 600") for _ in range(2)]
    several = person.run("attach")
    unknown = person.run("attach", "../work")
    for name in names:
        person.run("cancel", name)
        person.run("attach", name)

    listed = ", ".join(f"{name} (shell)" for name in names)
    assert_one_sentence(nothing, "nothing is detached; `kernel-runner run --detach FILE` does it")
    assert_one_sentence(unknown_of_none, "no detached work 'work-0000'; nothing is detached")
    assert_one_sentence(several, f"which one? {listed}")
    assert_one_sentence(unknown, f"no detached work '../work'; there is {listed}")
    await person.assert_nothing_left()


async def test_a_build_that_fails_is_shown_with_what_the_compiler_says(person: Person) -> None:
    require_tool("gcc")
    name = person.detach("int main(void) { return nothing; }", file="main.c")
    done = person.run("attach", name)

    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing" in done.stderr
    await person.assert_nothing_left()


async def test_a_program_is_built_and_gets_its_arguments_and_limits(person: Person) -> None:
    require_tool("gcc")
    (person.folder / "main.c").write_text(
        "#include <stdio.h>\nint main(int n, char **words) { puts(words[1]); for (;;); }"
    )
    name = person.run("run", "-d", "--wall", "1", "main.c", "--", "word").stdout.strip()
    done = person.run("attach", name)

    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "word\n")
    assert "1" in done.stderr
    await person.assert_nothing_left()


async def test_code_runs_beside_its_neighbours_and_leaves_no_file(person: Person) -> None:
    (person.folder / "helper.py").write_text("NAME = 'helper'")
    code = "import helper; print(helper.NAME)"
    name = person.run("run", "--detach", "--lang", "python", "-c", code).stdout.strip()
    done = person.run("attach", name)
    await person.assert_nothing_left()

    assert (name.startswith("python-"), done.returncode, done.stdout) == (True, 0, "helper\n")
    assert [p.name for p in person.folder.iterdir() if p.name[0] == "."] == []


async def test_output_that_nobody_can_keep_waits_for_somebody(person: Person) -> None:
    name = person.detach(
        MUCH, KERNEL_RUNNER_MAX_SPOOL_BYTES="0", KERNEL_RUNNER_MAX_PENDING_BYTES="1000000"
    )
    person.until(name, "busy")
    done = person.run("attach", name)

    assert done.returncode == 7
    assert len(done.stdout) == LINES * 11
    await person.assert_nothing_left()


async def test_a_runner_that_is_killed_is_told_once_and_forgotten(person: Person) -> None:
    name = person.detach("sleep 600")
    attached = person.start("attach")
    person.until(name, "busy")
    kill(*(pid for pid in marked_processes(person.mark) if pid != attached.pid))
    attached.kill()
    attached.communicate()
    await person.all_ended()
    done = person.run("attach", name)

    again = person.run("attach", name)

    assert_one_sentence(done, f"{name} is lost with its runner")
    assert_one_sentence(again, f"no detached work '{name}'; nothing is detached")
    await person.assert_nothing_left()


async def test_a_runner_that_does_not_start_is_a_sentence_and_leaves_nothing(
    person: Person,
) -> None:
    (person.folder / "work.sh").write_text("echo started")
    done = person.run("run", "--detach", "work.sh", KERNEL_RUNNER_MAX_QUEUE_LENGTH="many")

    assert_one_sentence(done, "max-queue-length: has to be a whole number")
    await person.assert_nothing_left()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--watch", "work.sh"], "--watch and --detach: give one of them"),
        (["missing.sh"], "missing.sh: no such file"),
        (["--connect", "nowhere", "work.sh"], "'nowhere' is no address"),
    ],
)
async def test_what_cannot_be_detached_starts_nothing(
    person: Person, words: list[str], part: str
) -> None:
    (person.folder / "work.sh").write_text("echo started")
    done = person.run("run", "--detach", *words)

    assert_one_sentence(done, part)
    assert_one_sentence(person.run("attach"), "nothing is detached")


async def test_a_runner_that_is_never_asked_ends(person: Person) -> None:
    script = (
        "import sys; from kernel_runner.cli import until; from kernel_runner.__main__ import main;"
        "until.UNUSED_SECONDS = 0.5; sys.exit(main())"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, "shell", "--until-fetched", "--in=none", "--out=none"),
        f"--session=ipc://{person.mark}/session",
        env=person.env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(FAILURE_SECONDS):
        assert await process.wait() == 0


async def test_what_a_killed_client_has_left_keeps_no_runner_that_nobody_finds(
    person: Person,
) -> None:
    name = person.detach(f"echo begin; {GATE}")
    socket = Path(person.mark, "kernel-runner", "detached", name, "session")
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ASK_AND_DIE, f"ipc://{socket}"), env=person.env
    )
    assert await client.wait() == -signal.SIGKILL
    (person.folder / "go").touch()
    done = person.run("attach", name)

    assert (done.returncode, done.stdout) == (0, "begin\n")
    await person.assert_nothing_left()


# At a runner that is there ---------------------------------------------------------------------


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    (tmp_path / "there").mkdir()
    async with runner(tmp_path / "there", "shell") as started:
        yield started


async def test_it_is_detached_to_a_runner_that_is_there_and_that_one_stays(
    person: Person, there: RunnerProcess
) -> None:
    address = there.addresses["session"]
    name = await asyncio.to_thread(
        person.detach, "echo in $(basename $PWD); exit 3", f"--connect={address}"
    )
    status = await asyncio.to_thread(person.run, "status", name)
    done = await asyncio.to_thread(person.run, "attach", name)
    again = await asyncio.to_thread(person.run, "attach", name)
    still = await asyncio.to_thread(person.run, "status", address)

    assert "language  shell" in status.stdout
    assert (done.returncode, done.stdout) == (3, "in work\n")
    assert_one_sentence(again, f"no detached work '{name}'")
    assert "state     idle" in still.stdout


async def test_what_is_lost_with_a_runner_that_was_there_is_told_once_and_forgotten(
    person: Person,
) -> None:
    socket = Path(person.mark, "session")
    server = person.start("serve", "shell", "--in=none", "--out=none", f"--session=ipc://{socket}")
    assert server.stdout is not None
    server.stdout.readline()
    name = await asyncio.to_thread(person.detach, "sleep 600", f"--connect=ipc://{socket}")
    while left := marked_processes(person.mark):  # some are only just born
        kill(*left)
        await asyncio.sleep(LOOK_SECONDS)
    server.communicate()
    done, again = person.run("attach", name), person.run("attach", name)

    assert_one_sentence(done, f"{name} is lost with its runner")
    assert_one_sentence(again, f"no detached work '{name}'; nothing is detached")


async def test_work_at_an_address_where_nobody_answers_now_is_kept(person: Person) -> None:
    record = Path(person.mark, "kernel-runner", "detached", "work-0000", "record.json")
    record.parent.mkdir(mode=0o700, parents=True)
    work = Detached("work-0000", "tcp://127.0.0.1:1", "s", "shell", None, is_own=False)
    record.write_bytes(msgspec.json.encode(work))

    assert_one_sentence(person.run("attach"), "it may only be away: work-0000 is kept")
    assert record.exists()


def test_where_nobody_has_a_home_nothing_is_detached(tmp_path: Path) -> None:
    env = {name: value for name, value in environment().items() if name[:4] not in ("HOME", "XDG_")}
    done = subprocess.run(
        [COMMAND, "attach"], cwd=tmp_path, env=env, capture_output=True, text=True
    )

    assert_one_sentence(done, "nothing is detached")


async def test_what_was_built_is_not_left_in_the_folder_of_the_user(person: Person) -> None:
    require_tool("gcc")
    program = '#include <stdio.h>\nint main(void) { puts("built"); }'
    name = person.detach(program, file="q.c")

    done = person.run("attach", name)

    assert (done.returncode, done.stdout) == (0, "built\n"), done.stderr
    await person.assert_nothing_left()
    assert [file.name for file in person.folder.iterdir()] == ["q.c"]


def test_a_folder_for_names_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "work.sh").write_text("echo started")
    (tmp_path / "state").touch()
    done = subprocess.run(
        [COMMAND, "run", "--detach", "work.sh"],
        cwd=tmp_path,
        env=environment({"XDG_STATE_HOME": str(tmp_path / "state")}),
        capture_output=True,
        text=True,
    )

    assert_one_sentence(done, "Not a directory; is XDG_STATE_HOME right?")
