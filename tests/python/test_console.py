"""jupyter_console, the other terminal: in a pseudo-terminal, with a kernel started from our kernelspec."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from jupyter_client import KernelManager
from terminal import CTRL_C, CTRL_D, TAB, Terminal

CONSOLE = [sys.executable, "-m", "jupyter_console"]


@pytest.fixture
def console() -> Iterator[Terminal]:
    with Terminal([*CONSOLE, "--kernel", "perilune"], columns=100) as terminal:
        prompt(terminal, 1)
        yield terminal


def prompt(console: Terminal, number: int) -> None:
    console.wait(lambda: console.last.startswith(f"In [{number}]:"), f"the prompt of cell {number}")


def run(console: Terminal, code: str, number: int) -> None:
    prompt(console, number)
    console.line(code)
    prompt(console, number + 1)


def test_cells_share_their_variables_and_show_values_output_and_errors(console: Terminal) -> None:
    run(console, "local x = 41", 1)
    run(console, "x + 1", 2)
    run(console, "print('printed')", 3)
    run(console, "error('oh no')", 4)
    assert "Out[2]: 42" in console.text
    assert "printed" in console.lines
    assert "oh no" in console.text.split("error('oh no')")[1]


def test_a_block_goes_on_until_it_is_complete(console: Terminal) -> None:
    console.line("for i = 1, 2 do")
    console.wait(lambda: console.last.lstrip().startswith("...:"), "a second line")
    console.line("print('round', i)")
    console.line("end")
    prompt(console, 2)
    assert "round   2" in console.text


def test_tab_completes(console: Terminal) -> None:
    console.keys("string.reve" + TAB)
    console.see("string.reverse")
    console.line("('abc')")
    prompt(console, 2)
    assert "cba" in console.text


def test_ctrl_c_stops_a_cell_and_keeps_the_variables(console: Terminal) -> None:
    run(console, "kept = 7", 1)
    console.line("print('spinning') while true do end")
    console.wait(lambda: "spinning" in console.lines, "the cell's output")
    console.keys(CTRL_C)
    prompt(console, 3)
    run(console, "kept", 3)
    assert "Out[3]: 7" in console.text


def test_input_is_asked_for(console: Terminal) -> None:
    console.line("io.write('name? ') local name = io.read() print('hello ' .. name)")
    console.wait(lambda: console.last == "name?", "the question")
    console.line("Ada")
    prompt(console, 2)
    assert "hello Ada" in console.lines


def test_displays_are_shown_and_updates_do_not_flood_it(console: Terminal) -> None:
    """It knows no `update_display_data`: a display stays as it was first."""
    run(console, "local bar = display('step 0') for i = 1, 5 do bar:update('step ' .. i) end", 1)
    assert "step 0" in console.lines and "step 5" not in console.text


@pytest.mark.parametrize("word", ["exit", "quit", "exit()", "os.exit()"])
def test_a_word_leaves_it(console: Terminal, word: str) -> None:
    console.line(word)
    assert console.ended() == 0


def test_leaving_ends_its_own_kernel_and_no_others(console: Terminal, manager: KernelManager) -> None:
    run(console, "os.getenv('JPY_PARENT_PID')", 1)
    console.keys(CTRL_D)
    console.see("really want to exit")
    console.line("y")
    assert console.ended() == 0
    existing = [*CONSOLE, "--existing", manager.connection_file]
    with Terminal(existing, columns=100) as visitor:
        prompt(visitor, 1)
        visitor.line("exit")
        assert visitor.ended() == 0
    assert manager.is_alive() and os.path.exists(manager.connection_file)
