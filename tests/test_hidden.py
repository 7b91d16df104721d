"""What user code finds of its own runner: no descriptor, no address, and nothing of its memory."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from kernel_runner.client import launch
from tests.commanding import COMMAND, environment
from tests.running import connected, conversation, runner
from tests.tools import require_tool

# root reads everything, unless it has given up the right to
BEFORE = ("setpriv", "--bounding-set=-all") if os.getuid() == 0 else ()
SNOOP = """\
import os
def parent(pid):
    try:
        return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
    except OSError:
        return 0
def look(kind, pid):
    for name in ("environ", "maps", "mem"):
        try:
            open(f"/proc/{pid}/{name}", "rb").close()
            print(kind, name)
        except OSError:
            pass
    try:
        os.readlink(f"/proc/{pid}/fd/1")
        print(kind, "fd")
    except OSError:
        pass
look("own", os.getpid())
keeper = parent(os.getpid())
guardian = parent(keeper)
pids = [int(pid) for pid in os.listdir("/proc") if pid.isdigit()]
below = [pid for pid in pids if parent(pid) == guardian]
for pid in (keeper, guardian, *below, *MORE):
    look("OURS", pid)
"""
OWN = ["own environ", "own maps", "own mem", "own fd"]


@pytest.fixture(autouse=True)
def _tool() -> None:
    if BEFORE:
        require_tool(BEFORE[0])


@pytest.mark.parametrize("op", ["exec", "code"])
async def test_programs_cannot_read_runner_guardian_and_keepers(tmp_path: Path, op: str) -> None:
    async with runner(tmp_path, before=BEFORE) as started, connected(started) as client:
        snoop = SNOOP.replace("MORE", str([started.process.pid, (await client.status())["pid"]]))
        (started.work_dir / "main.py").write_text(snoop)
        heard = await client.run(op, "*" if op == "exec" else snoop)

    assert heard.stdout.decode().splitlines() == OWN


async def test_a_runner_that_is_debugged_can_be_read(tmp_path: Path) -> None:
    async with (
        runner(tmp_path, "python", "--debug", before=BEFORE) as started,
        connected(started) as client,
    ):
        heard = await client.run("code", SNOOP.replace("MORE", "[]"))

    assert b"OURS environ" in heard.stdout


def test_run_hides_itself_too(tmp_path: Path) -> None:
    (tmp_path / "snoop.py").write_text(SNOOP.replace("MORE", "[parent(guardian)]"))
    done = subprocess.run(
        [*BEFORE, COMMAND, "run", "snoop.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == OWN


async def test_a_prompt_is_still_seen_from_outside(tmp_path: Path) -> None:
    async with (
        runner(tmp_path, "shell", before=BEFORE) as started,
        connected(started) as client,
    ):
        request = await client.say("exec", "read line; echo got $line")
        await client.hear_until("waiting-input")
        await client.say("input", "it\n")
        heard = await client.hear_finish(request)

    assert b"got it" in heard.stdout


async def test_figures_are_shown_where_the_folder_for_temporary_files_has_a_long_name(
    tmp_path: Path,
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    script = (
        "import json, os, socket\n"
        "with socket.socket(socket.AF_UNIX) as to:\n"
        "    to.connect(os.environ['KERNEL_RUNNER_MEDIA'])\n"
        "    to.sendall(json.dumps({'data': {'text/html': '<b>'}}).encode())\n"
        "    to.shutdown(socket.SHUT_WR)\n"
        "    print(to.recv(100))\n"
    )
    async with (
        runner(tmp_path, before=BEFORE, env={"TMPDIR": str(long)}) as started,
        connected(started) as client,
    ):
        (started.work_dir / "main.py").write_text(script)
        heard = await client.run("exec", "*")

    assert heard.stdout == b"b'ok\\n'\n", heard
    assert list(long.iterdir()) == []


async def test_programs_get_no_descriptor_and_no_address_of_the_runner(tmp_path: Path) -> None:
    script = (
        "import json, os\n"
        "links = [os.readlink(f'/proc/self/fd/{fd}') for fd in (0, 1, 2, *range(3, 1000))"
        " if os.path.lexists(f'/proc/self/fd/{fd}')]\n"
        "print(json.dumps([links, dict(os.environ)]))\n"
    )
    async with conversation("session", tmp_path) as (started, client):
        (started.work_dir / "main.py").write_text(script)
        batch = json.loads((await client.run("exec", "*")).stdout)
        query = json.loads((await client.run("code", script)).stdout)

    for links, env in (batch, query):
        assert [link for link in links if "socket" in link] == [], links
        assert [link for link in links if str(tmp_path) in link] == [], links
        ours = {name for name in env if name.startswith("KERNEL_RUNNER_")}
        assert ours <= {"KERNEL_RUNNER_MEDIA", "KERNEL_RUNNER_ALL_TOOLS"}
        assert [value for value in env.values() if "session" in value.split("/")[-1]] == []


async def test_a_launched_runner_has_its_socket_elsewhere_than_beside_the_work() -> None:
    async with launch("shell") as kernel:
        work_dir = Path((await kernel.execute("pwd").result()).stdout.strip())
        socket = Path(kernel.address.removeprefix("ipc://"))

    assert socket.parent not in (work_dir, *work_dir.parents)
