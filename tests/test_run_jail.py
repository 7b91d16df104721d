"""Programs run by `kernel-runner run` come in; the jail is there, and one does not notice it."""

import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_runner.jail import landlock
from tests.commanding import command, environment
from tests.screen import Terminal
from tests.test_run import RUN
from tests.tools import require_tool

pytestmark = pytest.mark.skipif(landlock.abi() < 6, reason="needs Landlock ABI 6")

FREELY = {
    "write here": "open('made', 'w').write('x'); import os; os.makedirs('a/b'); os.rename('made',"
    " 'a/b/made'); os.chmod('a/b/made', 0o640); print(os.listdir('a/b'))",
    "temporary files": "import tempfile\nwith tempfile.TemporaryDirectory() as folder:"
    " print(open(folder + '/x', 'w').write('x'))",
    "read the system": "print(len(open('/etc/passwd').read()), len(open('/proc/stat').read(3)))",
    "read the home folder": "import os; print(os.path.isdir(os.path.expanduser('~')),"
    " len(os.listdir(os.path.expanduser('~'))))",
    "other programs": "import subprocess; print(subprocess.run(['ls', '/'], capture_output=True)"
    ".returncode)",
    "serve": "import socket\nwith socket.create_server(('127.0.0.1', 0)) as server:\n"
    "    with socket.create_connection(server.getsockname()): print('connected')",
    "datagrams": "import socket\nwith socket.socket(type=socket.SOCK_DGRAM) as one:\n"
    "    one.bind(('127.0.0.1', 0)); one.sendto(b'x', one.getsockname()); print(one.recv(9))",
    "sockets by path": "import socket\nwith socket.socket(socket.AF_UNIX) as server:\n"
    "    server.bind('socket'); server.listen()\n"
    "    with socket.socket(socket.AF_UNIX) as client: print(client.connect('socket'))",
    "processes": "import multiprocessing as m\nif __name__ == '__main__':\n"
    "    with m.get_context('spawn').Pool(2) as pool: print(pool.map(abs, [-1, -2]))",
    "shared memory": "from multiprocessing.shared_memory import SharedMemory\n"
    "memory = SharedMemory(create=True, size=9); memory.close(); memory.unlink(); print('x')",
    "threads": "import threading\nthreads = [threading.Thread(target=print, args=('x',))"
    " for _ in range(3)]\nfor one in threads: one.start(); one.join()",
    "signals to its own": "import os, signal, subprocess\n"
    "child = subprocess.Popen(['sleep', '9']); child.terminate(); print(child.wait())",
    "try to write elsewhere": "import os\ntry: open('/etc/made', 'w')\n"
    "except OSError: print('refused')"
    if os.getuid() != 0
    else "print('refused')",
}


@pytest.fixture
def port() -> Iterator[int]:
    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from the network")

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.HTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return command("run", *words, cwd=folder)


@pytest.mark.parametrize("name", FREELY)
def test_what_people_do_in_their_own_folder_works(tmp_path: Path, name: str) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    for folder in ("one", "other"):
        (tmp_path / folder / "program.py").write_text(FREELY[name])

    ours = run(tmp_path / "one", "program.py")
    own = subprocess.run(
        ["python3", "program.py"],
        cwd=tmp_path / "other",
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ours.stdout, ours.stderr, ours.returncode) == (own.stdout, "", 0), own.stderr


def test_the_network_can_be_asked(tmp_path: Path, port: int) -> None:
    (tmp_path / "ask.py").write_text(
        "from urllib.request import ProxyHandler, build_opener\n"
        f"print(build_opener(ProxyHandler({{}})).open('http://127.0.0.1:{port}/').read())"
    )

    assert run(tmp_path, "ask.py").stdout == "b'from the network'\n"


REFUSED = {
    "write elsewhere": "open('{outside}/made', 'w')",
    "remove elsewhere": "import os; os.unlink('{outside}/kept')",
    "a link out": "import os; os.symlink('{outside}/kept', 'link'); open('link', 'w')",
    "mode elsewhere": "import os; os.chmod('{outside}/kept', 0)",
    "signal": "import os; os.kill({pid}, 0)",
    "signal to the runner": "import os; os.kill(os.getppid(), 15)",
    "trace": "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)\n"
    "if libc.ptrace(16, {pid}, 0, 0): raise OSError(ctypes.get_errno(), 'ptrace')",
    "memory": "open('/proc/{pid}/mem', 'rb')",
    "namespaces": "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
    "if libc.unshare(1 << 28): raise OSError(ctypes.get_errno(), 'unshare')",
}
TOLD = {
    "write elsewhere": "for writing: not in files.write",
    "remove elsewhere": "for writing: not in files.write",
    "a link out": "for writing: not in files.write",
    "mode elsewhere": "not in files.write",
    "trace": "reads or changes other processes; never allowed",
    "namespaces": "refused by process: no namespaces",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_its_own_is_refused_and_told(tmp_path: Path, name: str) -> None:
    for folder in ("work", "outside"):
        (tmp_path / folder).mkdir()
    (tmp_path / "outside" / "kept").write_text("kept")
    words = {"outside": str(tmp_path / "outside"), "pid": str(os.getpid())}
    code = REFUSED[name]
    for word, value in words.items():
        code = code.replace(f"{{{word}}}", value)
    (tmp_path / "work" / "program.py").write_text(code)

    # pytest's own folders are below the one for temporary files
    policy = tmp_path / "own.yml"
    policy.write_text('extends: run\nfiles:\n  write: !reset ["{work_dir}", "{tmp}"]\n')
    env = {"TMPDIR": str(tmp_path / "work")}
    ended = command("run", f"--jail={policy}", "program.py", cwd=tmp_path / "work", env=env)

    assert ended.returncode == 1
    assert "PermissionError" in ended.stderr
    assert TOLD.get(name, "") in ended.stderr
    assert "{" not in ended.stderr.partition("kernel-runner: ")[2]
    assert (tmp_path / "outside" / "kept").read_text() == "kept"
    assert len(list((tmp_path / "outside").iterdir())) == 1


def test_without_the_jail_it_may_do_what_its_user_may(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(f"import os; print(os.kill({os.getpid()}, 0))")

    assert run(tmp_path, "--no-jail", "program.py").stdout == "None\n"


def test_the_policy_of_the_language_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import socket; socket.socket()")

    ended = run(tmp_path, "--jail", "auto", "program.py")

    assert "refused by network (jail-policies/python.yml)" in ended.stderr
    assert ended.returncode == 1


def test_c_is_built_and_run_in_it(tmp_path: Path) -> None:
    require_tool("gcc")
    (tmp_path / "main.c").write_text('#include <stdio.h>\nint main(void) { puts("hello"); }')

    ended = run(tmp_path, "main.c")

    assert (ended.stdout, ended.stderr, ended.returncode) == ("hello\n", "", 0)


def test_it_runs_where_nobody_may_write(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("print('hello')")

    ended = command("run", str(tmp_path / "program.py"), cwd=Path("/"))

    assert (ended.stdout, ended.stderr, ended.returncode) == ("hello\n", "", 0)


def test_a_terminal_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text(
        "import os; name = input('who? '); print('hello', name, os.isatty(0), file=open('/dev/tty',"
        " 'w'))"
    )

    terminal = Terminal([*RUN, "ask.py"], cwd=tmp_path, env={})
    terminal.until("who\\?$")
    terminal.line("you")
    terminal.until("^hello you True$")

    assert terminal.until_end() == 0


def test_a_program_may_run_another_in_a_jail_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text("print('inside')")
    (tmp_path / "outer.py").write_text(
        f"import subprocess; subprocess.run([{RUN[0]!r}, 'run', 'inner.py'], check=True)"
    )

    ended = run(tmp_path, "outer.py")

    assert (ended.stdout, ended.stderr, ended.returncode) == ("inside\n", "", 0)


def test_both_words_about_the_jail_are_too_many(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("pass")

    ended = run(tmp_path, "--jail", "auto", "--no-jail", "program.py")

    assert ended.returncode == 2
    assert ended.stderr.startswith("kernel-runner: --jail and --no-jail: give one of them")
