"""`perilune repl` in a terminal, and without one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Run
from frontend import Frontend
from jupyter_client import KernelManager
from terminal import ALT_ENTER, CTRL_C, CTRL_D, CTRL_R, ENTER, TAB, UP, Terminal


@pytest.fixture
def repl(binary: Path, home: Path) -> Iterator[Terminal]:
    with Terminal([binary, "repl"]) as terminal:
        terminal.prompt("[1]> ")
        yield terminal


def run(terminal: Terminal, code: str, number: int) -> None:
    """Types a cell at the prompt of this number and waits for the next."""
    terminal.prompt(f"[{number}]> ")
    terminal.line(code)
    terminal.prompt(f"[{number + 1}]> ")


def test_cells_share_their_variables_and_show_values_output_and_errors(repl: Terminal) -> None:
    run(repl, "local x = 41", 1)
    run(repl, "x + 1", 2)
    run(repl, "print('é', '月')", 3)
    run(repl, "error('oh no')", 4)
    assert repl.lines[3:] and "42" in repl.lines
    assert "é\t月".expandtabs(8) in repl.text.replace("月 ", "月")
    assert any("error:" in line and "oh no" in line for line in repl.lines)
    repl.keys(CTRL_D)
    assert repl.ended() == 0


def test_a_block_goes_on_until_it_is_complete_and_is_indented(repl: Terminal) -> None:
    repl.line("for i = 1, 2 do")
    repl.wait(lambda: repl.last == "   |", "a second line")
    assert repl.screen.cursor.x == len("[1]> ") + 2
    repl.line("print('round', i)")
    repl.line("end")
    repl.prompt("[2]> ")
    assert "round   2" in repl.text and "   | end" in repl.lines


def test_a_paste_of_many_lines_is_one_cell(repl: Terminal) -> None:
    repl.keys("\x1b[200~local sum = 0\nfor i = 1, 4 do\n  sum = sum + i\nend\nprint('sum', sum)\x1b[201~")
    repl.see("print('sum', sum)")
    repl.keys(ENTER)
    repl.prompt("[2]> ")
    assert "sum     10" in repl.text


def test_tab_completes_one_and_offers_many(repl: Terminal) -> None:
    repl.keys("string.rev" + TAB)
    repl.see("string.reverse")
    repl.keys(CTRL_C)
    repl.prompt("[1]> ")  # what is typed before it is thrown away with the line
    repl.keys("string." + TAB)
    repl.see("gsub")
    repl.keys("form" + TAB)
    repl.see("string.format")
    repl.line("('%d', 7)")
    repl.prompt("[2]> ")
    assert "7" in repl.lines


def test_completion_after_wide_characters_replaces_the_right_part(repl: Terminal) -> None:
    repl.keys("'月é' .. string.rep" + TAB + "('ab', 2)" + ENTER)
    repl.prompt("[2]> ")
    assert "月éabab" in repl.text.replace("月 ", "月")


def test_a_question_mark_explains(repl: Terminal) -> None:
    run(repl, "--- Doubles a number." + ALT_ENTER + "function double(n) return 2 * n end", 1)
    run(repl, "double?", 2)
    assert "Doubles a number." in repl.text.split("double?")[1]


def test_ctrl_c_stops_a_cell_and_keeps_the_variables(repl: Terminal) -> None:
    run(repl, "kept = 7", 1)
    repl.line("print('spinning') while true do end")
    repl.wait(lambda: "spinning" in repl.lines, "the cell's output")
    repl.keys(CTRL_C)
    repl.prompt("[3]> ")
    assert "interrupted" in repl.text
    run(repl, "kept", 3)
    assert "7" in repl.lines


def test_ctrl_c_at_the_prompt_throws_away_what_was_typed(repl: Terminal) -> None:
    repl.keys("print('never'")
    repl.see("print('never'")
    repl.keys(CTRL_C)
    repl.wait(lambda: repl.last == "[1]>", "an empty prompt")
    run(repl, "'after'", 1)
    assert "after" in repl.lines


def test_input_and_a_password_that_nobody_sees(repl: Terminal) -> None:
    repl.line("io.write('name? ') local name = io.read() print('hello ' .. name)")
    repl.wait(lambda: repl.last == "name?", "the question")
    repl.line("Ada")
    repl.prompt("[2]> ")
    assert "hello Ada" in repl.lines
    run(repl, "seen = 1", 2)


def test_an_interrupted_question_takes_nothing_of_what_is_typed_next(repl: Terminal) -> None:
    repl.line("io.write('name? ') io.read()")
    repl.wait(lambda: repl.last == "name?", "the question")
    repl.keys(CTRL_C)
    repl.prompt("[2]> ")
    for number in range(2, 6):
        run(repl, f"'typed {number}'", number)
        assert f"typed {number}" in repl.lines


def test_updates_take_their_displays_place(repl: Terminal) -> None:
    run(repl, "local bar = display('step 0') for i = 1, 30 do bar:update('step ' .. i) end print('printed')", 1)
    shown = repl.text.split("[1]>")[1]
    assert "step 30" in shown.replace("'", "") and "\nstep 0" not in shown and "\nstep 7" not in shown
    assert "printed" in repl.lines


def test_the_arrow_keys_and_ctrl_r_find_what_was_typed(repl: Terminal) -> None:
    run(repl, "'first' .. 'ly'", 1)
    run(repl, "'second' .. 'ly'", 2)
    repl.keys(UP + UP)
    repl.wait(lambda: repl.last == "[3]> 'first' .. 'ly'", "the entry before the last")
    repl.keys(CTRL_C)
    repl.wait(lambda: repl.last == "[3]>", "an empty prompt")
    repl.keys(CTRL_R + "second")
    repl.see("(search: second)")
    repl.keys(ENTER)
    repl.keys(ENTER)
    repl.prompt("[4]> ")
    assert repl.lines.count("secondly") == 2


def test_what_was_run_is_remembered_and_shared_with_notebooks(
    binary: Path, manager: KernelManager, frontend: Frontend
) -> None:
    frontend.execute("'from a ' .. 'notebook'")
    # Cells are written a moment after they ran; whoever asks the kernel is answered when they are.
    assert [cell for *_, cell in frontend.history("tail", n=1)] == ["'from a ' .. 'notebook'"]
    with Terminal([binary, "repl"]) as repl:
        repl.prompt("[1]> ")
        repl.keys(UP)
        repl.wait(lambda: repl.last == "[1]> 'from a ' .. 'notebook'", "the notebook's cell")
        repl.keys(CTRL_C)
        repl.wait(lambda: repl.last == "[1]>", "an empty prompt")
        run(repl, "'from a ' .. 'prompt'", 1)
        repl.keys(CTRL_D)
        assert repl.ended() == 0
    with Terminal([binary, "--connect", connection_file(manager), "repl"], columns=200) as repl:
        repl.prompt("[2]> ")
        repl.keys(UP)
        repl.wait(lambda: repl.last == "[2]> 'from a ' .. 'prompt'", "the prompt's cell")


def test_a_narrow_window_wraps_and_a_resize_loses_nothing(binary: Path, home: Path) -> None:
    with Terminal([binary, "repl"], columns=40, rows=20) as repl:
        repl.prompt("[1]> ")
        repl.keys("local text = '" + "ab" * 30 + "'")
        repl.wait(lambda: repl.text.endswith("ab'"), "the whole line")
        repl.resize(60, 20)
        repl.keys(" print(#text)" + ENTER)
        repl.prompt("[2]> ")
        assert "60" in repl.lines


def test_alt_enter_opens_a_line_in_complete_code(repl: Terminal) -> None:
    repl.keys("x = 1" + ALT_ENTER + "print(x + 1)" + ENTER)
    repl.prompt("[2]> ")
    assert "2" in repl.lines


@pytest.mark.parametrize(("code", "exit_code"), [("exit", 0), ("quit()", 0), ("os.exit()", 0), ("os.exit(3)", 3)])
def test_leaving(repl: Terminal, code: str, exit_code: int) -> None:
    repl.line(code)
    assert repl.ended() == exit_code


def test_a_user_may_own_the_word_exit(repl: Terminal) -> None:
    run(repl, "exit = function() return 'mine' end", 1)
    run(repl, "exit()", 2)
    assert "mine" in repl.lines


def test_no_color_is_obeyed(binary: Path, home: Path) -> None:
    with Terminal([binary, "repl"], NO_COLOR="1") as repl:
        run(repl, "local x = 'text' error(x)", 1)
        assert "error:" in repl.text and not re.search(r"\x1b\[[1-9][0-9;]*m", repl.raw)


def test_the_terminal_is_left_as_it_was(repl: Terminal) -> None:
    repl.keys(CTRL_D)
    assert repl.ended() == 0
    assert repl.raw.count("\x1b[?2004h") == repl.raw.count("\x1b[?2004l") > 0


def test_sigterm_ends_the_prompt(repl: Terminal) -> None:
    repl.child.kill(signal.SIGTERM)
    assert repl.ended() == 130
    assert repl.raw.count("\x1b[?2004h") == repl.raw.count("\x1b[?2004l")


def connection_file(manager: KernelManager) -> str:
    return manager.connection_file


def test_a_notebooks_kernel_shares_its_variables(binary: Path, manager: KernelManager, frontend: Frontend) -> None:
    frontend.execute("shared = 'from the notebook'")
    with Terminal([binary, "--connect", connection_file(manager), "repl"], columns=200) as repl:
        repl.prompt("[2]> ")
        run(repl, "shared", 2)
        assert "from the notebook" in repl.lines
        run(repl, "back = 'from the prompt'", 3)
        repl.keys(CTRL_D)
        assert repl.ended() == 0
    assert frontend.execute("back").result == "from the prompt"


def test_another_clients_cell_delays_the_answer_and_not_the_keys(
    binary: Path, manager: KernelManager, frontend: Frontend
) -> None:
    with Terminal([binary, "--connect", connection_file(manager), "repl"], columns=200) as repl:
        repl.prompt("[1]> ")
        busy = frontend.start("print('begun') while true do end", stop_on_error=False)
        frontend.wait(lambda: "begun" in busy.stream(), "the loop's beginning")
        began = time.monotonic()
        repl.keys("string.rever" + TAB)
        repl.see("string.reverse")
        repl.line("")
        repl.wait(lambda: repl.last == "", "the cell's turn")
        assert time.monotonic() - began < 3
        frontend.ask("interrupt_request", channel="control")
        frontend.finish(busy)
        repl.prompt("[3]> ")


def test_a_kernel_that_dies_is_told(binary: Path, manager: KernelManager) -> None:
    with Terminal([binary, "--connect", connection_file(manager), "repl"], columns=200) as repl:
        repl.prompt("[1]> ")
        manager.provisioner.process.kill()
        began = time.monotonic()
        assert repl.ended() == 3
        assert time.monotonic() - began < 6
        assert "error:" in repl.text and "has died" in repl.text
    manager.shutdown_kernel(now=True)


def test_piped_code_is_run_line_by_line(perilune: Run) -> None:
    piped = perilune("repl", input="x = 20\nx + 1\nfor i = 1, 2 do\n  print('round', i)\nend\n\nio.read()\nthe next line\n2 + 2")
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout == "21\nround\t1\nround\t2\nthe next line\n4\n"
    assert piped.stderr == ""


def test_piped_code_that_fails_ends_it(perilune: Run) -> None:
    piped = perilune("repl", input="print('one')\nerror('two')\nprint('three')\n")
    assert (piped.returncode, piped.stdout) == (1, "one\n")
    assert "two" in piped.stderr
    unfinished = perilune("repl", input="for i = 1, 2 do\n")
    assert unfinished.returncode == 1 and "end" in unfinished.stderr
    assert perilune("repl", input="os.exit(4)\nprint('never')").returncode == 4


def test_a_terminal_that_can_only_print_gets_plain_prompts(binary: Path, home: Path) -> None:
    with Terminal([binary, "repl"], TERM="dumb") as repl:
        repl.see("[1]>")
        repl.line("6 * 7")
        repl.see("[2]>")
        repl.line("error('shown')")
        repl.see("[3]>")
        assert "42" in repl.lines and "shown" in repl.text and "\x1b" not in repl.raw
        repl.keys(CTRL_D)
        assert repl.ended() == 0


def test_what_makes_no_sense_is_refused(perilune: Run, manager: KernelManager) -> None:
    assert perilune("repl", "--output", "json", input="1").returncode == 2
    refused = perilune("--connect", connection_file(manager), "repl", "--seed", "1", input="1")
    assert refused.returncode == 2 and "--seed" in refused.stderr
    assert perilune("repl", "--model", "local/", input="1").returncode == 2


def test_model_and_seed_make_a_session_repeatable(perilune: Run) -> None:
    code = "LocalLLM.generate('Tell me about the moon.', {temperature = 1, max_tokens = 12})\n" * 2
    first, second = (perilune("repl", "--seed", "7", "--model", "local/moonlet@candle", input=code) for _ in range(2))
    assert first.returncode == 0 and first.stdout.strip() and first.stdout == second.stdout


def test_a_reader_that_leaves_ends_it(binary: Path, home: Path) -> None:
    process = subprocess.Popen([binary, "repl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.close()
    process.stdin.write("for i = 1, 100000 do print(i) end\n")
    process.stdin.close()
    assert process.wait(timeout=30) == 141
    assert os.path.exists(home)
