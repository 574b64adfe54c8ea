"""Rich output as a frontend receives it: bundles, their names and updates, clearing, and results."""

from __future__ import annotations

from typing import Any

from frontend import Exchange, Frontend
from nbformat.validator import validate
from nbformat.v4 import new_code_cell, new_notebook, output_from_msg


def shown(exchange: Exchange, kind: str) -> list[dict[str, Any]]:
    return [arrival.content for arrival in exchange.all(kind)]


def test_a_display_is_named_and_updated_in_order(frontend: Frontend) -> None:
    code = 'print("before") local h = display.html("<b>1</b>") print("between") h:update("<b>2</b>") display.clear(true)'
    exchange = frontend.execute(code)
    kinds = [arrival.kind for arrival in exchange.arrivals if arrival.channel == "iopub" and arrival.kind != "status"]
    assert kinds == ["execute_input", "stream", "display_data", "stream", "update_display_data", "clear_output"]
    first, second = shown(exchange, "display_data")[0], shown(exchange, "update_display_data")[0]
    assert first["data"] == {"text/html": "<b>1</b>", "text/plain": "1"} and first["metadata"] == {}
    assert second["data"]["text/html"] == "<b>2</b>"
    assert first["transient"] == second["transient"] and len(first["transient"]["display_id"]) > 8
    assert shown(exchange, "clear_output") == [{"wait": True}]

    later = frontend.execute('h:update("<b>3</b>")')
    assert shown(later, "update_display_data")[0]["transient"] == first["transient"]


def test_records_are_a_table_with_a_text_form(frontend: Frontend) -> None:
    exchange = frontend.execute('{{name = "Io", km = 3643}, {name = "<script>", km = 1}}')
    data = shown(exchange, "execute_result")[0]["data"]
    assert data["text/plain"].splitlines() == ["  km  name", "────  ────────", "3643  Io", "   1  <script>"]
    assert "<table>" in data["text/html"] and "&lt;script&gt;" in data["text/html"] and "<script" not in data["text/html"]


def test_every_output_is_valid_in_a_notebook(frontend: Frontend) -> None:
    """nbformat's own schema judges what an output may be."""
    code = """
    display.markdown("*a*") display.latex("x^2") display.json{a = {1, {b = json.null}}} display.svg("<svg/>")
    display.vegalite{mark = "bar", data = {values = {{a = 1}}}} display.table({{1, 2}, {3, 4}}, {caption = "c"})
    display({deep = {er = {}}}, {metadata = {tag = "x"}})
    return setmetatable({}, {__mimebundle = function() return {["text/html"] = "x", ["application/x+json"] = {}} end})
    """
    exchange = frontend.execute(code)
    outputs = [
        output_from_msg(arrival.message)
        for arrival in exchange.arrivals
        if arrival.kind in ("display_data", "execute_result")
    ]
    assert len(outputs) == 8
    assert all("text/plain" in output["data"] for output in outputs)
    validate(new_notebook(cells=[new_code_cell(code, outputs=outputs)]))


def test_an_error_in_a_metamethod_is_the_cells(frontend: Frontend) -> None:
    exchange = frontend.execute("setmetatable({}, {__repr_html = function() error('no page') end})")
    assert exchange.reply["status"] == "error" and "no page" in exchange.reply["evalue"]
