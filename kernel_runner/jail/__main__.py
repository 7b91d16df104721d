"""Words of a command line come in; a command runs in a jail, or something about jails is told.

The way to `run` imports little: it is in front of every program.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # `python -m` looks for modules in the work directory first, where user code may have put some
    sys.path[:] = [path for path in sys.path if path not in ("", os.getcwd())]

from kernel_runner.jail import options
from kernel_runner.jail.errors import JailError

TYPE_CHECKING = False  # `typing` costs 2 ms and is needed by the checker only
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

USAGE: Final = """\
usage: kernel-jail run [options] -- COMMAND...     run a command in a jail
       kernel-jail learn [options] -- COMMAND...   run it without, and print the policy it needs
       kernel-jail check POLICY                    read a policy, and keep it compiled
       kernel-jail explain POLICY                  what it allows, in plain words
       kernel-jail doctor [POLICY]                 what this kernel enforces
       kernel-jail schema                          the JSON Schema of policies, for editors

POLICY is a file, or the name of one that is shipped: default, python, shell, c, runner.

options of run and learn:
  --policy POLICY     default without this
  --work-dir FOLDER   where it runs and may write; this folder without this
  --paths             tell refused files too; opening files becomes much dearer
  --json              tell violations as JSON lines, not as sentences
  --report FILE       write the JSON lines there
  --quiet             tell no violations
  --strict            start nothing where the kernel cannot enforce all
  --static            nobody answers: nothing is counted or told, and a jail may be inside
  --landlock-abi N    use no newer Landlock, to see what an older kernel would do

exit codes: the command's own; 128+n by signal n; 124 out of time; 125 no jail, nothing ran;
126 not executable; 127 not found; 159 ended for a violation"""

NOT_SET_UP: Final = 125
SIGPIPE: Final = 13  # `signal` costs 2 ms
HELP: Final = ("-h", "--help", "help")


def main() -> None:
    """Never returns: ends with the exit code."""
    words = sys.argv[1:]
    try:
        code = _carry_out(words)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has seen enough
        code = 128 + SIGPIPE
    except JailError as error:
        from kernel_runner.jail.report import printable

        print(f"kernel-jail: {printable(str(error))}", file=sys.stderr)
        code = error.exit_code
    os._exit(code)  # there is nothing to tidy up, and that would take 3 ms


def _carry_out(words: Sequence[str]) -> int:
    if not words or words[0] in HELP or words[1:2] == ["--help"]:
        print(USAGE)
        return 0 if words else NOT_SET_UP
    if words[0] == "run":
        return _run(words[1:])
    from kernel_runner.jail import commands  # late: these need YAML

    if words[0] == "learn":
        return commands.learn(*options.read(words[1:]))
    return commands.carry_out(words[0], words[1:])


def _run(words: Sequence[str]) -> int:
    from kernel_runner.jail import plan as plans
    from kernel_runner.jail.run import run

    given, command = options.read(words)
    plan = plans.load(given.get("--policy", "default"), paths="--paths" in given)
    if "--strict" in given:
        plan["best_effort"] = False
    return run(options.start_of(plan, command, given))


if __name__ == "__main__":
    main()
