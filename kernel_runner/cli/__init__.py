"""The command line: words in, an exit code out.  The only place that joins the rooms.

A command is one module of this folder with `add_arguments(parser)` and `run(options)`, which
returns the exit code; only the module of the command that was asked for is loaded.  `serve` is the
exception: it has a parser of its own, which tells of all mistakes at once.

This file is also loaded by the guardian, which stays small, so it imports nothing.
"""

USAGE_ERROR = 2
PROGRAM = "kernel-runner"
FOR_PROGRAM = "words for the program go behind --"
COMMANDS = {
    "run": "run a program, as its language's own command would",
    "attach": "show what detached work prints, and wait for its end",
    "repl": "type code at a prompt; interpreters keep their state",
    "serve": "serve clients: what an image does",
    "connect": "attach to a runner that is there, and type code",
    "status": "tell what a runner is doing",
    "queue": "list what runs and what waits in a runner",
    "cancel": "take a request from the queue of a runner, or interrupt it",
    "keygen": "make keys for a runner and its clients",
    "jupyter": "make languages kernels of Jupyter",
    "langs": "list the languages, their tools and versions",
    "doctor": "tell what works here, and what to install",
    "bench": "measure this machine, each figure beside its floor",
    "completion": "print the script that completes words in a shell",
}
"""Each command and what it does; its module has the same name."""
