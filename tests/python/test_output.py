"""What models write that is not text: thinking and tool calls, each as its family writes it, in every place where answers show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import parrot
import pytest
from conftest import Run
from frontend import Exchange, Frontend
from terminal import Terminal
from test_magics import shown

TOOL = {"name": "weather", "description": "Tells the weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
QUESTION = [{"role": "user", "content": "What is the weather in Oslo?"}]

TURNS = "{% for m in messages %}{{ m.content }}{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"
# What tells each family's template apart; the templates themselves are not ours.
HERMES = TURNS + "{# <tool_call> <think> #}"
LLAMA = TURNS + "{# <|python_tag|> #}"
MISTRAL = TURNS + "{# [TOOL_CALLS] #}"

Model = Callable[..., str]


@pytest.fixture
def model(home: Path) -> Model:
    """Puts a model into the folder of models that says these pieces; the kernel starts after it."""

    def write(pieces: list[str], template: str, control: frozenset[str] = frozenset()) -> str:
        parrot.write(home / "models/parrot.gguf", pieces, template, control)
        return "local/parrot@candle"

    return write


def events(exchange: Exchange, kind: str) -> list[dict[str, object]]:
    contents = [arrival.content for arrival in exchange.all("model_event")]
    return [content for content in contents if content["event"] == kind]


THINKS = ["<think>", "\nLet me", " see.", "\n\n", "</think>", "\n \n", "It is", " raining."]


def test_thinking_is_told_apart_from_the_answer(model: Model, request: pytest.FixtureRequest, perilune: Run) -> None:
    name = model(THINKS, HERMES)
    frontend: Frontend = request.getfixturevalue("frontend")
    exchange = frontend.model("chat", model=name, messages=QUESTION)
    assert exchange.reply["text"] == "It is raining."
    assert exchange.reply["thinking"] == "\nLet me see.\n\n"
    assert "".join(event["text"] for event in events(exchange, "thinking")) == exchange.reply["thinking"]
    assert "".join(event["text"] for event in events(exchange, "text")) == exchange.reply["text"]

    said = frontend.execute(f"local answer = LocalLLM.chat('hi', {{model = '{name}'}}) return answer.text, #answer.thinking")
    assert said.first("execute_result").content["data"]["text/plain"] == "It is raining.\t14"
    cell = frontend.execute(f"%%chat {name}\nhi")
    assert shown(cell) == shown(cell, "text/markdown") == "> Let me see.\n\nIt is raining."

    piped = perilune("chat", name, input="hi")
    assert piped.stdout == "It is raining.\n", piped
    told = json.loads(perilune("chat", name, "--output", "json", input="hi").stdout)
    assert (told["text"], told["thinking"]) == ("It is raining.", "\nLet me see.\n\n")


def test_a_stream_tells_thinking_from_the_answer(model: Model, request: pytest.FixtureRequest) -> None:
    name = model(THINKS, HERMES)
    frontend: Frontend = request.getfixturevalue("frontend")
    read = """
        local thought, said, whole = {}, {}, ''
        for piece, thinking in %s do
          whole = whole .. piece
          table.insert(thinking and thought or said, thinking or piece)
        end
        return #thought > 1, table.concat(thought) == '\\nLet me see.\\n\\n', table.concat(said), whole"""
    expected = "true\ttrue\tIt is raining.\tIt is raining."
    assert frontend.execute(read % f"LocalLLM.stream('hi', {{model = '{name}'}})").result == expected
    assert frontend.execute(f"agent = Agent.create{{model = '{name}'}}" + read % "agent:stream('hi')").result == expected
    assert frontend.execute("return agent:messages()[2].content").result == "It is raining."


def test_a_terminal_shows_thinking_before_the_answer(model: Model, binary: Path) -> None:
    with Terminal([binary, "chat", model(THINKS, HERMES)]) as terminal:
        terminal.prompt("> ")
        terminal.line("hi")
        terminal.see("It is raining.")
        lines = terminal.text.splitlines()
        assert lines.index("Let me see.") < lines.index("It is raining.")


def test_a_template_that_begins_the_thinking_itself(model: Model, request: pytest.FixtureRequest) -> None:
    name = model(THINKS[1:], HERMES + "<think>\n")
    reply = request.getfixturevalue("frontend").model("chat", model=name, messages=QUESTION).reply
    assert (reply["thinking"], reply["text"]) == ("\nLet me see.\n\n", "It is raining.")


OBJECT = ['{"', "name", '": "', "weather", '", "', "ARGUMENTS", '": ', '{"c', 'ity": ', '"Oslo"', "}}"]


def call(arguments: str) -> list[str]:
    return [arguments if piece == "ARGUMENTS" else piece for piece in OBJECT]


FORMS = {
    "hermes": (["Well. ", "<tool_call>", *call("arguments"), "</tool_call>"], HERMES, frozenset()),
    "llama": (call("parameters"), LLAMA, frozenset()),
    "llama, marked": (["<|python_tag|>", *call("parameters")], LLAMA, frozenset({"<|python_tag|>"})),
    "mistral": (["[TOOL_CALLS]", " [", *call("arguments"), "]\n"], MISTRAL, frozenset({"[TOOL_CALLS]"})),
    "mistral, newer": (
        ["[TOOL_CALLS]", "weather", "[ARGS]", '{"city', '": "', "Oslo", '"}'],
        MISTRAL,
        frozenset({"[TOOL_CALLS]", "[ARGS]"}),
    ),
    "json": (["```", "json\n", *call("arguments"), "\n`", "``"], TURNS, frozenset()),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_tool_is_called_in_the_form_of_each_family(form: str, model: Model, request: pytest.FixtureRequest) -> None:
    pieces, template, control = FORMS[form]
    name = model(pieces, template, control)
    frontend: Frontend = request.getfixturevalue("frontend")
    exchange = frontend.model("chat", model=name, messages=QUESTION, tools=[TOOL])
    (called,) = exchange.reply["tool_calls"]
    assert (called["name"], called["arguments"]) == ("weather", {"city": "Oslo"})
    assert exchange.reply["finish_reason"] == "tool_calls"
    assert exchange.reply["text"] == ("Well. " if form == "hermes" else "")
    assert len(events(exchange, "tool_call")) == 1
    # The answer of the tool goes back under the call's id.
    answered = [*QUESTION, {"role": "assistant", "tool_calls": [called]}, {"role": "tool", "tool_call_id": called["id"], "content": "rain"}]
    assert frontend.model("chat", model=name, messages=answered, tools=[TOOL]).reply["status"] == "ok"
    # Nobody gave tools: what it writes is text, but for control tokens.
    plain = frontend.model("chat", model=name, messages=QUESTION).reply
    assert plain["tool_calls"] == []
    assert plain["text"] == "".join(piece for piece in pieces if piece not in control)


def test_a_call_that_is_none_comes_back_as_text(model: Model, request: pytest.FixtureRequest) -> None:
    broken = ["<tool_call>", '{"name": ', "weather", "</tool_call>", " oops"]
    name = model(broken, HERMES)
    exchange = request.getfixturevalue("frontend").model("chat", model=name, messages=QUESTION, tools=[TOOL])
    assert exchange.reply["text"] == "".join(broken)
    assert exchange.reply["tool_calls"] == []
    assert exchange.reply["finish_reason"] == "stop"


def test_a_stop_text_is_found_across_tokens_and_not_shown(model: Model, request: pytest.FixtureRequest) -> None:
    name = model(["It ", "is ra", "in", "ing in Oslo"], TURNS)
    frontend: Frontend = request.getfixturevalue("frontend")
    for stop, said in (("s raining", "It i"), ("rain\n", "It is raining in Oslo"), ("It is", "")):
        exchange = frontend.model("chat", model=name, messages=QUESTION, options={"stop": [stop]})
        assert exchange.reply["text"] == said
        assert "".join(event["text"] for event in events(exchange, "text")) == said
        assert exchange.reply["finish_reason"] == "stop"
