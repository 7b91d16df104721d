"""Nothing comes in; what two runners are sent and send back while they run code is printed."""

import asyncio
import sys
from collections.abc import Mapping

from kernel_runner.client import Kernel, Reply, launch
from kernel_runner.messages import events

GREET_PY = """\
name = input("What is your name? ")
print(f"Good to meet you, {name}.")
"""
MAIN_C = """\
#include <stdio.h>
int square(int number);
int main(void) { printf("12 * 12 is %d.\\n", square(12)); }
"""
SQUARE_C = "int square(int number) { return number * number; }"


async def main() -> None:
    in_order = await run_python() and await run_c()
    print("All came back in order." if in_order else "Something came back OUT OF ORDER.")
    sys.exit(0 if in_order else 1)


async def run_python() -> bool:
    print("Python: one file is uploaded, then five requests go into the queue at once.\n")
    async with launch("python") as kernel:
        await kernel.upload("main.py", GREET_PY.encode())
        queue = {
            "run main.py, which asks for a name": kernel.execute("*"),
            "query: words = ['kept', 'state']": kernel.query("words = ['kept', 'state']"),
            "query: ' '.join(words)": kernel.query("' '.join(words)"),
            "query: a loop without end": kernel.query("print('busy')\nwhile True: pass"),
            "query: len(words), to see what is left": kernel.query("len(words)"),
        }
        return await show_all(kernel, queue)


async def run_c() -> bool:
    print("C: two files are uploaded, then four requests go into the queue at once.\n")
    async with launch("c") as kernel:
        await kernel.upload("main.c", MAIN_C.encode())
        await kernel.upload("square.c", SQUARE_C.encode())
        queue = {
            "clean": kernel.clean("*"),
            "build both files": kernel.build("*"),
            "run the program": kernel.execute("*"),
            "shell: ls *.c; exit 3": kernel.execute("ls *.c; exit 3"),
        }
        return await show_all(kernel, queue)


async def show_all(kernel: Kernel, queue: Mapping[str, Reply]) -> bool:
    """Whether everything came back in the order in which it was sent.

    The runner numbers its events.  They are read request by request here, so the numbers only
    rise if all of one request came before the next began.
    """
    for what, reply in queue.items():
        show(f"sent {reply.id}", what)
    print()
    numbers: list[int] = []
    for reply in queue.values():
        async for received in reply.received():
            if not isinstance(received.event, events.Accepted):  # that receipt comes at once
                numbers.append(received.seq or 0)
            await react(kernel, reply, received.event)
    print()
    return numbers == sorted(numbers)


async def react(kernel: Kernel, reply: Reply, event: events.AnyEvent) -> None:
    """Print the event; answer a program that asks, interrupt the one that is busy for ever."""
    match event:
        case events.Output() if event.data.strip():
            show(f"back {reply.id}", f"{event.type}: {event.data.decode()}")
            if event.data.startswith(b"busy"):
                show("sent now", "interrupt")
                await kernel.interrupt()
        case events.WaitingInput():
            show("sent now", "input: Ada")
            await kernel.input("Ada\n")
        case events.Finished():
            how = f"{event.type}: {event.reason}, exit code {event.exit_code}"
            show(f"back {reply.id}", f"{how}; {event.message}" if event.message else how)


def show(label: str, text: str) -> None:
    print(f"  {label:8}  " + text.strip().replace("\n", "\n" + 12 * " "))


if __name__ == "__main__":
    asyncio.run(main())
