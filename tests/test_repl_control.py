"""Interrupts, answers and endings at the prompt of `kernel-runner repl`."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from kernel_runner.client import launch
from tests.commanding import assert_one_sentence, shell
from tests.prompting import Open, pid_of_the_runner
from tests.running import process_ended
from tests.wire import FAILURE_SECONDS

# Interrupts -----------------------------------------------------------------------------------


def test_ctrl_c_interrupts_the_cell_and_keeps_the_state(open_repl: Open) -> None:
    repl = open_repl("python")
    repl.line("kept = 'kept'")
    repl.until_prompt("python>")

    repl.line("import time; print('sleeping'); time.sleep(600)")
    repl.until("^sleeping$")
    repl.type("<ctrl-c>")
    repl.until("^KeyboardInterrupt")
    repl.until_prompt("python>")
    repl.line("kept")

    repl.until("^'kept'$")


def test_a_second_ctrl_c_kills_what_does_not_listen(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.paste(
        "import time\nwhile True:\n try: print('deaf'); time.sleep(600)\n except: print('no')"
    )
    repl.type("<escape>", "<enter>")
    repl.until("^deaf$")
    repl.type("<ctrl-c>")
    repl.until("^no$")
    repl.type("<ctrl-c>")
    repl.until("its variables is lost")
    repl.until_prompt("python>")
    repl.line("6 * 7")

    repl.until("^42$")


async def test_ctrl_c_ends_the_wait_for_a_runner_that_does_not_say_what_is_complete(
    open_repl: Open,
) -> None:
    async with launch("python") as kernel:
        repl = open_repl("--connect", kernel.address, prompt="python>")
        pid = (await kernel.status()).pid
        os.kill(pid, signal.SIGSTOP)
        repl.line("lost")
        repl.type("<ctrl-c>")
        repl.until_prompt("python>")
        os.kill(pid, signal.SIGCONT)
        repl.line("6 * 7")

        repl.until("^42$")


def test_an_interpreter_that_dies_is_told_in_one_line(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.line("import os; os._exit(3)")
    repl.until("exit code 3; its state is lost")
    repl.until_prompt("python>")
    repl.line("6 * 7")

    repl.until("^42$")


def test_a_runner_that_dies_is_replaced_at_once(open_repl: Open) -> None:
    repl = open_repl("python")
    repl.line("'ready'")
    repl.until("^'ready'$")
    repl.until_prompt("python>")
    os.kill(pid_of_the_runner(repl), signal.SIGKILL)

    repl.until("the runner ended with exit code .*a new one is started")
    repl.until_prompt("python>")
    repl.line("6 * 7")

    repl.until("^42$")


# Input ----------------------------------------------------------------------------------------


def test_a_program_that_asks_is_answered_at_its_own_prompt(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.line("name = input('Your name? ')")
    repl.until_prompt("Your name?")
    repl.line("Ada")
    repl.until_prompt("python>")
    repl.line("name")

    repl.until("^'Ada'$")
    assert "\nYour name? Ada\n" in repl.text


def test_a_password_is_hidden_and_in_no_history(open_repl: Open, tmp_path: Path) -> None:
    repl = open_repl("python")

    repl.line("import getpass; len(getpass.getpass('Secret: '))")
    repl.until_prompt("Secret:")
    repl.line("opensesame")
    repl.until("^10$")
    repl.until_prompt("python>")

    assert b"opensesame" not in repl.raw
    assert not any(
        b"opensesame" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()
    )


def test_ctrl_d_at_a_question_ends_the_input(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.line("input('more? ')")
    repl.until_prompt("more?")
    repl.type("<ctrl-d>")

    repl.until("^EOFError")
    repl.until_prompt("python>")


def test_ctrl_c_at_a_question_interrupts_the_program(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.line("input('more? ')")
    repl.until_prompt("more?")
    repl.type("<ctrl-c>")

    repl.until("^KeyboardInterrupt")
    repl.until_prompt("python>")


# Its end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["exit", "quit()", ":quit"])
def test_words_that_people_leave_with_end_it(open_repl: Open, word: str) -> None:
    repl = open_repl("python")

    repl.line(word)

    assert repl.until_end() == 0


@pytest.mark.parametrize("busy", [False, True])
async def test_a_terminal_that_is_closed_leaves_no_process_behind(
    open_repl: Open, busy: bool
) -> None:
    repl = open_repl("shell")
    repl.line("sleep 600 & echo pid=$!")
    background = int(repl.until(r"pid=\d+").removeprefix("pid="))
    repl.until_prompt("shell>")
    if busy:
        repl.line("echo run''ning; sleep 600")
        repl.until("^running$")
    runner = pid_of_the_runner(repl)

    repl.hang_up()

    async with asyncio.timeout(FAILURE_SECONDS):
        await process_ended(runner)
        await process_ended(background)


async def test_a_signal_ends_it_and_its_runner(open_repl: Open) -> None:
    repl = open_repl("shell")
    repl.line("echo rea''dy; sleep 600")
    repl.until("^ready$")
    runner = pid_of_the_runner(repl)

    repl.child.kill(signal.SIGTERM)

    assert repl.until_end() == 128 + signal.SIGTERM
    async with asyncio.timeout(FAILURE_SECONDS):
        await process_ended(runner)


async def test_a_prompt_for_a_runner_that_is_there_leaves_it_there(open_repl: Open) -> None:
    async with launch("python") as kernel:
        await kernel.query("x = 42").result()
        repl = open_repl("--connect", kernel.address, prompt="python>")

        repl.line("x")
        repl.until("^42$")
        repl.line(":restart")
        repl.until("not started here")
        repl.until_prompt("python>")
        repl.type("<ctrl-d>")

        assert repl.until_end() == 0
        assert (await kernel.query("x").result()).stdout == "42\n"


@pytest.mark.parametrize("typed", ["", "impor", "import time; print('asleep'); time.sleep(600)\r"])
async def test_a_runner_of_somebody_else_that_is_gone_ends_the_prompt_at_once_with_exit_code_2(
    open_repl: Open, typed: str
) -> None:
    async with launch("python") as kernel:
        repl = open_repl("--connect", kernel.address, prompt="python>")
        repl.type(typed)
        repl.until("^asleep$" if "asleep" in typed else f"^python> {typed}".rstrip())
        os.kill((await kernel.status()).pid, signal.SIGKILL)

        repl.until("did not come back; start a runner")
        assert repl.until_end() == 2
        told = repl.text.replace("\n", "")
        assert told.count("kernel-runner: no answer from ") == 1
        assert "Traceback" not in told
        assert "never retrieved" not in told


async def test_completion_goes_quiet_when_the_runner_is_gone(open_repl: Open) -> None:
    async with launch("python") as kernel:
        repl = open_repl("--connect", kernel.address, prompt="python>")
        pid = (await kernel.status()).pid
        os.kill(pid, signal.SIGSTOP)
        repl.type("imp")  # asked, and not answered
        repl.until_typed("imp")
        os.kill(pid, signal.SIGKILL)
        repl.type("ort", "<tab>")

        assert repl.until_end() == 2
        assert repl.text.count("Traceback") == 0
        assert "never retrieved" not in repl.text


async def test_input_from_a_pipe_ends_with_the_runner(tmp_path: Path) -> None:
    async with launch("python") as kernel:
        pid = (await kernel.status()).pid
        done = await asyncio.to_thread(
            shell,
            f"printf 'import os; os.kill({pid}, 9); input()\n:queue\n1\n' "
            f"| kernel-runner repl --connect {kernel.address}",
        )

    assert_one_sentence(done, "did not come back")
