"""Code typed at the prompt of `kernel-runner repl` comes in; screens as text go out."""

import stat
from pathlib import Path

from tests.prompting import Open
from tests.tools import require_tool

# Cells ----------------------------------------------------------------------------------------


def test_state_is_kept_and_values_are_shown(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.line("x = 41")
    repl.line("x + 1")

    repl.until("^42$")
    repl.until_prompt("python>")
    assert repl.text.endswith("python> x = 41\npython> x + 1\n42\npython>")


def test_enter_goes_on_while_the_code_is_incomplete(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.line("def double(x):")
    repl.until(r"^ +\.\.\.\s*$")
    repl.line("return 2 * x")
    repl.line("")
    repl.until_prompt("python>")
    repl.line("double(21)")

    repl.until("^42$")
    assert "python> def double(x):\n    ...     return 2 * x\n" in repl.text


def test_lines_typed_before_the_answer_run_one_after_the_other(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.type("'a' * 3\r'b' * 3\r")

    repl.until("^'bbb'$")
    assert repl.text.index("'aaa'") < repl.text.index("'bbb'")


def test_a_syntax_error_is_shown_and_the_next_line_runs(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.line("x = )")
    repl.until("^SyntaxError: ")
    repl.until_prompt("python>")
    repl.line("6 * 7")

    repl.until("^42$")


def test_standard_error_is_red_unless_no_colour_is_wanted(open_repl: Open) -> None:
    code = "import sys; print('oops', file=sys.stderr)"
    red, plain = open_repl("python"), open_repl("python", NO_COLOR="1")

    for repl in (red, plain):
        repl.line(code)
        repl.until("^oops$")

    assert b"\x1b[31moops" in red.raw
    assert b"\x1b[31m" not in plain.raw


def test_an_unfinished_last_line_is_not_painted_over(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.line("print('no newline', end='')")

    repl.until("^no newline$")
    repl.until_prompt("python>")


def test_the_shell_keeps_its_variables_and_tells_exit_codes(open_repl: Open) -> None:
    repl = open_repl("shell")

    repl.line("for i in 1 2; do")
    repl.until(r"^ +\.\.\.\s*$")
    repl.line("echo round $i")
    repl.line("done")
    repl.until("^round 2$")
    repl.until_prompt("shell>")
    repl.line("(exit 3)")

    repl.until("^exit code 3$")


def test_where_nobody_knows_whether_code_is_complete_an_empty_line_runs_it(
    open_repl: Open,
) -> None:
    require_tool("gcc")
    repl = open_repl("c")

    repl.line("#include <stdio.h>")
    repl.until("an empty line or Esc Enter runs it")
    repl.line('int main(void) { puts("hello"); }')
    repl.line("")

    repl.until("^hello$")


def test_escape_enter_runs_what_is_there(open_repl: Open) -> None:
    require_tool("gcc")
    repl = open_repl("c")

    repl.type("int main(void) { return 3; }", "<escape>", "<enter>")

    repl.until("^exit code 3$")


def test_what_a_thread_prints_later_stands_above_the_prompt(open_repl: Open, work: Path) -> None:
    repl = open_repl("python")
    repl.line("import threading, pathlib")
    repl.line("go = threading.Event()")
    repl.line("threading.Thread(target=lambda: (go.wait(), print('late'))).start()")
    repl.until_prompt("python>")
    repl.line("threading.Timer(0.3, go.set).start()")
    repl.until_prompt("python>")
    repl.type("1 + 1")

    repl.until("^late$")
    repl.until_prompt("python> 1 + 1")


# Editing --------------------------------------------------------------------------------------


def test_the_history_is_kept_for_the_next_time_and_for_the_user_only(
    open_repl: Open, tmp_path: Path
) -> None:
    first = open_repl("python")
    first.line("'remember' + ' me'")
    first.until("^'remember me'$")
    first.until_prompt("python>")
    first.type("<ctrl-d>")
    assert first.until_end() == 0

    second = open_repl("py", prompt="python>")
    second.type("<up>")

    second.until_prompt("python> 'remember' + ' me'")
    file = tmp_path / "state" / "kernel-runner" / "history-python"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_completions_come_while_typing(open_repl: Open) -> None:
    repl = open_repl("python")
    repl.line("import os")
    repl.until_prompt("python>")

    repl.type("os.path.spl")
    repl.until("splitext")
    repl.type("<tab>", "<enter>")

    repl.until_prompt("python> os.path.split")


def test_typing_goes_on_while_the_interpreter_does_not_answer(open_repl: Open) -> None:
    repl = open_repl("python")
    repl.line("class Slow:\n    def __dir__(self):\n        import time; time.sleep(600)")
    repl.line("")
    repl.until_prompt("python>")
    repl.line("slow = Slow()")
    repl.until_prompt("python>")

    repl.type("slow.a")
    repl.until_prompt("python> slow.a")
    repl.type(" + 1 + 2")

    repl.until_prompt("python> slow.a + 1 + 2")


def test_a_question_mark_and_f1_tell_about_a_name(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.line("?len")
    repl.until("Return the number of items")
    repl.until_prompt("python>")
    repl.type("sorted", "<f1>")

    repl.until("Return a new list containing all items")
    repl.until_prompt("python> sorted")


def test_ctrl_c_at_the_prompt_drops_what_was_typed(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.type("1/0", "<ctrl-c>")
    repl.until_prompt("python>")
    repl.line("6 * 7")

    repl.until("^42$")
    assert "ZeroDivisionError" not in repl.text


def test_a_megabyte_is_pasted_as_one_cell(open_repl: Open) -> None:
    repl = open_repl("python")
    line = "x" * 99

    repl.paste("data = '''\n" + f"{line}\n" * 10_500 + "'''")
    repl.until("'''$")
    repl.type("<enter>")
    repl.until_prompt("python>")
    repl.line("len(data)")

    repl.until("^1050001$")


def test_a_megabyte_is_pasted_as_one_line(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.paste("data = '" + "x" * 1_000_000 + "'")
    repl.until("x'$")
    repl.type("<enter>")
    repl.until_prompt("python>")
    repl.line("len(data)")

    repl.until("^1000000$")


def test_wide_characters_and_a_resize_keep_the_line_whole(open_repl: Open) -> None:
    repl = open_repl("python")

    repl.type("'日本語' * 12 + '")
    repl.until("日 *本 *語")
    repl.resize(20, 30)
    repl.line("終'")
    repl.resize(40, 120)
    repl.line("len(_)")

    repl.until("^37$")
