"""Interrupts that come at once, before what they mean has begun; each ends it, and only once."""

from pathlib import Path

import pytest

from kernel_runner.client import launch


@pytest.mark.parametrize("language", ["python", "shell"])
async def test_an_interrupt_right_behind_a_query_ends_it_and_keeps_the_state(
    tmp_path: Path, language: str
) -> None:
    endless, echo = {
        "python": ("while True: pass", "print(x)"),
        "shell": ("while :; do :; done", "echo $x"),
    }[language]
    async with launch(language, work_dir=tmp_path) as kernel:
        await kernel.query("x=41").result()
        for _ in range(20):
            reply = kernel.query(endless)
            await kernel.interrupt()
            result = await reply.result()
            assert result.reason == "interrupted"
        after = await kernel.query(echo).result()

    assert after.stdout == "41\n"


async def test_an_interrupt_right_behind_a_program_takes_one_rung(tmp_path: Path) -> None:
    async with launch("shell", work_dir=tmp_path) as kernel:
        for _ in range(20):
            reply = kernel.execute("trap 'exit 42' INT; while :; do :; done")
            await kernel.interrupt()
            result = await reply.result()
            # the shell may not have come to its trap yet
            assert (result.exit_code, result.reason) in ((42, "interrupted"), (130, "interrupted"))
