"""Programs run by `kernel-runner run` and by their language's own command: nobody sees which."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

from kernel_runner.cli.foreground import STUCK_SECONDS
from kernel_runner.client import connect
from tests.running import LOOK_SECONDS, MARK, RunnerProcess, marked_processes, runner
from tests.screen import Terminal
from tests.tools import require_tool
from tests.wire import FAILURE_SECONDS

Done: TypeAlias = subprocess.CompletedProcess[bytes]
RUN = (str(Path(sys.executable).with_name("kernel-runner")), "run")


def until_all_ended(mark: str) -> None:
    end = time.monotonic() + FAILURE_SECONDS
    while left := marked_processes(mark):
        assert time.monotonic() < end, f"left: {left}"
        time.sleep(LOOK_SECONDS)


def run(folder: Path, *words: str, stdin: bytes = b"", command: Sequence[str] = RUN) -> Done:
    return subprocess.run([*command, *words], cwd=folder, input=stdin, capture_output=True)


PROGRAMS = {
    "arguments": "import sys; print(sys.argv, __file__, sys.path[0])",
    "environment": "import os; ours = {'_', 'PYTHONPATH', 'KERNEL_RUNNER_MEDIA'};"
    " print(sorted(set(os.environ) - ours), os.getcwd())",
    "streams": "import sys; print([s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr)])",
    "input": "import sys; print(input('how many? ') * 2); print(repr(sys.stdin.read()))",
    "exit code": "import sys; sys.exit(7)",
    "words for an exit": "import sys; sys.exit('no luck')",
    "traceback": "def f(): return 1 / 0\nf()",
    "signal": "import os; os.abort()",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "bytes": "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000)",
    "both streams": "import sys; print('out'); print('err', file=sys.stderr)",
    "neighbours": "import helper; print(helper.NAME)",
    "many lines": "for number in range(200_000): print(number)",
    "closed output": "import os; os.close(1)",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_behaves_as_with_the_command_of_its_language(tmp_path: Path, name: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAMS[name])
    (tmp_path / "helper.py").write_text("NAME = 'helper'")
    stdin = b"5\nrest"

    own = run(tmp_path, "program.py", "a", "-b", command=["python3"], stdin=stdin)
    ours = run(tmp_path, "program.py", "--", "a", "-b", stdin=stdin)

    # of a fault tells the shell; to that, we have ended well
    told = {-6: b"the program was ended by SIGABRT", -9: b"the program was ended by SIGKILL"}
    sentence = told.get(own.returncode)
    stderr = own.stderr + (b"kernel-runner: %b\n" % sentence if sentence else b"")
    assert (ours.stdout, ours.stderr) == (own.stdout, stderr)
    assert ours.returncode == (own.returncode if own.returncode >= 0 else 128 - own.returncode)


def test_sources_are_built_and_arguments_passed_on(tmp_path: Path) -> None:
    require_tool("gcc")
    (tmp_path / "main.c").write_text(
        "#include <stdio.h>\nint square(int);\n"
        'int main(int n, char **v) { int x; scanf("%d", &x);'
        ' printf("%s %d\\n", v[1], square(x)); return 3; }'
    )
    (tmp_path / "util.c").write_text("int square(int x) { return x * x; }")

    done = run(tmp_path, "main.c", "util.c", "--", "--lang", stdin=b"5")

    assert (done.stdout, done.stderr, done.returncode) == (b"--lang 25\n", b"", 3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["main.c", "util.c"]


def test_a_build_that_fails_says_what_the_compiler_says(tmp_path: Path) -> None:
    require_tool("gcc")
    (tmp_path / "main.c").write_text("int main(void) { return undeclared; }")

    done = run(tmp_path, "main.c")

    assert done.returncode == 1
    assert done.stdout == b""
    assert b"main.c:1:25: error: " in done.stderr


def test_code_can_be_a_word_or_come_by_standard_input(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("NAME = 'helper'")

    word = run(tmp_path, "--lang", "python", "-c", "import helper; print(helper.NAME, input())")
    piped = run(tmp_path, "--lang", "python", "-", stdin=b"import helper; print(helper.NAME)")

    assert word.stderr.endswith(b"EOFError: EOF when reading a line\n")
    assert piped.stdout == b"helper\n"
    assert [file.name for file in tmp_path.glob("*.py")] == ["helper.py"]


def test_it_does_not_read_the_input_that_its_program_leaves(tmp_path: Path) -> None:
    (tmp_path / "nothing.py").write_text("pass")

    done = subprocess.run(
        ["bash", "-c", f"while read line; do {' '.join(RUN)} nothing.py; echo $line; done"],
        cwd=tmp_path,
        input=b"one\ntwo\nthree\n",
        capture_output=True,
    )

    assert done.stdout == b"one\ntwo\nthree\n"


def test_a_program_whose_reader_leaves_is_ended(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text("while True: print('y' * 100)")

    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {' '.join(RUN)} endless.py 2>&1 | head -c 5"],
        cwd=tmp_path,
        capture_output=True,
    )

    assert done.stdout == b"yyyyy"
    assert done.returncode != 0


def test_two_streams_into_one_file_keep_their_order(tmp_path: Path) -> None:
    (tmp_path / "both.py").write_text(
        "import sys\nfor n in range(50):\n print(n, flush=True); print('e', n, file=sys.stderr)"
    )

    with (tmp_path / "log").open("wb") as log:
        subprocess.run([*RUN, "both.py"], cwd=tmp_path, stdout=log, stderr=log, check=True)

    expected = "".join(f"{n}\ne {n}\n" for n in range(50))
    assert (tmp_path / "log").read_text() == expected


def test_a_program_meets_a_full_disk_itself(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text("print('hello')")

    with Path("/dev/full").open("wb") as full:
        own, ours = (
            subprocess.run(
                [*command, "hello.py"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE
            )
            for command in (["python3"], RUN)
        )

    assert b"No space left on device" in ours.stderr
    assert (ours.returncode, ours.stderr) == (own.returncode, own.stderr)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_from_the_start_do_no_harm(tmp_path: Path, closed: str) -> None:
    (tmp_path / "touch.py").write_text("open('made', 'w'); print('x')")

    script = f"{' '.join(RUN)} touch.py {closed}; echo $? >> code"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True)

    assert (tmp_path / "made").exists()
    assert (tmp_path / "code").read_text() == "0\n"
    assert done.stderr == b""


def test_a_program_says_farewell_when_it_is_told_to_end(tmp_path: Path) -> None:
    (tmp_path / "polite.py").write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('farewell'), sys.exit(9)))\n"
        "print('ready', flush=True); time.sleep(1000)"
    )
    with subprocess.Popen(
        [*RUN, "polite.py"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        rest = process.stdout.read()

    assert (rest, process.returncode) == (b"farewell\n", 9)


def test_what_was_ignored_from_the_start_stays_ignored(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("print('ready', flush=True); input()")
    with subprocess.Popen(
        ["nohup", *RUN, "job.py"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGHUP)
        process.communicate(b"go\n")

    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_whoever_ends_it_ends_its_program_and_all_below(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "parent.py").write_text(
        "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True);"
        " print('ready', flush=True); import time; time.sleep(1000)"
    )
    mark = os.urandom(8).hex()

    with subprocess.Popen(
        [*RUN, "parent.py"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={**os.environ, MARK: mark},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        exit_code = process.wait()

    until_all_ended(mark)
    assert exit_code == (-number if number == signal.SIGKILL else 128 + number)


NOT_TO_BE_RUN = {
    "missing.py": "kernel-runner: missing.py: no such file or directory",
    "notes.txt": "kernel-runner: notes.txt: not one of the known endings",
    "empty.py": "kernel-runner: empty.py: is empty: there is nothing to run",
    "folder": "kernel-runner: folder: is a folder; name the files, as in folder/main.py",
    "main.py main.c": "kernel-runner: one language at a time: main.c is c, main.py is python",
    "": "kernel-runner: say what to run: files, or - for standard input, or -c CODE",
    "-c print() main.py": "kernel-runner: give files or -c CODE, not both; words for the program",
    "main.py -c 1": "kernel-runner: give files or -c CODE, not both; words for the program go",
    "-c 1": "kernel-runner: which language? say --lang, as in: --lang python",
    "--lang lava main.py": "kernel-runner: no language 'lava'",
    "--runtime-path no-python main.py": "kernel-runner: --runtime-path: no-python is no program",
    "main.py argument": "kernel-runner: argument: no such file or directory; words for the program",
    "main.py --flag": "kernel-runner: unrecognized arguments: --flag; words for the program go",
    "--wall -1 main.py": "kernel-runner: argument --wall: '-1' is no number of seconds above 0",
}


@pytest.mark.parametrize("words", NOT_TO_BE_RUN)
def test_what_cannot_be_run_is_told_in_a_sentence_and_nothing_starts(
    tmp_path: Path, words: str
) -> None:
    for name in ("main.py", "main.c", "notes.txt"):
        (tmp_path / name).write_text("print('started')")
    (tmp_path / "empty.py").touch()
    (tmp_path / "folder").mkdir()

    done = run(tmp_path, *words.split())

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(NOT_TO_BE_RUN[words])
    if "--flag" in words:
        assert done.stderr.endswith(b"see `kernel-runner run --help`\n")
    assert done.stderr.count(b"\n") == 1


FOUND = {
    "HELLO.PY": "print('found')",
    "HELLO.C": '#include <stdio.h>\nint main(void) { int new = 0; puts("found"); return new; }',
    "by-path": "#!/usr/bin/python3.11\nprint('found')",
    "by-env": "#!/usr/bin/env python3\nprint('found')",
    "by-env-with-options": "#! /usr/bin/env -S A=1 python3 -u\nprint('found')",
    "by-alias": "#!/bin/sh\necho found",
    "notes.txt": "#!/bin/bash\necho found",
}


@pytest.mark.parametrize("name", FOUND)
def test_the_language_is_found_by_ending_or_first_line(tmp_path: Path, name: str) -> None:
    if name.endswith(".C"):
        require_tool("gcc")
    (tmp_path / name).write_text(FOUND[name])
    (tmp_path / "data.csv").write_text("1,2")

    done = run(tmp_path, name)
    with_data = run(tmp_path, name, "data.csv")

    assert (done.returncode, done.stdout, done.stderr) == (0, b"found\n", b"")
    assert (with_data.returncode, with_data.stdout, with_data.stderr) == (0, b"found\n", b"")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("#!/usr/bin/zsh", "deploy: its first line asks for zsh, which no language here has"),
        ("#!", "deploy: not one of the known endings"),
        ("#!/usr/bin/env -S", "deploy: its first line asks for env, which no language here has"),
        ("\xff\x00", "deploy: not one of the known endings"),
    ],
)
def test_a_first_line_that_names_no_language_is_a_sentence(
    tmp_path: Path, line: str, part: str
) -> None:
    (tmp_path / "deploy").write_text(f"{line}\necho started\n", encoding="latin-1")

    done = run(tmp_path, "deploy")

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"kernel-runner: {part}")
    assert done.stderr.endswith(b"; say --lang\n")


def test_a_tool_that_is_not_there_is_named_with_its_package(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int main(void) {}")

    done = subprocess.run(
        [*RUN, "main.c"], cwd=tmp_path, capture_output=True, env={"PATH": str(tmp_path)}
    )

    expected = b"kernel-runner: gcc is not installed; on Debian: apt install gcc libc6-dev\n"
    assert (done.returncode, done.stderr) == (2, expected)


def test_with_watch_a_change_ends_it_and_runs_it_again(tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    program.write_text("print('first', flush=True); import time; time.sleep(1000)")

    with subprocess.Popen(
        [*RUN, "--watch", "page.py"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        heard = [process.stdout.readline()]
        program.with_suffix(".new").write_text("print('second')")
        program.with_suffix(".new").rename(program)
        heard += [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)

    assert b"".join(heard).decode() == (
        "first\nkernel-runner: changed; running it again\n"
        "second\nkernel-runner: exit code 0; waiting for a change\n"
    )
    assert process.returncode == 128 + signal.SIGINT


# At a runner that is there already --------------------------------------------------------


async def run_there(started: RunnerProcess, folder: Path, *words: str, stdin: bytes = b"") -> Done:
    command = [*RUN, "--connect", started.addresses["session"]]
    return await asyncio.to_thread(run, folder, *words, stdin=stdin, command=command)


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    (tmp_path / "there").mkdir()
    async with runner(tmp_path / "there") as started:
        yield started


async def test_files_are_sent_and_run_there(there: RunnerProcess, tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "data").mkdir(parents=True)
    (here / "data" / "numbers.txt").write_text("1 2 3")
    (here / "total.py").write_text(
        "import sys, os; print(sum(map(int, open('data/numbers.txt').read().split())),"
        " sys.argv, input(), len(sys.stdin.read()), os.getcwd()); sys.exit(3)"
    )

    words = ["total.py", "data/numbers.txt", "--", "-x"]
    done = await run_there(there, here, *words, stdin=b"line\n" + b"y" * 1_000_000)

    expected = f"6 ['total.py', '-x'] line 1000000 {there.work_dir}\n"
    assert (done.stdout.decode(), done.returncode) == (expected, 3)


async def test_code_is_run_there_and_leaves_no_file(there: RunnerProcess, tmp_path: Path) -> None:
    done = await run_there(there, tmp_path, "--lang", "python", "-c", "print(6 * 7)")

    async with connect(there.addresses["session"]) as kernel:
        await kernel.execute("true").result()  # what removes the file is in line before
    assert (done.stdout, done.returncode) == (b"42\n", 0)
    assert list(there.work_dir.iterdir()) == []


async def test_ending_it_ends_what_runs_there(there: RunnerProcess, tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text("import time; print('on', flush=True); time.sleep(1000)")
    process = await asyncio.create_subprocess_exec(
        *(*RUN, "--connect", there.addresses["session"], "endless.py"),
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"on\n"
    process.terminate()
    exit_code = await process.wait()

    async with connect(there.addresses["session"]) as kernel:
        assert (await kernel.execute("true").result()).ok
    assert exit_code == 128 + signal.SIGTERM


async def test_what_cannot_be_run_there_is_told(there: RunnerProcess, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int main(void) {}")
    (tmp_path / "main.py").write_text("print(1)")

    other = await run_there(there, tmp_path, "main.c")
    watch = await run_there(there, tmp_path, "--watch", "main.py")

    assert other.returncode == watch.returncode == 2
    assert other.stderr.endswith(b" runs python, and this is c\n")
    assert watch.stderr.startswith(b"kernel-runner: --watch and --runtime-path are for programs")


# In a terminal --------------------------------------------------------------------------------

PERSON = """\
import getpass, os, signal, sys, time
print([stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)], os.environ["TERM"])
print("hello", input("name? "))
print(len(getpass.getpass("password? ")), "characters")
signal.signal(signal.SIGWINCH, lambda *_: print("now", os.get_terminal_size()))
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"not yet\\n"))
print("size", os.get_terminal_size())
while True:
    time.sleep(1000)
"""


@pytest.fixture
def person(tmp_path: Path) -> Path:
    (tmp_path / "person.py").write_text(PERSON)
    return tmp_path


def test_a_terminal_is_passed_on(person: Path) -> None:
    terminal = Terminal([*RUN, "person.py"], cwd=person, env={}, rows=30, columns=90)
    terminal.until("name\\?$")
    terminal.line("Ada")
    terminal.until("password\\?$")
    terminal.line("secret")
    terminal.until("size ")
    terminal.resize(33, 99)
    terminal.until("now ")

    assert terminal.lines == [
        "[True, True, True] xterm-256color",
        "name? Ada",
        "hello Ada",
        "password?",
        "6 characters",
        "size os.terminal_size(columns=90, lines=30)",
        "now os.terminal_size(columns=99, lines=33)",
    ]
    terminal.close()


def test_a_build_that_takes_its_time_is_told_until_there_is_output(
    tmp_path: Path,
) -> None:
    compiler = tmp_path / "slow-gcc"
    compiler.write_text('#!/bin/sh\nread line < fifo\nexec gcc "$@"\n')
    compiler.chmod(0o755)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "main.c").write_text('#include <stdio.h>\nint main(void) { puts("hello"); }')
    require_tool("gcc")
    words = ["--runtime-path", str(compiler), "main.c"]
    terminal = Terminal([*RUN, *words], cwd=tmp_path, env={})
    terminal.until("^building \\.\\.\\.$")
    (tmp_path / "fifo").write_text("go\n")

    assert terminal.until_end() == 0
    assert terminal.lines == ["hello"]


def test_ctrl_c_interrupts_and_twice_ends(person: Path) -> None:
    terminal = Terminal([*RUN, "person.py"], cwd=person, env={})
    terminal.line("Ada")
    terminal.until("password")
    terminal.line("secret")
    terminal.until("size ")
    terminal.type("<ctrl-c>")
    terminal.until("not yet")
    for _ in range(50):  # the last of them come when it has ended
        terminal.type("<ctrl-c>")

    assert terminal.until_end() == 128 + signal.SIGKILL


RAW = """\
import os, sys, termios, tty
before = termios.tcgetattr(0)
tty.setraw(0)
print("keys?", end="", flush=True)
keys = b""
while not keys.endswith(b"q"):
    keys += os.read(0, 100)
termios.tcsetattr(0, termios.TCSANOW, before)
print(keys)
"""


def test_to_a_program_that_reads_keys_ctrl_c_is_a_key(tmp_path: Path) -> None:
    (tmp_path / "editor.py").write_text(RAW)
    terminal = Terminal([*RUN, "editor.py"], cwd=tmp_path, env={})
    terminal.until("keys\\?$")
    terminal.type("\x1a", "<ctrl-c>", "<ctrl-c>", "<ctrl-c>", "q")

    assert terminal.until_end() == 0
    assert terminal.lines == ["keys?b'\\x1a\\x03\\x03\\x03q'"]


def test_ctrl_c_reaches_a_program_that_does_not_read_what_was_typed_before(tmp_path: Path) -> None:
    (tmp_path / "busy.py").write_text("import time; print('busy'); time.sleep(1000)")
    terminal = Terminal([*RUN, "busy.py"], cwd=tmp_path, env={})
    terminal.until("busy")
    for _ in range(20):
        terminal.child.send("a line that nobody reads\n" * 100)
    terminal.until("nobody reads$")
    time.sleep(2 * STUCK_SECONDS)  # only time makes it stuck
    terminal.type("<ctrl-c>")

    assert terminal.until_end() == 128 + signal.SIGINT


def test_ctrl_z_gives_the_shell_back_and_fg_goes_on(person: Path) -> None:
    shell = Terminal(["bash", "--norc", "--noediting"], cwd=person, env={"PS1": "$ "})
    shell.until_prompt("$")
    shell.line(f"{' '.join(RUN)} person.py")
    shell.until("name\\?$")
    shell.type("\x1a")
    shell.until("Stopped")
    shell.line("stty | grep -c icanon; echo it is $((1 + 1))")
    shell.until("^it is 2")
    shell.line("fg")
    shell.line("Ada")
    shell.until("hello Ada")
    shell.close()


def test_a_stopped_job_goes_on_in_the_background_and_can_be_killed_there(tmp_path: Path) -> None:
    (tmp_path / "count.py").write_text(
        "import time\nfor n in range(1000): print('n', n, flush=True); time.sleep(0.05)"
    )
    shell = Terminal(["bash", "--norc", "--noediting"], cwd=tmp_path, env={"PS1": "$ "})
    shell.until_prompt("$")
    shell.line(f"{' '.join(RUN)} count.py > log")
    while not (tmp_path / "log").exists() or not (tmp_path / "log").read_text():
        pass
    shell.type("\x1a")
    shell.until("Stopped")
    before = len((tmp_path / "log").read_text())
    shell.line("bg")
    while len((tmp_path / "log").read_text()) <= before:
        pass
    shell.line("kill %1; wait %1; echo code $?")

    shell.until("^code 143")
    shell.close()


def test_a_job_in_the_background_takes_no_keys_until_it_is_fetched(tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text("print('hello', input('name? '))")
    shell = Terminal(["bash", "--norc", "--noediting"], cwd=tmp_path, env={"PS1": "$ "})
    shell.until_prompt("$")
    shell.line(f"{' '.join(RUN)} ask.py &")
    shell.until("name\\?")
    shell.line("echo it is $((1 + 1))")
    shell.until("^it is 2")
    shell.line("fg")
    shell.until("ask.py$")
    shell.line("Ada")
    shell.until("hello Ada")
    shell.close()


def test_a_crash_in_a_terminal_is_told(tmp_path: Path) -> None:
    (tmp_path / "crash.py").write_text("import os; os.abort()")
    terminal = Terminal([*RUN, "crash.py"], cwd=tmp_path, env={})

    assert terminal.until_end() == 128 + signal.SIGABRT
    assert terminal.lines == ["kernel-runner: the program was ended by SIGABRT"]


def test_a_sentence_of_ours_begins_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "crash.py").write_text(
        "import os; print('half a line', end='', flush=True); os.abort()"
    )
    terminal = Terminal([*RUN, "crash.py"], cwd=tmp_path, env={})

    assert terminal.until_end() == 128 + signal.SIGABRT
    assert terminal.lines == ["half a line", "kernel-runner: the program was ended by SIGABRT"]


@pytest.mark.parametrize("where", ["| cat", "2>&1 | cat", "2> errors", "< /dev/null"])
def test_a_stream_that_is_no_terminal_is_none_inside(tmp_path: Path, where: str) -> None:
    (tmp_path / "streams.py").write_text(PROGRAMS["streams"])
    shell = Terminal(["bash", "--norc"], cwd=tmp_path, env={"PS1": "$ "}, columns=250)
    shell.until_prompt("$")
    shell.line(f"python3 streams.py {where}; {' '.join(RUN)} streams.py {where}; echo end")
    shell.until("^end")
    shell.close()

    own, ours = (line for line in shell.lines if line.startswith("["))
    assert own == ours


def test_a_paste_of_a_megabyte_arrives(tmp_path: Path) -> None:
    (tmp_path / "lines.py").write_text(
        "import sys, hashlib\nprint('ready')\n"
        "print(hashlib.sha256(sys.stdin.read().encode()).hexdigest())"
    )
    text = "".join(f"line {number:060}\n" for number in range(16_000))
    terminal = Terminal([*RUN, "lines.py"], cwd=tmp_path, env={})
    terminal.until("ready")
    for start in range(0, len(text), 4_096):
        terminal.child.send(text[start : start + 4_096])
    terminal.type("<ctrl-d>")

    terminal.until(hashlib.sha256(text.encode()).hexdigest())
    assert terminal.until_end() == 0


def test_a_terminal_that_is_closed_ends_the_program(person: Path) -> None:
    mark = os.urandom(8).hex()
    terminal = Terminal([*RUN, "person.py"], cwd=person, env={MARK: mark})
    terminal.until("name\\?$")
    terminal.hang_up()

    until_all_ended(mark)
