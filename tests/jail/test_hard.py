"""What needs more than one call: races, bombs, foreign code, descriptors in the post."""

import os
import time
from pathlib import Path

import pytest

from tests.jail import attempts_files as files
from tests.jail.jailing import Jailer
from tests.jail.victim import Victim

BOUNDED = "process: {max_processes: 20, max_threads: 40}\nlimits: {wall: 5 s}\n"
RACE = """
import threading
stop = False
def swap():
    while not stop:
        for target in (SECRET, "mine"):
            try: os.symlink(target, "new"); os.rename("new", "link")
            except OSError: pass
open("mine", "w").close()
os.symlink("mine", "link")
other = threading.Thread(target=swap); other.start()
won = 0
for _ in range(300):
    try: {attempt}
    except OSError: pass
stop = True
other.join()
"""


def _write(policy_file: Path, text: str) -> Path:
    policy_file.write_text(f"extends: default\n{text}")
    return policy_file


def test_a_thread_that_swaps_a_link_wins_no_file(jailer: Jailer, target: Victim) -> None:
    code = target.names() + RACE.format(attempt="won += 'secret' in open('link').read()")

    ended = jailer.python(f"{code}\nprint(won)", paths=False)

    assert (ended.exit_code, ended.output) == (0, "0\n"), ended


def test_a_thread_that_swaps_a_link_wins_no_mode(jailer: Jailer, target: Victim) -> None:
    before = (target.folder / "secret.txt").stat().st_mode
    code = target.names() + RACE.format(attempt="os.chmod('link', 0o777)")

    ended = jailer.python(code, paths=False)

    assert ended.exit_code == 0, ended
    assert (target.folder / "secret.txt").stat().st_mode == before


def test_a_thread_that_changes_the_path_in_memory_wins_no_mode(
    jailer: Jailer, target: Victim
) -> None:
    before = (target.folder / "secret.txt").stat().st_mode
    code = (
        target.names()
        + """
import threading
path = ctypes.create_string_buffer(200)
own, other = b"./mine\\0", SECRET.encode() + b"\\0"
open("mine", "w").close()
stop = False
def swap():
    while not stop:
        ctypes.memmove(path, own, len(own)); ctypes.memmove(path, other, len(other))
thread = threading.Thread(target=swap); thread.start()
for _ in range(300): libc.chmod(path, 0o777)
stop = True
thread.join()
"""
    )

    ended = jailer.python(code, paths=False)

    assert ended.exit_code == 0, ended
    assert (target.folder / "secret.txt").stat().st_mode == before


def test_metadata_of_its_own_files_can_be_changed(jailer: Jailer) -> None:
    ended = jailer.python("""
open("mine", "w").close()
os.chmod("mine", 0o640); os.utime("mine", (1, 2)); os.chown("mine", -1, os.getgid())
fd = os.open("mine", os.O_RDONLY)
os.fchmod(fd, 0o600); os.utime(fd, ns=(3, 4 * 10**9))
os.symlink("mine", "link"); os.utime("link", (5, 6), follow_symlinks=False)
found = os.stat("mine")
print(oct(found.st_mode & 0o777), found.st_mtime, os.lstat("link").st_mtime)
""")

    assert (ended.output, ended.records) == ("0o600 4.0 6.0\n", []), ended


def test_a_thread_of_its_own_can_be_scheduled(jailer: Jailer) -> None:
    ended = jailer.python("""
import threading
done = threading.Event()
thread = threading.Thread(target=done.wait); thread.start()
print(attempt(os.sched_setscheduler, thread.native_id, os.SCHED_BATCH, os.sched_param(0)))
print(attempt(os.sched_setaffinity, os.getpid(), os.sched_getaffinity(0)))
done.set()
""")

    assert (ended.output, ended.records) == ("done\ndone\n", []), ended


def test_descriptors_can_be_sent_only_among_its_own(jailer: Jailer) -> None:
    ended = jailer.python("""
one, two = socket.socketpair()
socket.send_fds(one, [b"x"], [os.open("/etc/passwd", 0)])
print(bool(os.read(socket.recv_fds(two, 1, 1)[1][0], 10)))
""")

    assert ended.output == "True\n", ended


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="others have no such calls")
@pytest.mark.parametrize(
    "machine_code",
    [
        pytest.param(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3", id="int 0x80"),
        pytest.param(b"\\xb8\\x27\\x00\\x00\\x40\\x0f\\x05\\xc3", id="x32"),
    ],
)
def test_a_call_of_another_architecture_ends_the_program(
    machine_code: bytes, jailer: Jailer
) -> None:
    ended = jailer.python(f"""
import mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(b"{machine_code.decode()}")
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
print(ctypes.CFUNCTYPE(ctypes.c_long)(address)(), flush=True)
""")

    assert (ended.exit_code, ended.output) == (159, ""), ended
    assert "32-bit and x32 calls are refused" in ended.errors


def test_a_fork_bomb_is_held_and_nothing_is_left(jailer: Jailer, policy_file: Path) -> None:
    ended = _bomb(
        jailer, policy_file, "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
    )

    assert ended == 124


def test_a_thread_bomb_is_held(jailer: Jailer, policy_file: Path) -> None:
    code = """
import threading, time
made = 0
try:
    for _ in range(1000):
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start(); made += 1
except RuntimeError: pass
print(made, flush=True)
os._exit(0)
"""
    own = _write(policy_file, BOUNDED)

    ended = jailer.python(code, policy=own, paths=False)

    assert 30 <= int(ended.output) <= 40, ended
    assert "process.max_threads" in ended.rules


def _bomb(jailer: Jailer, policy_file: Path, code: str) -> int:
    own = _write(policy_file, BOUNDED)
    start = time.monotonic()
    ended = jailer.python(code, policy=own, paths=False)
    assert time.monotonic() - start < 15
    assert {"process.max_processes"} <= ended.rules, ended
    return ended.exit_code


def test_a_hundred_thousand_denied_calls_are_one_report(jailer: Jailer, policy_file: Path) -> None:
    own = _write(policy_file, "limits: {wall: 2 s}\n")

    ended = jailer.python("while True: attempt(os.chroot, '.')", policy=own, paths=False)

    assert ended.exit_code == 124
    assert [record["event"] for record in ended.records] == ["violation", "end"]
    assert ended.records[1]["count"] > 10


def test_a_file_cannot_grow_beyond_the_limit(jailer: Jailer, policy_file: Path) -> None:
    own = _write(policy_file, "limits: {file_size: 1 MiB, open_files: 20, memory: 64 MiB}\n")
    code = """
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
print(attempt(lambda: open("big", "wb").write(bytes(2 << 20))))
print(attempt(lambda: [os.dup(0) for _ in range(30)]))
try: bytearray(200 << 20)
except MemoryError: print("MemoryError")
"""

    ended = jailer.python(code, policy=own)

    assert ended.output == "EFBIG\nEMFILE\nMemoryError\n", ended


def test_listed_ports_can_be_used_and_no_others(
    jailer: Jailer, target: Victim, policy_file: Path
) -> None:
    own = _write(policy_file, f"network: {{connect: [{target.port}], listen: [0]}}\n")
    code = (
        target.names()
        + """
print(attempt(lambda: socket.create_connection(("127.0.0.1", PORT))))
print(attempt(lambda: socket.create_connection(("127.0.0.1", 22))))
print(attempt(lambda: socket.socket().bind(("127.0.0.1", 0))))
print(attempt(lambda: socket.socket().bind(("127.0.0.1", PORT + 1))))
print(attempt(socket.socket, socket.AF_INET, socket.SOCK_DGRAM))
"""
    )

    ended = jailer.python(code, policy=own)

    assert ended.output == "done\nEACCES\ndone\nEACCES\nEACCES\n", ended
    assert {"network.connect", "network.listen", "network"} <= ended.rules


@pytest.mark.parametrize("abi", [2, 3, 4, 5])
def test_on_older_kernels_files_and_the_jail_itself_are_safe(
    abi: int, jailer: Jailer, target: Victim
) -> None:
    code = (
        files.HELPERS
        + target.names()
        + """
print(attempt(open, SECRET), attempt(os.truncate, SECRET, 0), attempt(os.kill, os.getppid(), 9),
      attempt(os.kill, -1, 0), attempt(os.killpg, os.getpgid(os.getppid()), 0),
      attempt(os.open, SECRET, os.O_TRUNC))
"""
    )

    ended = jailer.python(code, abi=abi, strict=False)

    wanted = (
        "EACCES EPERM EPERM EPERM EPERM EPERM"
        if abi < 3
        else "EACCES EACCES EPERM EPERM EPERM EACCES"
    )
    assert ended.output.strip() == wanted, ended


def test_programs_one_after_another_are_never_too_many(jailer: Jailer) -> None:
    ended = jailer.python(
        """
import threading
for _ in range(400):
    if (child := os.fork()) == 0: os._exit(0)
    os.waitpid(child, 0)
for _ in range(1200):
    thread = threading.Thread(target=int); thread.start(); thread.join()
print("all")
""",
        paths=False,
    )

    assert (ended.output, ended.records) == ("all\n", []), ended
