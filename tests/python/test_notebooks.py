"""The notebooks in scripts/notebooks, run by nbclient as they are stored: without outputs, from top to bottom, offline."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from conftest import SCRIPTS
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOKS = sorted((SCRIPTS / "notebooks").glob("*.ipynb"))


def run(name: str) -> list[NotebookNode]:
    """The outputs of all cells, in order; an error in any of them is this test's."""
    notebook = nbformat.read(SCRIPTS / "notebooks" / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120).execute()
    nbformat.validate(notebook)
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def printed(outputs: list[NotebookNode]) -> str:
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def shown(outputs: list[NotebookNode], mime: str) -> list[str]:
    bundles = [output.data for output in outputs if output.output_type in ("display_data", "execute_result")]
    assert all("text/plain" in bundle for bundle in bundles)
    return [bundle[mime] for bundle in bundles if mime in bundle]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_clean(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "perilune"
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)


def test_the_tour() -> None:
    outputs = run("tour")
    results = shown(outputs, "text/plain")
    assert any("Tokyo" in result for result in results)
    assert any("42" in result and "completion_tokens" in result for result in results)
    text = printed(outputs)
    assert "The Moon is 3475 km across." in text
    assert "did you mean `temperature`?" in text and "invalid_request" in text
    assert int(re.search(r"(\d+) of 20 sums are right", text)[1]) >= 18
    tables = shown(outputs, "text/html")
    assert sum("<table>" in table for table in tables) >= 2
    assert any("How large they are" in table for table in tables)
    assert any("sums" in bar and "20/20" in bar and 'value="1.0000"' in bar for bar in tables)
    assert any("border-radius: 50%" in planet for planet in tables)
    charts = shown(outputs, "image/svg+xml")
    assert len(charts) == 1 and charts[0].count("<rect") == 5 and "Five moons" in charts[0]
    assert len(shown(outputs, "text/latex")) == 1 and len(shown(outputs, "text/markdown")) == 1


def test_the_agent() -> None:
    outputs = run("agent")
    text = printed(outputs)
    assert "Paris" in text and "42" in text
    assert re.search(r"messages before and after:\s+7\s+7\n", text)
    conversation, checked = [table for table in shown(outputs, "text/html") if "<table>" in table]
    assert "What is the capital of France?" in conversation and conversation.count("<tr>") == 8
    assert checked.count(">true</td>") == 3


def test_the_comparison() -> None:
    outputs = run("comparison")
    tables = [table for table in shown(outputs, "text/html") if "<table>" in table]
    assert "... 12 more rows" in tables[0] and tables[1].count("<tr>") == 5
    bars, dots, histogram = shown(outputs, "image/svg+xml")
    assert bars.count("<title>") == 8 and ">fastest</text>" in bars
    assert dots.count("<circle") == 20
    counts = [int(count) for count in re.findall(r"<title>(\d+)</title>", histogram)]
    assert sum(counts) == 20
