"""Nothing comes in; attempts on files, links, /proc and devices go out, with what they come to.

The expression is evaluated in the jail, with `VICTIM`, `PORT`, `OUTSIDE` and `SECRET` outside of
it; `comes_to` is what `attempt` says, and `rule` what is reported, None for nothing.
"""

from typing import Final, NamedTuple


class Attempt(NamedTuple):
    """One thing that user code might try."""

    does: str
    expression: str
    comes_to: str
    rule: str | None = None


READ, WRITE, EXECUTE, META = "files.read", "files.write", "files.execute", "files.metadata"

FILES: Final = [
    Attempt("reads a file outside", "attempt(open, SECRET)", "EACCES", READ),
    Attempt("reads /etc/shadow", "attempt(open, '/etc/shadow')", "EACCES", READ),
    Attempt("lists a folder outside", "attempt(os.listdir, OUTSIDE)", "EACCES", READ),
    Attempt("lists /", "attempt(os.listdir, '/')", "EACCES", READ),
    Attempt("lists /root or /home", "attempt(os.listdir, '/home')", "EACCES", READ),
    Attempt("writes a file outside", "attempt(open, SECRET, 'w')", "EACCES", WRITE),
    Attempt("appends to one", "attempt(open, SECRET, 'a')", "EACCES", WRITE),
    Attempt("makes a file in /tmp", "attempt(open, '/tmp/kernel-jail-x', 'w')", "EACCES", WRITE),
    Attempt("makes a file in /etc", "attempt(open, '/etc/x', 'w')", "EACCES", WRITE),
    Attempt("truncates by path", "attempt(os.truncate, SECRET, 0)", "EACCES", WRITE),
    Attempt(
        "truncates while reading",
        "attempt(os.open, SECRET, os.O_RDONLY | os.O_TRUNC)",
        "EACCES",
        WRITE,
    ),
    Attempt("removes a file outside", "attempt(os.unlink, SECRET)", "EACCES", WRITE),
    Attempt("removes a folder", "attempt(os.rmdir, OUTSIDE + '/folder')", "EACCES", WRITE),
    Attempt("makes a folder", "attempt(os.mkdir, OUTSIDE + '/new')", "EACCES", WRITE),
    Attempt("makes a pipe", "attempt(os.mkfifo, OUTSIDE + '/pipe')", "EACCES", WRITE),
    Attempt("makes a link there", "attempt(os.symlink, '/', OUTSIDE + '/l')", "EACCES", WRITE),
    Attempt("takes a file in", "attempt(os.rename, SECRET, 'mine')", "EACCES", WRITE),
    Attempt("links a file in", "attempt(os.link, SECRET, 'mine')", "EXDEV", WRITE),
    Attempt(
        "moves a file out",
        "(open('mine', 'w').close(), attempt(os.rename, 'mine', OUTSIDE + '/mine'))[1]",
        "EACCES",
        WRITE,
    ),
    Attempt(
        "exchanges two files",
        "(open('a', 'w').close(), attempt(libc_renameat2, SECRET))[1]",
        "EACCES",
        WRITE,
    ),
    Attempt(
        "reads through a link",
        "(os.symlink(SECRET, 'link'), attempt(open, 'link'))[1]",
        "EACCES",
        READ,
    ),
    Attempt(
        "reads through a link to a folder",
        "(os.symlink(OUTSIDE, 'link'), attempt(open, 'link/secret.txt'))[1]",
        "EACCES",
        READ,
    ),
    Attempt(
        "reads with dots in the path",
        "attempt(open, '../outside/secret.txt')",
        "EACCES",
        READ,
    ),
    Attempt(
        "reads below a descriptor without rights",
        "attempt(lambda: os.open('secret.txt', 0, dir_fd=os.open(OUTSIDE, os.O_PATH)))",
        "EACCES",
        READ,
    ),
    Attempt(
        "opens a descriptor without rights again",
        "attempt(lambda: open(f'/proc/self/fd/{os.open(SECRET, os.O_PATH)}'))",
        "EACCES",
        READ,
    ),
    Attempt(
        "reads in a folder that it went to",
        "(os.chdir(OUTSIDE), attempt(open, 'secret.txt'))[1]",
        "EACCES",
        READ,
    ),
    Attempt(
        "opens a file by its handle", "attempt(call, HANDLE_AT, -100, 0, 0)", "EPERM", "syscalls"
    ),
    Attempt("changes its root", "attempt(os.chroot, '.')", "EPERM", "syscalls"),
    Attempt("makes a device", "attempt(os.mknod, 'disk', 0o060600, 0)", "EPERM|EACCES"),
    Attempt("opens memory as a file", "attempt(open, '/dev/mem')", "EACCES|ENOENT"),
    Attempt("opens the kernel's log", "attempt(open, '/dev/kmsg')", "EACCES|ENOENT"),
    Attempt("opens a terminal of others", "attempt(open, '/dev/pts/ptmx', 'w')", "EACCES", WRITE),
    Attempt("makes a new terminal", "attempt(os.openpty)", "EACCES|ENOENT"),
    Attempt("changes the mode outside", "attempt(os.chmod, SECRET, 0o777)", "EPERM", META),
    Attempt("changes the owner", "attempt(os.chown, SECRET, -1, -1)", "EPERM", META),
    Attempt("changes the dates", "attempt(os.utime, SECRET, (0, 0))", "EPERM", META),
    Attempt(
        "changes the mode through a link",
        "(os.symlink(SECRET, 'link'), attempt(os.chmod, 'link', 0o777))[1]",
        "EPERM",
        META,
    ),
    Attempt(
        "changes the mode of what it has open",
        "attempt(lambda: os.fchmod(os.open('/etc/passwd', 0), 0o777))",
        "EPERM",
        META,
    ),
    Attempt(
        "changes flags of a file that it may read",
        "attempt(lambda: ioctl('/etc/passwd', 0x40086602))",
        "EPERM",
        META,
    ),
    Attempt(
        "sets an attribute", "attempt(os.setxattr, SECRET, 'user.x', b'1')", "EOPNOTSUPP|ENOTSUP"
    ),
    Attempt("watches a folder outside", "attempt(call, INOTIFY, 0)", "EPERM", "syscalls"),
    Attempt("executes a script outside", "execute(OUTSIDE + '/script.sh')", "EACCES", EXECUTE),
    Attempt(
        "executes a file that it made",
        "(copy('/bin/true', 'mine'), execute('./mine'))[1]",
        "EACCES",
        EXECUTE,
    ),
    Attempt("executes from memory", "attempt(os.memfd_create, 'x')", "EPERM", EXECUTE),
    Attempt(
        "executes what is open without a path",
        "attempt(call, EXECVEAT, os.open('/bin/true', 0), b'', 0, 0, 0x1000)",
        "ENOSYS",
    ),
    Attempt("mounts", "attempt(libc_mount)", "EPERM", "syscalls"),
    Attempt("opens a tree to mount", "attempt(call, 428, -100, b'/', 1)", "EPERM", "syscalls"),
    Attempt("opens a file system", "attempt(call, 430, b'tmpfs', 0)", "EPERM", "syscalls"),
]

PROC: Final = [
    Attempt("reads memory of others", "attempt(open, f'/proc/{VICTIM}/mem')", "EACCES", READ),
    Attempt("writes it", "attempt(open, f'/proc/{VICTIM}/mem', 'wb')", "EACCES", WRITE),
    Attempt("reads maps of others", "attempt(open, f'/proc/{VICTIM}/maps')", "EACCES", READ),
    Attempt(
        "reads the environment of others",
        "attempt(open, f'/proc/{VICTIM}/environ')",
        "EACCES",
        READ,
    ),
    Attempt(
        "reads the command line of others",
        "attempt(open, f'/proc/{VICTIM}/cmdline')",
        "EACCES",
        READ,
    ),
    Attempt("lists processes", "attempt(os.listdir, '/proc')", "EACCES", READ),
    Attempt(
        "lists the files of others", "attempt(os.listdir, f'/proc/{VICTIM}/fd')", "EACCES", None
    ),
    Attempt("takes a file of others", "attempt(open, f'/proc/{VICTIM}/fd/0')", "EACCES", None),
    Attempt(
        "goes to the root of others",
        "attempt(open, f'/proc/{VICTIM}/root/etc/shadow')",
        "EACCES",
        None,
    ),
    Attempt(
        "goes to the folder of others", "attempt(open, f'/proc/{VICTIM}/cwd/secret.txt')", "EACCES"
    ),
    Attempt(
        "reads its supervisor's memory",
        "attempt(open, f'/proc/{os.getppid()}/mem')",
        "EACCES",
        READ,
    ),
    Attempt(
        "reads the supervisor's environment",
        "attempt(open, f'/proc/{os.getppid()}/environ')",
        "EACCES",
        READ,
    ),
    Attempt(
        "changes how the kernel kills", "attempt(open, '/proc/self/oom_score_adj', 'w')", "EACCES"
    ),
    Attempt(
        "changes the kernel's settings",
        "attempt(open, '/proc/sys/kernel/core_pattern', 'w')",
        "EACCES",
        WRITE,
    ),
    Attempt("asks for the keyboard", "attempt(open, '/proc/sysrq-trigger', 'w')", "EACCES|ENOENT"),
    Attempt("reads cgroups", "attempt(os.listdir, '/sys/fs/cgroup')", "EACCES", READ),
]

HELPERS: Final = """
import fcntl
X86 = os.uname().machine == "x86_64"
HANDLE_AT = 304 if X86 else 265
INOTIFY = 294 if X86 else 26
EXECVEAT = 322 if X86 else 281
def copy(source, target):
    with open(source, "rb") as old, open(target, "wb") as new:
        new.write(old.read())
    os.chmod(target, 0o755)
def execute(path):
    child = os.fork()
    if child == 0:
        os._exit(0 if attempt(os.execv, path, [path]) == "EACCES" else 1)
    return "EACCES" if os.waitpid(child, 0)[1] == 0 else "executed"
def ioctl(path, request):
    fcntl.ioctl(os.open(path, 0), request, b"\\0" * 64)
def libc_renameat2(path):
    call(316 if X86 else 276, -100, b"a", -100, path.encode(), 2)
def libc_mount():
    call(165 if X86 else 40, b"none", b"/tmp", b"tmpfs", 0, 0)
"""
