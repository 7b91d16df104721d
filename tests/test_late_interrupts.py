"""More interrupts come in than it takes to end a query; the next query does not feel them."""

from pathlib import Path

from tests.running import conversation

ENDS_AT_THE_SECOND = """
state, count = 'kept', 0
while count < 2:
    try:
        if count == 0:
            print('up', flush=True)
        while True:
            pass
    except KeyboardInterrupt:
        count += 1
        print('interrupt', count)
"""
LONGER_THAN_A_STEP = "import time; time.sleep(2.5); print(state)"


async def test_a_query_that_ends_at_the_second_interrupt_keeps_the_interpreter(
    tmp_path: Path,
) -> None:
    async with conversation("session", tmp_path) as (_, client):
        request = await client.say("code", ENDS_AT_THE_SECOND)
        await client.hear_output(b"up")
        await client.say("interrupt")
        await client.hear_output(b"interrupt 1")
        await client.say("interrupt")
        await client.hear_finish(request)
        after = await client.run("code", LONGER_THAN_A_STEP)

    assert (after.stdout, after.end) == (b"kept\n", (0, "completed"))


async def test_interrupts_of_a_query_do_not_reach_the_next_one(tmp_path: Path) -> None:
    async with conversation("session", tmp_path) as (_, client):
        for _ in range(20):
            first = await client.say("code", "print(input())")
            second = await client.say("code", "print(input())")
            await client.hear_until("waiting-input")
            await client.say("cancel", target=first)
            await client.say("interrupt", target=first)
            await client.hear_finish(first)
            while (event := await client.hear_until("waiting-input", "finished")).id != second:
                pass
            assert event.kind == "waiting-input", str(event)
            await client.say("input", "on\n")
            after = await client.hear_finish(second)

            assert (after.stdout, after.end) == (b"on\n", (0, "completed"))
