"""A kernel of ours comes in; how long it took for what a client asks of it goes out."""

from time import perf_counter

from kernel_runner.client import Kernel, Reply
from kernel_runner.messages import events


async def query_seconds(kernel: Kernel, code: str, times: int) -> list[float]:
    """How long each query took to its finish, one after the other."""
    seconds = []
    for _ in range(times):
        start = perf_counter()
        await kernel.query(code).answer()
        seconds.append(perf_counter() - start)
    return seconds


async def output_of(reply: Reply) -> bytes:
    """All that the task printed to its standard output."""
    output = [
        event.data
        async for event in reply
        if isinstance(event, events.Output) and event.type == "stdout"
    ]
    return b"".join(output)


async def until_printed(reply: Reply) -> None:
    async for event in reply:
        if isinstance(event, events.Output):
            return


async def interrupt_seconds(kernel: Kernel, code: str) -> float:
    """From the interrupt to the finish of a query that prints a line and then goes on for ever."""
    reply = kernel.query(code)
    await until_printed(reply)
    start = perf_counter()
    await kernel.interrupt()
    await reply.answer()
    return perf_counter() - start
