"""Started as `python start.py [shell] <command fd> <event fd>`: runs cells until commands end."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.dirname(HERE)

if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")
    sys.path[:] = [FOLDER, *(entry for entry in sys.path if entry not in (HERE, FOLDER))]
    from kernel_runner_driver import main

    # One package of ours stays importable by its own name; the user's files keep theirs.
    sys.path[0] = ""
    main.run(int(sys.argv[-2]), int(sys.argv[-1]), *sys.argv[1:-2])
