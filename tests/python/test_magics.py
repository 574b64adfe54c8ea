"""Magics of a notebook: %%chat, %model, %usage, %help, and what is said to a mistaken one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from frontend import Exchange, Frontend
from test_notebook import notebook

RAMBLE = "temperature=20 top_k=0 top_p=1 min_p=0 max_tokens=900"
"""The model goes on and on."""

QUESTION = "%%chat temperature=0\nWhat is the capital of France?"


def shown(exchange: Exchange, mime: str = "text/plain") -> str:
    """What a notebook's cell shows in the end: clear_output, display_data and update_display_data applied in order."""
    outputs: list[tuple[str | None, dict]] = []
    clearing = False
    for arrival in exchange.published:
        if arrival.kind == "clear_output":
            clearing = arrival.content["wait"]
        elif arrival.kind in ("display_data", "update_display_data"):
            display_id = arrival.content["transient"].get("display_id")
            if arrival.kind == "update_display_data":
                outputs = [(name, arrival.content["data"] if name == display_id else data) for name, data in outputs]
                continue
            if clearing:
                outputs, clearing = [], False
            outputs.append((display_id, arrival.content["data"]))
    return "\n".join(data[mime] for _, data in outputs)


def ok(exchange: Exchange) -> Exchange:
    assert exchange.reply["status"] == "ok", exchange.reply
    return exchange


def refused(frontend: Frontend, code: str, *words: str) -> None:
    reply = frontend.execute(code).reply
    assert reply["status"] == "error", code
    for word in words:
        assert word in reply["evalue"], reply["evalue"]


def test_a_prompt_cell_streams_an_answer_and_leaves_one_output(frontend: Frontend) -> None:
    exchange = ok(frontend.execute(QUESTION))
    assert "Paris" in shown(exchange)
    assert "Paris" in shown(exchange, "text/markdown")
    first, *updates = exchange.all("display_data")[:1] + exchange.all("update_display_data")
    assert first.content["transient"]["display_id"]
    assert all(update.content["transient"]["display_id"] == first.content["transient"]["display_id"] for update in updates)
    assert "moonlet" in first.content["data"]["text/plain"], "a console that knows no updates shows who is asked"
    assert len(exchange.all("display_data")) == 2, "and then the whole answer, once"
    assert exchange.first("execute_result") is None


def test_it_streams_at_most_ten_times_a_second(frontend: Frontend) -> None:
    ok(frontend.execute("%model moonlet"))
    exchange = ok(frontend.execute(f"%%chat {RAMBLE} seed=3\nTell me a long story about the moon."))
    updates = exchange.all("update_display_data")
    texts = [update.content["data"]["text/markdown"] for update in updates]
    assert all(later.startswith(earlier) for earlier, later in zip(texts, texts[1:], strict=False))
    seconds = exchange.answer.at - exchange.sent_at
    assert len(updates) <= 2 + 10 * seconds


def test_the_conversation_is_the_notebooks(frontend: Frontend) -> None:
    first = frontend.model("chat", messages=[{"role": "user", "content": "Hello!"}], options={"temperature": 0}).reply
    said = [
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": first["text"]},
        {"role": "user", "content": "What is 2 + 2?"},
    ]
    second = frontend.model("chat", messages=said, options={"temperature": 0}).reply
    alone = frontend.model("chat", messages=said[-1:], options={"temperature": 0}).reply
    assert second["usage"]["prompt_tokens"] > alone["usage"]["prompt_tokens"]
    assert shown(ok(frontend.execute("%%chat temperature=0\nHello!"))) == first["text"].rstrip()
    before = usage(frontend)
    assert shown(ok(frontend.execute("%%chat temperature=0\nWhat is 2 + 2?"))) == second["text"].rstrip()
    assert usage(frontend)["prompt"] - before["prompt"] == second["usage"]["prompt_tokens"]
    before = usage(frontend)
    ok(frontend.execute("%%chat reset temperature=0\nWhat is 2 + 2?"))
    assert usage(frontend)["prompt"] - before["prompt"] == alone["usage"]["prompt_tokens"]


def usage(frontend: Frontend) -> dict[str, int]:
    """The row of moonlet in `%usage`."""
    lines = [line.split() for line in shown(ok(frontend.execute("%usage"))).splitlines()]
    row = next(line for line in lines if line and line[0] == "local/moonlet@candle")
    return {"requests": int(row[1]), "prompt": int(row[2]), "generated": int(row[4])}


def test_instructions_hold_from_their_turn_on(frontend: Frontend) -> None:
    words = "You are a friendly assistant."
    said = [{"role": "system", "content": words}, {"role": "user", "content": "Hello!"}]
    expected = frontend.model("chat", messages=said, options={"temperature": 0}).reply
    exchange = ok(frontend.execute(f'%%chat temperature=0 system="{words}"\nHello!'))
    assert shown(exchange) == expected["text"].rstrip()
    assert usage(frontend)["prompt"] == expected["usage"]["prompt_tokens"]
    ok(frontend.execute("%%chat reset"))


def test_an_interrupt_keeps_what_came_and_not_the_turn(frontend: Frontend) -> None:
    ok(frontend.execute("%%chat temperature=0\nHello!"))
    ok(frontend.execute("%usage"))
    for seed in range(10):  # a generation that ends before it is interrupted is made anew, with another seed
        running = frontend.start(f"%%chat {RAMBLE} seed={seed}\nTell me a story.")
        frontend.wait(lambda running=running: running.first("update_display_data") or running.answer, "the answer to stream")
        sent = time.monotonic()
        frontend.ask("interrupt_request", channel="control")
        if frontend.finish(running).reply["status"] == "error":
            break
        ok(frontend.execute("%%chat reset"))
        ok(frontend.execute("%%chat temperature=0\nHello!"))
    assert running.reply["ename"] == "Interrupted"
    assert running.first("error").content["ename"] == "Interrupted"
    assert running.answer.at - sent < 2
    text = shown(running)
    assert "interrupted" in text
    assert len(text) > len("(interrupted; this turn is not part of the conversation)")
    alone = frontend.model(
        "chat",
        messages=[
            {"role": "user", "content": "Hello!"},
            {"role": "assistant", "content": frontend.model("chat", messages=[{"role": "user", "content": "Hello!"}], options={"temperature": 0}).reply["text"]},
            {"role": "user", "content": "Hi again"},
        ],
        options={"temperature": 0},
    ).reply  # fmt: skip
    assert shown(ok(frontend.execute("%%chat temperature=0\nHi again"))) == alone["text"].rstrip()


def test_a_failed_turn_is_told_and_not_kept(frontend: Frontend) -> None:
    reply = frontend.execute("%%chat\n" + "word " * 3000).reply
    assert reply["status"] == "error"
    assert reply["ename"] == "ModelError"
    assert "1024" in reply["evalue"], "both lengths are said"
    ok(frontend.execute("%%chat\nHello!"))


def test_a_mistaken_prompt_cell_is_told_what_would_work(frontend: Frontend) -> None:
    refused(frontend, "%%chat temprature=1\nHello", "did you mean `temperature`?")
    refused(frontend, "%%chat max_tokens=lots\nHello", "`lots`", "whole number")
    refused(frontend, "%%chat", "write the prompt below")
    refused(frontend, "%%chat local/moonlt@candle\nHello", "moonlt", "moonlet")
    refused(frontend, "%%chat system=\"open\nHello", "quote")


def test_model_is_shown_and_chosen_for_lua_too(frontend: Frontend) -> None:
    text = shown(ok(frontend.execute("%model")))
    assert text.splitlines()[0] == "local/moonlet@candle (the default)"
    assert "available: local/moonlet@candle" in text
    ok(frontend.execute("%model moonlet\nchosen = tostring(Agent.create())"))
    assert "local/moonlet@candle" in frontend.execute("return chosen").result
    assert "chosen in this notebook" in shown(ok(frontend.execute("%model")))
    refused(frontend, "%model local/moonlt@candle", "moonlt", "did you mean `moonlet`?")
    refused(frontend, "%model no/such", "no")
    refused(frontend, "%model two names", "%model NAME")
    assert "chosen in this notebook" in shown(ok(frontend.execute("%model"))), "a model that is not there changes nothing"


def test_usage_counts_lua_and_prompt_cells(frontend: Frontend) -> None:
    assert "no model was asked" in shown(ok(frontend.execute("%usage")))
    answer = frontend.execute("a = LocalLLM.chat('Hello!', {temperature = 0}) return a.usage.prompt_tokens, a.usage.completion_tokens").result
    prompt, generated = (int("".join(filter(str.isdigit, word))) for word in answer.split()[:2])
    assert usage(frontend) == {"requests": 1, "prompt": prompt, "generated": generated}
    ok(frontend.execute(QUESTION))
    assert usage(frontend)["requests"] == 2
    text = shown(ok(frontend.execute("%usage")))
    assert "MB in this process" in text
    assert "MB of it moonlet@candle" in text


def test_help_pages_documentation(frontend: Frontend) -> None:
    (page,) = ok(frontend.execute("%help")).reply["payload"]
    assert page["source"] == "page"
    for word in ("%%chat", "%model", "%usage", "%help", "LocalLLM.generate", "display.table"):
        assert word in page["data"]["text/plain"], word
        assert word in page["data"]["text/markdown"], word
    for name in ("LocalLLM.generate", "%%chat", "input"):
        (page,) = ok(frontend.execute(f"%help {name}")).reply["payload"]
        assert name in page["data"]["text/plain"]
    refused(frontend, "%help LocalLLM.genrate", "LocalLLM.generate")


def test_lines_of_magics_may_stand_above_code(frontend: Frontend) -> None:
    exchange = ok(frontend.execute("%model\n\n%usage\nlocal x = 20\nreturn x + 22"))
    assert exchange.result == "42"
    assert len(exchange.all("display_data")) == 2
    assert ok(frontend.execute("%model\n6 * 7")).result == "42"
    reply = frontend.execute("%model\n\nerror('here')").reply
    assert ":3: here" in reply["evalue"], "code keeps its line numbers"


def test_nothing_of_a_cell_with_a_syntax_error_runs(frontend: Frontend) -> None:
    exchange = frontend.execute("%model\nx = = 1")
    assert exchange.reply["ename"] == "SyntaxError"
    assert exchange.first("display_data") is None


def test_unknown_magics_and_magics_in_the_wrong_place(frontend: Frontend) -> None:
    refused(frontend, "%modle", "unknown magic `%modle`", "did you mean `%model`?", "`%%chat`", "`%usage`", "`%help`")
    refused(frontend, "%chat\nHello", "did you mean `%%chat`?")
    refused(frontend, "%%usage\n", "did you mean `%usage`?")
    refused(frontend, "%timeit 1", "unknown magic `%timeit`", "there are")
    refused(frontend, "x = 1\n%model", "top of a cell")
    refused(frontend, "x = 1\n%%chat\nHello", "top of a cell")
    assert frontend.execute("return 7\n% 4").result == "3", "a line of Lua may begin with its operator"


def test_scripts_have_no_magics(perilune: Callable, tmp_path: Path) -> None:
    script = tmp_path / "magic.lua"
    script.write_text("%model\nprint('ran')\n")
    done = perilune("run", script)
    assert done.returncode == 1
    assert "magic.lua:1:" in done.stderr


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("%model", "complete"),
        ("%model\nx = 1", "complete"),
        ("%usage\nfor i = 1, 3 do", "incomplete"),
        ("%usage\nx = = 1", "invalid"),
        ("%%chat", "incomplete"),
        ("%%chat\nHello", "incomplete"),
        ("%%chat\nHello\n", "complete"),
        ("%%chat reset\n", "complete"),
    ],
)
def test_is_complete_knows_them(frontend: Frontend, code: str, status: str) -> None:
    assert frontend.ask("is_complete_request", {"code": code}).reply["status"] == status


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("%", ["%%chat", "%help", "%model", "%usage"]),
        ("%mo", ["%model"]),
        ("%%c", ["%%chat"]),
        ("%usage\n%mo", ["%model"]),
        ("%model local/moon", ["local/moonlet@candle"]),
        ("%%chat temp", ["temperature="]),
        ("%help LocalLLM.gen", ["LocalLLM.generate"]),
    ],
)
def test_completion_knows_them(frontend: Frontend, code: str, match: list[str]) -> None:
    reply = frontend.ask("complete_request", {"code": code, "cursor_pos": len(code)}).reply
    assert reply["matches"] == match
    assert code[reply["cursor_start"] : reply["cursor_end"]] == code.split()[-1]


def test_lua_is_completed_below_them(frontend: Frontend) -> None:
    code = "%model\nstring.for"
    reply = frontend.ask("complete_request", {"code": code, "cursor_pos": len(code)}).reply
    assert [code[: reply["cursor_start"]] + match for match in reply["matches"]] == ["%model\nstring.format"]


def test_a_notebook_keeps_one_output_of_a_prompt_cell(tmp_path: Path) -> None:
    from nbclient import NotebookClient

    book = notebook(QUESTION, "%model")
    done = NotebookClient(book, timeout=60, kernel_name="perilune", resources={"metadata": {"path": str(tmp_path)}}).execute()
    (output,) = done.cells[0].outputs
    assert output.output_type == "display_data"
    assert "Paris" in output.data["text/markdown"]
    assert "Paris" in output.data["text/plain"]
