"""A program in C and a hundred inputs come in; a verdict for each goes out.

It is built once.  All inputs are put into the queue at once, and run one at a time.
"""

import asyncio
from collections import Counter

from kernel_runner import launch
from kernel_runner.client import Result

SUBMISSION = """\
#include <stdio.h>
#include <stdlib.h>
int main(void) {
    int number;
    if (scanf("%d", &number) != 1) return 1;
    if (number == 13) number = 14;
    if (number == 50) abort();
    while (number == 77) ;
    printf("%d\\n", number * number);
}
"""
TESTS = {f"{number}\n": f"{number**2}\n" for number in range(100)}
"""Each input, and the output that is right."""
WALL_SECONDS = 2.0


def verdict(result: Result, wanted: str) -> str:
    match result.reason:
        case "timeout":
            return "time limit exceeded"
        case "completed" if result.exit_code == 0:
            return "accepted" if result.stdout.split() == wanted.split() else "wrong answer"
        case _:
            return f"runtime error, exit code {result.exit_code}"


async def main() -> None:
    async with launch("c") as kernel:
        build = await kernel.run(files={"main.c": SUBMISSION}, exec="").result()
        if not build.ok:
            print("does not compile:", build.stderr)
            return
        limits = {"wall_s": WALL_SECONDS}
        replies = [kernel.execute(stdin=given.encode(), limits=limits) for given in TESTS]
        verdicts = [
            verdict(await reply.result(), wanted)
            for reply, wanted in zip(replies, TESTS.values(), strict=True)
        ]
    for given, said in zip(TESTS, verdicts, strict=True):
        if said != "accepted":
            print(f"{given.strip()}: {said}")
    print(*(f"{count} {said}" for said, count in Counter(verdicts).most_common(1)))


if __name__ == "__main__":
    asyncio.run(main())
