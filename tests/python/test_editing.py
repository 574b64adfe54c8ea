"""What a frontend asks while somebody types: complete_request, inspect_request, and `name?` in a cell."""

from __future__ import annotations

import time

import pytest
from frontend import Exchange, Frontend


def complete(frontend: Frontend, code: str, cursor: int | None = None) -> dict:
    cursor = len(code) if cursor is None else cursor
    reply = frontend.ask("complete_request", {"code": code, "cursor_pos": cursor}).reply
    assert reply["status"] == "ok", reply
    assert 0 <= reply["cursor_start"] <= reply["cursor_end"] == cursor
    return reply


def inspect(frontend: Frontend, code: str, cursor: int | None = None, detail: int = 0) -> dict:
    cursor = len(code) if cursor is None else cursor
    reply = frontend.ask("inspect_request", {"code": code, "cursor_pos": cursor, "detail_level": detail}).reply
    assert reply["status"] == "ok", reply
    assert reply["found"] == bool(reply["data"])
    return reply


def test_completion_counts_characters_and_not_bytes(frontend: Frontend) -> None:
    code = "local é = '🌙🌙' .. prin"
    reply = complete(frontend, code)
    assert reply["matches"] == ["print"]
    assert (reply["cursor_start"], reply["cursor_end"]) == (len(code) - 4, len(code))
    assert complete(frontend, "pri + '🌙'", 3)["matches"] == ["print"]


def test_a_completion_says_its_type_and_signature(frontend: Frontend) -> None:
    frontend.execute("function greet(name, ...) end local moon = {}")
    for code, text, kind, signature in [
        ("LocalLLM.gen", "generate", "function", "LocalLLM.generate(prompt: string"),
        ("gree", "greet", "function", "greet(name, ...)"),
        ("moo", "moon", "class", "table"),
        ("LocalLLM.generate('x', { temp", "temperature", "property", "temperature?: number"),
        ("whil", "while", "keyword", ""),
    ]:
        reply = complete(frontend, code)
        (described,) = reply["metadata"]["_jupyter_types_experimental"]
        assert (described["text"], described["type"]) == (text, kind)
        assert described["signature"].startswith(signature)
        assert (described["start"], described["end"]) == (reply["cursor_start"], reply["cursor_end"])
        assert reply["matches"] == [text]


def test_models_are_offered_and_none_is_loaded(frontend: Frontend) -> None:
    before = frontend.model("status").reply
    assert complete(frontend, "LocalLLM.load('loc")["matches"] == ["local/moonlet@candle"]
    assert complete(frontend, "Agent.create { model = \"")["matches"] == ["local/moonlet@candle"]
    assert frontend.model("status").reply == before


@pytest.mark.parametrize("code", ["LocalLLM.generate", "LocalLLM.generate(", "LocalLLM.generate('x', { temperature = 0 }"])
def test_our_functions_are_inspected(frontend: Frontend, code: str) -> None:
    for cursor in range(len("LocalLLM."), len(code) + 1):
        data = inspect(frontend, code, cursor)["data"]
        assert "temperature" in data["text/plain"] or "LocalLLM.generate(prompt" in data["text/plain"], cursor
        assert data["text/markdown"].startswith("```lua\n")


def test_a_users_function_is_inspected_with_its_comment_and_source(frontend: Frontend) -> None:
    source = "-- Doubles a number.\nlocal function double(n)\n  return n * 2\nend"
    count = frontend.execute(source).reply["execution_count"]
    brief = inspect(frontend, "double(2)", 3)["data"]["text/plain"]
    assert brief == f"double(n)\n\nDoubles a number.\n\nDefined in cell {count}, line 2."
    full = inspect(frontend, "double(2)", 3, detail=1)["data"]["text/plain"]
    assert full.endswith("local function double(n)\n  return n * 2\nend")


def test_what_nobody_knows_is_not_found(frontend: Frontend) -> None:
    for code in ["nothing_at_all", "1 + ", "", "end end )("]:
        assert inspect(frontend, code) == {"status": "ok", "found": False, "data": {}, "metadata": {}}


def test_a_question_opens_the_pager(frontend: Frontend) -> None:
    reply = frontend.execute("agent:execute?").reply
    (page,) = reply["payload"]
    assert page["source"] == "page" and page["start"] == 0
    assert page["data"]["text/plain"].startswith("agent:execute(")
    assert "text/markdown" in page["data"]
    unknown = frontend.execute("LocalLM?")
    assert unknown.reply["payload"] == []
    assert "did you mean `LocalLLM`" in unknown.stream("stderr")
    status = frontend.ask("is_complete_request", {"code": "agent:execute?"}).reply["status"]
    assert status == "complete"


def test_an_editor_is_answered_while_a_cell_runs(frontend: Frontend) -> None:
    running = frontend.start("marker = true while true do end")
    while not complete(frontend, "mark")["matches"]:
        assert not running.answer
    began = time.monotonic()
    assert complete(frontend, "LocalLLM.li")["matches"] == ["list"]
    assert inspect(frontend, "print")["found"]
    assert frontend.ask("is_complete_request", {"code": "x = 1"}).reply["status"] == "complete"
    assert time.monotonic() - began < 2
    assert not running.answer
    frontend.ask("interrupt_request", channel="control")
    ended: Exchange = frontend.finish(running)
    assert ended.reply["status"] == "error"


def test_a_library_call_that_nothing_interrupts_makes_an_answer_an_error(frontend: Frontend) -> None:
    """A pattern that takes exponential time holds the interpreter; whoever types is told so within a second or so."""
    running = frontend.start("io.write('now') return (('a'):rep(26)):find(('a?'):rep(26) .. ('a'):rep(26))")
    frontend.wait(lambda: running.stream() == "now", "the cell to begin")
    reply = frontend.ask("complete_request", {"code": "pri", "cursor_pos": 3}).reply
    assert reply["status"] == "error" and "library function" in reply["evalue"], reply
    frontend.finish(running, patience=120)
    assert complete(frontend, "pri")["matches"] == ["print"]
