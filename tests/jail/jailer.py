"""Orders come in as JSON lines; for each a program is run in a jail, and its exit code goes out.

A process of its own, with one thread, so that it may fork; everything is loaded before, since the
user that the program runs as need not be able to read it.
"""

import json
import os
import select
import shutil
import signal
import sys
import traceback
from typing import Any, Final

import msgspec

from kernel_runner.jail import (
    broker,
    landlock,
    places,
    policy,
    policy_files,
    report,
    run,
    start,
    supervisor,
    syscalls,
)
from kernel_runner.jail import plan as plans
from kernel_runner.jail.errors import JailError

LOADED: Final = (broker, landlock, places, report, supervisor, syscalls, shutil)
SECONDS: Final = 20.0


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(carry_out(json.loads(line))), flush=True)


def carry_out(order: dict[str, Any]) -> int:
    jail = os.fork()
    if jail == 0:
        become(order)
    pidfd = os.pidfd_open(jail)
    if not select.select([pidfd], [], [], SECONDS)[0]:
        os.kill(jail, signal.SIGKILL)
    os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(jail, 0)[1])


def become(order: dict[str, Any]) -> None:
    code = 99
    try:
        for number, name in enumerate(("input", "output", "errors")):
            flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(order[name], flags, 0o666), number)
        records = os.open(order["records"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
        plan = _plan(order)
        if order["uid"] != os.getuid():
            os.setgroups([])
            os.setresgid(order["uid"], order["uid"], order["uid"])
            os.setresuid(order["uid"], order["uid"], order["uid"])
        os.environ.clear()
        os.environ.update(order["env"])
        os.chdir(order["work"])
        what = start.Start(plan, order["command"], max_abi=order["abi"], records_fd=records)
        code = run.run(what)
    except JailError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _plan(order: dict[str, Any]) -> "plans.Plan":
    path = order["policy"] or policy_files.locate("default")
    read = policy.read(path).policy
    if order["strict"]:
        read = msgspec.structs.replace(read, best_effort=False)
    if order["paths"]:
        read = policy.with_path_reports(read)
    return policy.compile_policy(read, path)


if __name__ == "__main__":
    main()
