"""Our languages as kernels of Jupyter: what the public suite does not ask."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from kernel_runner.jupyter import contents
from tests import jupyter_kernels
from tests.guarding import ends, watch
from tests.jupyter_kernels import SECONDS, heard, reply_to, run

BUSY = "print('busy', flush=True)\nwhile True: pass"


@pytest.fixture(scope="module", autouse=True)
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with jupyter_kernels.installed(tmp_path_factory.mktemp("jupyter"), "python", "shell"):
        yield


@pytest.fixture(scope="module")
def client(kernels: None) -> Iterator[BlockingKernelClient]:
    with jupyter_kernels.running("python") as (_, client):
        yield client


def until_output(client: BlockingKernelClient, text: str) -> None:
    while text not in client.get_iopub_msg(timeout=SECONDS)["content"].get("text", ""):
        pass


def test_an_interrupt_ends_a_busy_loop_and_keeps_the_state() -> None:
    with jupyter_kernels.running("python") as (manager, client):
        run(client, "kept = 42")
        request = client.execute(BUSY)
        until_output(client, "busy")

        manager.interrupt_kernel()

        outcome = heard(client, request)
        assert outcome.reply["ename"] == "KeyboardInterrupt"
        assert run(client, "kept").of("execute_result")[0]["data"] == {"text/plain": "42"}


def test_no_line_of_many_is_lost(client: BlockingKernelClient) -> None:
    outcome = run(client, "for number in range(100_000): print(number)")

    assert outcome.text().splitlines() == [str(number) for number in range(100_000)]


def test_a_question_comes_with_its_text_and_says_whether_it_is_a_password(
    client: BlockingKernelClient,
) -> None:
    code = "import getpass\nname = input('Name? ')\nword = getpass.getpass('Word? ')\nname + word"
    request = client.execute(code, allow_stdin=True)
    asked = []
    for answer in ("Ada", "secret"):
        asked.append(client.get_stdin_msg(timeout=SECONDS)["content"])
        client.input(answer)

    outcome = heard(client, request)

    assert asked == [
        {"prompt": "Name? ", "password": False},
        {"prompt": "Word? ", "password": True},
    ]
    assert outcome.of("execute_result")[0]["data"] == {"text/plain": "'Adasecret'"}


def test_where_nobody_can_be_asked_the_input_has_ended(client: BlockingKernelClient) -> None:
    outcome = run(client, "input('Name? ')", allow_stdin=False)

    assert outcome.reply["ename"] == "EOFError"


def test_a_client_that_connects_for_questions_late_is_asked() -> None:
    with jupyter_kernels.running("python", stdin=False) as (_, late):
        code = "print('begun', flush=True)\nname = input('Name? ')"
        request = late.execute(code, allow_stdin=True)
        until_output(late, "begun")

        late.stdin_channel.start()

        assert late.get_stdin_msg(timeout=SECONDS)["content"]["prompt"] == "Name? "
        late.input("Ada")
        assert heard(late, request).reply["status"] == "ok"


def test_messages_that_cannot_be_read_do_no_harm(client: BlockingKernelClient) -> None:
    session = client.session
    wrong = session.msg("execute_request", {"code": 5})
    client.shell_channel.send(wrong)
    refused = reply_to(client, wrong["header"]["msg_id"])
    client.shell_channel.send(session.msg("nothing_of_ours", {}))
    key, session.key = session.key, b"another"
    client.execute("print('not signed')")
    session.key = key

    assert refused["ename"] == "BadRequest"
    assert run(client, "print('here')").text() == "here\n"


def test_cells_behind_one_that_failed_are_not_run(client: BlockingKernelClient) -> None:
    first = client.execute("import time; print('begun', flush=True); time.sleep(0.5); 1 / 0")
    second = client.execute("ran = True")
    third = client.execute("'ran' in globals()", stop_on_error=False)

    assert heard(client, first).reply["status"] == "error"
    assert heard(client, second).reply["status"] == "aborted"
    assert heard(client, third).reply["status"] == "aborted"
    assert run(client, "'ran' in globals()").of("execute_result")[0]["data"] == {
        "text/plain": "False"
    }


def test_expressions_of_the_client_are_evaluated(client: BlockingKernelClient) -> None:
    outcome = run(client, "x = 20", user_expressions={"good": "x + 1", "bad": "1 / 0"})

    good, bad = (outcome.reply["user_expressions"][name] for name in ("good", "bad"))
    assert good == {"status": "ok", "data": {"text/plain": "21"}, "metadata": {}}
    assert (bad["status"], bad["ename"]) == ("error", "ZeroDivisionError")


def test_a_silent_cell_publishes_nothing_and_is_not_counted(client: BlockingKernelClient) -> None:
    before = run(client, "1").reply["execution_count"]

    outcome = run(client, "print('unheard'); 2", silent=True)

    assert {one["msg_type"] for one in outcome.messages} == {"status"}
    assert run(client, "1").reply["execution_count"] == before + 1


def test_completion_is_answered_while_a_cell_runs(
    client: BlockingKernelClient, tmp_path: Path
) -> None:
    file = tmp_path / "go on"
    code = (
        "import os, time\nprint('busy', flush=True)\n"
        f"while not os.path.exists({str(file)!r}): time.sleep(0.01)"
    )
    request = client.execute(code)
    until_output(client, "busy")

    reply = reply_to(client, client.complete("x = impor", 9))

    file.touch()
    assert heard(client, request).reply["status"] == "ok"
    assert reply["matches"] == ["import"]
    assert (reply["cursor_start"], reply["cursor_end"]) == (4, 9)


def test_an_interpreter_that_dies_is_told_and_the_next_cell_has_a_new_one(
    client: BlockingKernelClient,
) -> None:
    outcome = run(client, "import os; os._exit(7)")

    assert outcome.reply["ename"] == "crashed"
    assert "state is lost" in outcome.reply["evalue"]
    assert run(client, "print('here')").text() == "here\n"


def test_the_death_of_the_runner_is_told_and_ends_the_kernel() -> None:
    with jupyter_kernels.running("python") as (manager, client):
        [keeper] = run(client, "import os; print(os.getppid())").text().split()
        request = client.execute(BUSY)
        until_output(client, "busy")
        kernel = watch(kernel_pid(manager))

        guardian = parent_of(int(keeper))
        os.kill(first_child_of(guardian), signal.SIGKILL)  # the runner

        assert heard(client, request).reply["ename"] == "RunnerDied"
        assert ends(kernel)


def test_a_restart_begins_anew_and_leaves_nothing_of_the_former() -> None:
    with jupyter_kernels.running("python") as (manager, client):
        pid = int(run(client, "import os; old = os.getpid(); print(old)").text())

        former = watch(pid)

        manager.restart_kernel()
        client.wait_for_ready(timeout=SECONDS)

        assert run(client, "old").reply["ename"] == "NameError"
        assert ends(former)


def test_a_kernel_ends_when_its_process_is_killed() -> None:
    with jupyter_kernels.running("shell") as (manager, client):
        pid = int(run(client, "echo $$").text())

        shell = watch(pid)

        os.kill(kernel_pid(manager), signal.SIGKILL)

        assert ends(shell)


def test_options_behind_two_hyphens_hold_for_the_runner(tmp_path: Path) -> None:
    with (
        jupyter_kernels.installed(tmp_path, "python", "--", "--limits", "output=1000"),
        jupyter_kernels.running("python") as (_, client),
    ):
        outcome = run(client, "print('x' * 5_000)")

    assert outcome.reply["ename"] == "output-limit"


def test_an_object_is_shown_in_all_its_representations(client: BlockingKernelClient) -> None:
    outcome = run(
        client,
        "class Many:\n"
        "    def _repr_mimebundle_(self, **_):\n"
        "        return {'application/json': {'a': [1]}, 'image/png': b'png', 'text/html': '<b>'}\n"
        "display(Many())",
    )

    [shown] = outcome.of("display_data")
    plain = shown["data"].pop("text/plain")
    assert shown["data"] == {
        "application/json": {"a": [1]},
        "image/png": "cG5n",
        "text/html": "<b>",
    }
    assert "Many object" in plain


def test_what_is_shown_can_be_updated_and_taken_away(client: BlockingKernelClient) -> None:
    code = (
        "from kernel_runner_display import clear_output\n"
        "class Page:\n    def _repr_html_(self): return '<b>'\n"
        "handle = display(Page(), display_id='page')\nhandle.update(Page())\n"
        "clear_output(wait=True)"
    )
    outcome = run(client, code)

    for kind in ("display_data", "update_display_data"):
        [shown] = outcome.of(kind)
        assert shown["transient"] == {"display_id": "page"}
    assert outcome.of("clear_output") == [{"wait": True}]


def test_the_next_line_of_a_block_is_indented() -> None:
    assert contents.completeness("if x:", "incomplete")["indent"] == "    "
    assert contents.completeness("if x:\n    y = 1", "incomplete")["indent"] == "    "
    assert contents.completeness("x = '''a", "incomplete")["indent"] == ""


def kernel_pid(manager: object) -> int:
    pid = manager.provisioner.pid  # type: ignore[attr-defined]
    assert isinstance(pid, int)
    return pid


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def first_child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
