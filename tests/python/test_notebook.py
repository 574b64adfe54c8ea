"""nbclient runs a notebook from top to bottom, as `jupyter nbconvert --execute` does."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def notebook(*cells: str) -> nbformat.NotebookNode:
    book = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "perilune", "display_name": "Lua (Perilune)", "language": "lua"}}
    )
    book.cells = [nbformat.v4.new_code_cell(source) for source in cells]
    return book


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., nbformat.NotebookNode]:
    def run(book: nbformat.NotebookNode, **options: object) -> nbformat.NotebookNode:
        settings = {"timeout": 60, "kernel_name": "perilune", "resources": {"metadata": {"path": str(tmp_path)}}} | options
        done = NotebookClient(book, **settings).execute()
        nbformat.validate(done)
        return done

    return run


def text(cell: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_a_notebook_with_a_model_runs_from_top_to_bottom(run: Callable) -> None:
    done = run(
        notebook(
            "local total = 0\nfor i = 1, 10 do total = total + i end\nreturn total",
            "answer = LocalLLM.generate('What is the capital of France?', { temperature = 0 })\nprint(answer)",
            "return total, #answer > 0",
            "for piece in LocalLLM.stream({ { role = 'user', content = 'Hello!' } }, { temperature = 0 }) do io.write(piece) end",
        )
    )
    first, second, third, fourth = done.cells
    assert first.outputs[0].data["text/plain"] == "55"
    assert "Paris" in text(second)
    assert third.outputs[0].data["text/plain"].split()[0].rstrip(",") == "55"
    assert text(fourth).strip()
    assert [cell.execution_count for cell in done.cells] == [1, 2, 3, 4]


def test_a_failing_cell_stops_the_notebook_and_is_named(run: Callable) -> None:
    book = notebook("print('before')", "local x = nil\nreturn x.field", "print('after')")
    with pytest.raises(CellExecutionError) as raised:
        run(book)
    assert "return x.field" in str(raised.value)
    assert raised.value.ename == "LuaError"
    assert "nil" in raised.value.evalue
    assert text(book.cells[0]) == "before\n"
    assert book.cells[1].outputs[0].output_type == "error"
    assert book.cells[2].outputs == []


def test_a_cell_that_may_fail_does_not_stop_the_notebook(run: Callable) -> None:
    book = notebook("error('expected')", "return 2")
    book.cells[0].metadata.tags = ["raises-exception"]
    done = run(book)
    assert done.cells[0].outputs[0].ename == "LuaError"
    assert done.cells[1].outputs[0].data["text/plain"] == "2"


def test_a_cell_that_takes_too_long_can_be_given_up(run: Callable) -> None:
    """nbclient interrupts the kernel at the deadline and goes on with the next cell."""
    book = notebook("while true do end", "return 'went on'")
    done = run(book, timeout=1, interrupt_on_timeout=True, allow_errors=True)
    assert done.cells[0].outputs[0].ename == "Interrupted"
    assert "went on" in done.cells[1].outputs[0].data["text/plain"]
