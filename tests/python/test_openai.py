"""The `openai` provider through the command line, Lua and Jupyter, against a server that plays the dialect and its faults by the byte."""

import email.utils
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from openai_server import (
    DONE,
    Play,
    Request,
    Server,
    answers,
    by_path,
    bytewise,
    error,
    event,
    head,
    models,
    piece,
    refuses,
    says,
    serving,
    stream,
    usage,
)

KEY = "sk-planted-Zk3vQ"
"""Shall be in no output and no log."""
AT_ONCE = 0.2
"""Seconds within which a server sees that nobody waits any more."""

Ask = Callable[..., Any]


OF_THE_USER = ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", *(f"{name}_proxy" for name in ("http", "https", "all", "no"))]
"""What a machine may have set, in lower or upper case."""


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OF_THE_USER:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def configure(home: Path, server: Server, more: str = "") -> None:
    address = f'base_url = "{server.url}"\napi_key = "{KEY}"\n{more}'
    (home / "config.toml").write_text(f'default_model = "far/small"\n[providers.far]\ntype = "openai"\n{address}')


@pytest.fixture
def lua(perilune: Run, home: Path, tmp_path: Path) -> Ask:
    """Runs Lua against a server: what it returns, or the fields of the error that it raises."""

    def ask(server: Server, code: str, more: str = "", **options: object) -> Any:
        configure(home, server, more)
        script = tmp_path / "script.lua"
        script.write_text(
            f"local ok, value = pcall(function() {code} end)\n"
            "local fields = {}\n"
            "if not ok then for name, field in pairs(value) do fields[name] = field end value = fields end\n"
            "print(json.encode(value))\n"
        )
        done = perilune("run", script, **options)
        assert done.returncode == 0, done.stderr
        assert KEY not in done.stdout + done.stderr
        # Not `splitlines`, which takes U+2028 for the end of one.
        return json.loads(done.stdout.rstrip("\n").split("\n")[-1])

    return ask


CHAT = "return LocalLLM.chat('Hello?')"


def refusal(lua: Ask, *plays: Play, code: str = CHAT, more: str = "") -> dict[str, Any]:
    with serving(*plays) as server:
        return lua(server, code, more)


def test_an_answer_comes_with_its_usage_and_the_request_is_the_dialects(lua: Ask) -> None:
    told = usage(prompt_tokens=12, completion_tokens=2, prompt_tokens_details={"cached_tokens": 8})
    with serving(stream(piece(role="assistant", content=""), piece(content="Good "), piece(content="day."), piece("stop"), told, DONE)) as server:
        answer = lua(
            server,
            "return LocalLLM.chat({{role = 'user', content = 'Hello?'}}, {system = 'Be brief.', temperature = 0.7, top_k = 3,"
            " max_tokens = 9, seed = 4, stop = 'x', logit_bias = {[7] = -1}, schema = {type = 'object'},"
            " extra_body = {provider = {sort = 'price'}}})",
        )
    assert answer["text"] == "Good day."
    assert answer["model"] == "far/small"
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] == 12
    assert answer["usage"]["cached_tokens"] == 8
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["user-agent"].startswith("perilune/")
    assert request.body == {
        "model": "small",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}],
        "temperature": 0.7,
        "top_k": 3,
        "seed": 4,
        "max_tokens": 9,
        "stop": ["x"],
        "logit_bias": {"7": -1.0},
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True}},
        "provider": {"sort": "price"},
    }


def test_presets_say_where_a_server_is_and_what_it_calls_things(lua: Ask) -> None:
    code = "return LocalLLM.chat('Hello?', {max_tokens = 9, seed = 4, %sschema = {type = 'object'}})"
    for preset, penalty, expected in [
        ("openai", "", {"max_completion_tokens": 9}),
        ("mistral", "", {"random_seed": 4}),
        ("vllm", "repeat_penalty = 1.1, ", {"repetition_penalty": 1.1}),
        ("llama-cpp-python", "repeat_penalty = 1.1, ", {"response_format": {"type": "json_object", "schema": {"type": "object"}}}),
    ]:
        with serving(says("Hi.")) as server:
            assert lua(server, code % penalty, f'preset = "{preset}"\n')["text"] == "Hi."
        (request,) = server.requests
        assert request.body.items() >= expected.items()


@pytest.mark.parametrize(
    ("preset", "option", "is_known"),
    [
        ("openai", "top_k = 3", False),
        ("openai", "frequency_penalty = 0.1", True),
        ("groq", "logprobs = 1", False),
        ("mistral", "min_p = 0.1", False),
        ("deepseek", "seed = 1", False),
        ("deepseek", "repeat_penalty = 1.1", False),
        ("openrouter", "min_p = 0.1", True),
        ("openrouter", "typical_p = 0.9", False),
        ("vllm", "top_k = 3", True),
        ("llama-server", "typical_p = 0.9", True),
        ("lm-studio", "repeat_penalty = 1.1", True),
        ("lm-studio", "truncate = true", False),
    ],
)
def test_an_option_that_an_api_does_not_know_is_refused_and_not_left_out(lua: Ask, preset: str, option: str, is_known: bool) -> None:
    with serving(says("Hi.")) as server:
        told = lua(server, f"return LocalLLM.chat('Hello?', {{ {option} }})", f'preset = "{preset}"\n')
    if is_known:
        assert told["text"] == "Hi."
        return
    name = option.split(" ")[0]
    assert told["kind"] == "invalid_request"
    assert told["message"].startswith("`far`: ") and f"`{name}`" in told["message"] and "leave it out" in told["message"]
    assert server.requests == []


def test_a_raw_prompt_goes_to_completions(lua: Ask) -> None:
    play = stream(event({"choices": [{"index": 0, "text": "a time", "finish_reason": "length"}]}), DONE)
    with serving(play) as server:
        assert lua(server, "return LocalLLM.generate('Once upon', {raw = true})") == "a time"
    (request,) = server.requests
    assert request.path == "/v1/completions"
    assert request.body["prompt"] == "Once upon"


def test_characters_and_events_may_come_in_any_pieces(lua: Ask) -> None:
    text = "é🌙 \u2028 mañana"
    pieces = [b"\xef\xbb\xbf: hello\r\n\r\n", piece(content="é🌙").replace(b"\n\n", b"\r\n\r\n"), b"data:", b' {"choices":\ndata: []}\n\n']
    raw = event(json.dumps({"choices": [{"delta": {"content": text[2:]}}]}, ensure_ascii=False).encode())
    with serving(bytewise(*pieces, raw, piece("stop"), DONE.rstrip())) as server:
        assert lua(server, CHAT)["text"] == text


def test_a_missing_counter_does_not_lose_the_others(lua: Ask) -> None:
    for counters, expected in [
        ({"prompt_tokens": 5}, (5, 0)),
        ({"completion_tokens": 3, "total_tokens": 10}, (7, 3)),
        ({"prompt_tokens": 5, "completion_tokens": None, "total_tokens": 9}, (5, 4)),
        ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": None}, (5, 2)),
    ]:
        with serving(stream(piece(content="Hi."), piece("stop"), usage(**counters), DONE)) as server:
            told = lua(server, CHAT)["usage"]
        assert (told["prompt_tokens"], told["completion_tokens"]) == expected
    with serving(stream(piece(content="Hi."), piece("stop"))) as server:
        assert lua(server, CHAT)["text"] == "Hi.", "neither usage nor [DONE], but a reason"


def test_an_error_in_a_stream_comes_after_what_was_said(lua: Ask) -> None:
    code = "local said = '' local ok, e = pcall(function() for text in LocalLLM.stream('Hello?') do said = said .. text end end)"
    code += " return {said = said, ok = ok, kind = e.kind, message = e.message}"
    for content, kind in [
        ({"error": {"message": "The server had an error", "type": "server_error"}}, "internal"),
        ({"error": {"message": "Provider returned 429", "code": 429}, "choices": []}, "rate_limited"),
        ({"error": {"message": "Overloaded", "type": "overloaded_error"}}, "overloaded"),
        ({"error": "context window of 512 exceeded"}, "context_overflow"),
    ]:
        told = refusal(lua, stream(piece(content="Well"), event(content)), code=code)
        assert (told["said"], told["ok"], told["kind"]) == ("Well", False, kind), told


def test_a_stream_that_only_ends_is_an_error(lua: Ask) -> None:
    told = refusal(lua, stream(piece(content="Well")))
    assert told["kind"] == "network"
    assert "before it was whole" in told["message"]
    chunked = head().replace(b"Connection: close", b"Transfer-Encoding: chunked")
    cut = piece(content="Well")
    half = chunked + f"{len(cut):x}\r\n".encode() + cut + b"\r\n5\r\nda"
    told = refusal(lua, lambda connection, _: connection.sendall(half))
    assert told["kind"] == "network"
    assert "broke the connection off" in told["message"]
    half_json = stream(event(b'{"choices": [{"delta": {"con'))
    assert refusal(lua, half_json)["kind"] == "network"


def test_too_many_requests_say_when_to_ask_again(lua: Ask) -> None:
    told = refusal(lua, refuses("429 Too Many Requests", error("Slow down.", code="rate_limit_exceeded"), Retry_After="7"))
    assert told["kind"] == "rate_limited"
    assert told["message"].endswith("Slow down.; ask again in 7 s")
    assert told["retry_after"] == 7
    date = email.utils.formatdate(time.time() + 3600, usegmt=True)
    told = refusal(lua, refuses("429 Too Many Requests", error("Slow down."), Retry_After=date))
    assert told["retry_after"] in range(3500, 3601) and re.search(r"ask again in \d+ s$", told["message"])
    told = refusal(lua, refuses("429 Too Many Requests", error("Slow down."), retry_after_ms="1500", Retry_After="9"))
    assert told["message"].endswith("ask again in 1.5 s")
    assert told["retry_after"] == 1.5
    told = refusal(lua, refuses("503 Service Unavailable", error("Loading model", type="unavailable_error")))
    assert told["kind"] == "overloaded"
    told = refusal(lua, refuses("429 Too Many Requests", error("You exceeded your quota", code="insufficient_quota")))
    assert told["kind"] == "budget"


def test_a_key_that_is_refused_is_not_repeated(lua: Ask) -> None:
    told = refusal(lua, refuses("401 Unauthorized", error(f"Incorrect API key provided: {KEY}.", code="invalid_api_key")))
    assert told["kind"] == "authentication"
    assert "(key)" in told["message"]


def test_a_key_that_is_not_there_is_named(lua: Ask, perilune: Run, home: Path) -> None:
    (home / "config.toml").write_text('[providers.far]\ntype = "openai"\npreset = "groq"\n')
    environment = {name: value for name, value in os.environ.items() if name != "GROQ_API_KEY"}
    done = perilune("exec", "return LocalLLM.generate('Hello?', {model = 'far/small'})", env=environment)
    assert done.returncode != 0
    assert "`GROQ_API_KEY`" in done.stderr


def test_a_prompt_that_does_not_fit_is_told_with_both_lengths(lua: Ask) -> None:
    openai = error(
        "This model's maximum context length is 4097 tokens. However, you requested 4927 tokens (3927 in the messages, 1000 in the"
        " completion).",
        code="context_length_exceeded",
    )
    told = refusal(lua, refuses("400 Bad Request", openai))
    assert told["kind"] == "context_overflow"
    assert "has 3927 tokens" in told["message"]
    assert "context holds 4097" in told["message"]
    assert (told["prompt_tokens"], told["context_size"]) == (3927, 4097)
    llama_server = {"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error", "n_prompt_tokens": 601, "n_ctx": 512}}
    told = refusal(lua, refuses("400 Bad Request", llama_server))
    assert told["kind"] == "context_overflow"
    assert "601" in told["message"]
    assert "512" in told["message"]


def test_what_fastapi_says_is_told(lua: Ask) -> None:
    for detail in ["no such field", [{"msg": "no such field", "input": KEY}], [{"loc": ["body"], "msg": "no such field"}]]:
        told = refusal(lua, refuses("422 Unprocessable Entity", {"detail": detail}))
        assert (told["kind"], told["message"].endswith("no such field")) == ("invalid_request", True), told


def paced(*pieces: bytes) -> Play:
    """Sends these pieces so far apart that a speed can be told."""

    def play(connection: socket.socket, _: Request) -> None:
        connection.sendall(head())
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.1)

    return play


def test_an_answer_tells_its_time_and_its_price(lua: Ask) -> None:
    told = usage(prompt_tokens=1000, completion_tokens=4, completion_tokens_details={"reasoning_tokens": 2})
    prices = '[prices]\n"far/small" = { input = 1, output = 500 }\n'
    with serving(paced(piece(content="Good "), piece(content="day."), piece("stop"), told, DONE)) as server:
        took = lua(server, CHAT, prices)["usage"]
    assert took["cost"] == {"usd": 0.003}
    assert took["first_token_ms"] > 0
    assert 0 < took["tokens_per_second"] <= 15, "of two tokens that were not thought in silence, one after the first, 100 ms later"
    with serving(stream(piece(content="Good day."), piece("stop"), usage(prompt_tokens=9, completion_tokens=500), DONE)) as server:
        took = lua(server, CHAT)["usage"]
    assert "tokens_per_second" not in took and "cost" not in took, "it came in one piece, at an unknown price"
    with serving(stream(piece(content="Good "), piece(content="day."), piece("stop"), DONE)) as server:
        took = lua(server, CHAT)["usage"]
    assert took["untold"] and (took["prompt_tokens"], took["completion_tokens"]) == (0, 2)
    empty = usage(prompt_tokens=None, completion_tokens=None)
    with serving(stream(piece(content="Good "), piece(content="day."), piece("stop"), empty, DONE)) as server:
        took = lua(server, CHAT)["usage"]
    assert took["untold"] and (took["prompt_tokens"], took["completion_tokens"]) == (0, 2)


def test_what_is_told_of_an_error_reaches_programs(perilune: Run, home: Path) -> None:
    with serving(refuses("429 Too Many Requests", error("Slow down."), Retry_After="60")) as server:
        configure(home, server)
        ran = perilune("--output", "json", "exec", "LocalLLM.generate('Hello?')")
        asked = perilune("--output", "json", "chat", input="Hello?")
    for told in (json.loads(ran.stdout)["error"], json.loads(asked.stdout)["error"]):
        assert (told["kind"], told["retry_after"]) == ("rate_limited", 60)
        assert [(step["action"], step["model"]) for step in told["route"]] == [("chosen", "far/small"), ("failed", "far/small")]
    assert (ran.returncode, asked.returncode) == (1, 1)


def test_filtered_content_is_an_error_of_its_kind(lua: Ask) -> None:
    assert refusal(lua, stream(piece(content="Well"), piece("content_filter"), DONE))["kind"] == "content_filter"
    told = refusal(lua, refuses("400 Bad Request", error("The response was filtered", code="content_filter")))
    assert told["kind"] == "content_filter"


def test_a_model_that_is_not_there_is_told_with_names_near_it(lua: Ask) -> None:
    missing = refuses("404 Not Found", error("The model `small` does not exist", code="model_not_found"))
    told = refusal(lua, by_path(completions=missing, models=models("smaller", "huge")))
    assert told["kind"] == "model_not_found"
    assert "did you mean `smaller`?" in told["message"]
    assert told["nearest"] == ["smaller"]
    assert [(step["action"], step.get("kind")) for step in told["route"]] == [("chosen", None), ("failed", "model_not_found")]
    told = refusal(lua, refuses("404 Not Found", {"detail": "Not Found"}))
    assert told["kind"] == "invalid_config"
    assert "/v1" in told["message"]


def test_what_is_no_json_is_told_by_its_type(lua: Ask) -> None:
    page = "<html><body>Sign in to this hotel's network</body></html>"
    told = refusal(lua, refuses("200 OK", page, "text/html"))
    assert told["kind"] == "network"
    assert "`text/html`" in told["message"]
    told = refusal(lua, by_path(completions=refuses("502 Bad Gateway", page, "text/html")))
    assert told["kind"] == "network"
    assert "hotel" not in told["message"]
    with serving(stream(piece(content="Hi."), piece("stop"), DONE, content_type="text/plain")) as server:
        assert lua(server, CHAT)["text"] == "Hi.", "events under another name are events"
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    with serving(answers(whole)) as server:
        assert lua(server, CHAT)["usage"]["prompt_tokens"] == 3, "a server that does not stream"


def test_a_redirect_is_not_followed(lua: Ask) -> None:
    told = refusal(lua, refuses("307 Temporary Redirect", "", Location="http://elsewhere.example/v1/chat/completions?key=x"))
    assert told["kind"] == "invalid_config"
    assert "`http://elsewhere.example/v1/chat/completions`" in told["message"]


def test_a_slow_first_byte_is_waited_for_and_silence_is_not(lua: Ask) -> None:
    def slow(connection: socket.socket, request: Request) -> None:
        # As long as a prompt may take: what is tried is that a time passes.
        time.sleep(0.7)
        says("Hi.")(connection, request)

    with serving(slow) as server:
        assert lua(server, CHAT)["text"] == "Hi."
    for before in (b"", head() + piece(content="Well")):
        with serving(lambda connection, _, before=before: (connection.sendall(before), server.wait_for_hang_up(connection))) as server:
            told = lua(server, CHAT, "idle_timeout_seconds = 0.3\n")
            assert told["kind"] == "timeout"
            assert "sent nothing for 0.3 s" in told["message"]
            assert server.hung_up.wait(5)


def test_an_address_that_nobody_listens_at_is_named_without_the_key(lua: Ask) -> None:
    with serving(says("Hi.")) as server:
        pass
    told = lua(server, CHAT)
    assert told["kind"] == "network"
    assert server.url in told["message"]
    assert "refused" in told["message"]


WEATHER = "{name = 'weather', description = 'Tells it', parameters = {type = 'object'}}"


def test_what_a_server_leaves_in_the_text_is_read_where_that_is_known_of_it(lua: Ask) -> None:
    """llama-cpp-python hands on what the model wrote."""
    written = ["<thi", "nk>Rain?</think>\n\nI will", " look. <tool", '_call>\n{"name": "weather", "arguments": {"city": "Par', 'is"}}\n</tool_call>']
    played = stream(*(piece(content=text) for text in written), piece("stop"), DONE)
    ask = f"return LocalLLM.chat('Rain?', {{tools = {{{WEATHER}}}}})"
    with serving(played) as server:
        answer = lua(server, ask, 'preset = "llama-cpp-python"\n')
    assert (answer["thinking"], answer["text"]) == ("Rain?", "I will look. ")
    (call,) = answer["tool_calls"]
    assert (call["name"], call["arguments"]) == ("weather", {"city": "Paris"})
    assert call["id"]
    assert answer["finish_reason"] == "tool_calls"
    for asked, preset in ((CHAT, 'preset = "llama-cpp-python"\n'), (ask, 'preset = "vllm"\n')):
        with serving(played) as server:
            answer = lua(server, asked, preset)
        assert answer["text"].endswith("</tool_call>")
        assert answer["tool_calls"] == []
        assert answer["finish_reason"] == "stop"


def test_calls_come_in_pieces_and_side_by_side(lua: Ask) -> None:
    def call(index: int | None, arguments: str = "", **more: object) -> bytes:
        function = {key: more.pop(key) for key in ("name",) if key in more} | {"arguments": arguments}
        return piece(tool_calls=[{**({} if index is None else {"index": index}), "function": function, **more}])

    expected = [
        {"id": "a1", "name": "weather", "arguments": {"city": "Paris"}},
        {"id": "b2", "name": "weather", "arguments": {}},
    ]
    by_index = [
        call(0, id="a1", type="function", name="weather"),
        call(0, '{"ci'),
        call(1, id="b2", name="weather"),
        call(0, 'ty": "Paris"}'),
    ]
    all_zero = [call(0, '{"city": "Paris"}', id="a1", name="weather"), call(0, "{}", id="b2", name="weather")]
    without = [call(None, '{"city":', id="a1", name="weather"), call(None, ' "Paris"}'), call(None, id="b2", name="weather")]
    for pieces in (by_index, all_zero, without):
        with serving(stream(*pieces, piece("tool_calls"), DONE)) as server:
            answer = lua(server, f"return LocalLLM.chat('Rain?', {{tools = {{{WEATHER}}}}})")
        assert answer["tool_calls"] == expected
        assert answer["finish_reason"] == "tool_calls"
    (request,) = server.requests
    (tool,) = request.body["tools"]
    assert tool == {"type": "function", "function": {"name": "weather", "description": "Tells it", "parameters": {"type": "object"}}}


def test_calls_and_their_answers_go_back_as_they_came(lua: Ask) -> None:
    messages = "{role = 'user', content = 'Rain?'}, {role = 'assistant', content = '', tool_calls = {{id = 'a1', name = 'weather',"
    messages += " arguments = {city = 'Paris'}}}}, {role = 'tool', tool_call_id = 'a1', content = 'dry'}"
    with serving(says("No.")) as server:
        assert lua(server, f"return LocalLLM.chat({{{messages}}})")["text"] == "No."
    called, answered = server.requests[0].body["messages"][1:]
    function = {"name": "weather", "arguments": '{"city":"Paris"}'}
    assert called == {"role": "assistant", "content": None, "tool_calls": [{"id": "a1", "type": "function", "function": function}]}
    assert answered == {"role": "tool", "content": "dry", "tool_call_id": "a1"}


def test_a_call_that_is_no_json_is_an_error_and_one_that_is_cut_off_is_left_out(lua: Ask) -> None:
    call = piece(tool_calls=[{"index": 0, "id": "a1", "function": {"name": "weather", "arguments": '{"city'}}])
    assert refusal(lua, stream(call, piece("tool_calls"), DONE))["kind"] == "internal"
    told = refusal(lua, stream(call, piece("length"), DONE))
    assert told["finish_reason"] == "length"
    assert told["tool_calls"] == []


def test_thinking_is_told_apart(lua: Ask) -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes."}]
    for pieces in (
        [piece(reasoning_content="Hm."), piece(content="Yes.")],
        [piece(reasoning="Hm.", content=""), piece(content="Yes.", reasoning=None)],
        [piece(content=parts)],
    ):
        answer = refusal(lua, stream(*pieces, piece("stop"), DONE))
        assert (answer["thinking"], answer["text"]) == ("Hm.", "Yes.")


def test_logprobs_come_without_numbers_of_tokens(lua: Ask) -> None:
    content = [{"token": "Yes", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "No", "logprob": -1}]}]
    with serving(stream(piece(content="Yes", logprobs={"content": content}), piece("stop"), DONE)) as server:
        (told,) = lua(server, "return LocalLLM.chat('Hello?', {logprobs = 1})")["logprobs"]
    assert told == {"token": "Yes", "logprob": -0.5, "top": [{"token": "No", "logprob": -1.0}]}
    assert server.requests[0].body.items() >= {"logprobs": True, "top_logprobs": 1}.items()


def test_models_are_listed_and_a_server_that_is_down_is_said_to_be(perilune: Run, home: Path) -> None:
    with serving(models("small", "org/large:free")) as server:
        configure(home, server)
        listed = perilune("model", "list", "--backend", "far")
        assert "org/large:free" in listed.stdout, listed
        status = perilune("model", "status", "far")
        assert "ready" in status.stdout, status
    status = perilune("model", "status", "far")
    assert "unavailable" in status.stdout + status.stderr
    assert KEY not in status.stdout + status.stderr


def test_a_default_backend_that_is_far_means_its_default_model(lua: Ask, perilune: Run, home: Path) -> None:
    with serving(says("Hi.")) as server:
        configure(home, server, 'default_model = "small"\n')
        text = (home / "config.toml").read_text()
        (home / "config.toml").write_text(text.replace('default_model = "far/small"', 'default_backend = "far"', 1))
        assert perilune("exec", "print(LocalLLM.generate('Hello?'))").stdout == "Hi.\n"


def test_an_interrupt_closes_the_connection_at_once(home: Path, request: pytest.FixtureRequest) -> None:
    """In the middle of an answer, and before there is any."""
    shown = threading.Event()

    def endless(connection: socket.socket, _: Request) -> None:
        connection.sendall(head() + piece(content="Well"))
        silent(connection, _)

    def silent(connection: socket.socket, _: Request) -> None:
        shown.set()
        server.wait_for_hang_up(connection)

    with serving(endless, silent) as server:
        configure(home, server)
        # The kernel reads its configuration when it starts.
        frontend = request.getfixturevalue("frontend")
        manager = request.getfixturevalue("manager")
        for _ in range(2):
            shown.clear()
            server.hung_up.clear()
            running = frontend.start(CHAT)
            assert shown.wait(10)
            asked = time.monotonic()
            manager.interrupt_kernel()
            assert server.hung_up.wait(5)
            assert server.hung_up_at - asked < AT_ONCE
            frontend.finish(running)
            assert running.reply["status"] == "error"


def test_nothing_that_is_secret_is_logged(lua: Ask, perilune: Run, home: Path) -> None:
    with serving(says("planted-answer")) as server:
        configure(home, server)
        environment = os.environ | {"PERILUNE_LOG": "trace"}
        done = perilune("exec", "print(LocalLLM.generate('planted-prompt'))", env=environment)
    assert done.stdout == "planted-answer\n"
    assert "a server answered" in done.stderr, "the log is on"
    for secret in (KEY, "planted-prompt", "planted-answer"):
        assert secret not in done.stderr


def test_a_proxy_is_asked_as_curl_would(lua: Ask) -> None:
    with serving(says("Through the proxy.")) as proxy, serving(says("Straight.")) as server:
        address = proxy.url.removesuffix("/v1")
        far = Server("http://models.example/v1")
        assert lua(far, CHAT, env=os.environ | {"http_proxy": address})["text"] == "Through the proxy."
        (request,) = proxy.requests
        assert request.path == "http://models.example/v1/chat/completions"
        assert lua(far, CHAT, env=os.environ | {"all_proxy": address.removeprefix("http://")})["text"] == "Through the proxy."
        assert lua(server, CHAT, env=os.environ | {"http_proxy": address, "no_proxy": "127.0.0.1"})["text"] == "Straight."
        assert lua(server, CHAT, env=os.environ | {"HTTP_PROXY": address})["text"] == "Straight.", "curl leaves that one alone"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """An authority's certificate that no system knows, and a server's end with one that it has signed."""
    if not shutil.which("openssl"):
        pytest.skip("no `openssl` on this machine")
    (tmp_path / "openssl.cnf").write_text("[req]\ndistinguished_name = name\n[name]\n")
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -config openssl.cnf -subj /CN={0} -out {0}.pem -keyout {0}.key"
    authority = make.format("authority") + " -addext basicConstraints=critical,CA:TRUE"
    end = make.format("server") + " -CA authority.pem -CAkey authority.key -addext subjectAltName=IP:127.0.0.1"
    for command in (authority, end + " -addext basicConstraints=CA:FALSE"):
        subprocess.run(command.split(), check=True, capture_output=True, cwd=tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    return tmp_path / "authority.pem", context


def test_certificates_are_those_that_curl_would_take(lua: Ask, certificate: tuple[Path, ssl.SSLContext]) -> None:
    path, context = certificate
    with serving(says("Hi."), tls=context) as server:
        told = lua(server, CHAT)
        assert told["kind"] == "network"
        assert "certificate" in told["message"]
        for variable in ("SSL_CERT_FILE", "CURL_CA_BUNDLE"):
            assert lua(server, CHAT, env=os.environ | {variable: str(path)})["text"] == "Hi.", variable
        assert lua(server, CHAT, f'ca_file = "{path}"\n')["text"] == "Hi."
    told = lua(server, CHAT, f'ca_file = "{path.with_name("none.pem")}"\n')
    assert told["kind"] == "invalid_config"
    assert "none.pem" in told["message"]


def test_embeddings_come_in_the_order_of_the_texts(lua: Ask) -> None:
    data = [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [1.0, 0.0]}]
    with serving(answers({"data": data, "usage": {"prompt_tokens": 4, "total_tokens": 4}})) as server:
        code = "local vectors, usage = LocalLLM.embed({'moon', 'sun'}) return {vectors = vectors, tokens = usage.prompt_tokens}"
        assert lua(server, code) == {"vectors": [[1, 0], [0, 1]], "tokens": 4}
    (request,) = server.requests
    assert request.path == "/v1/embeddings"
    assert request.body == {"model": "small", "input": ["moon", "sun"], "encoding_format": "float"}
    of_tokens = answers({"data": [{"index": 0, "embedding": [[3.0, 0.0], [3.0, 8.0]]}]})
    assert refusal(lua, of_tokens, code="return (LocalLLM.embed('moon'))") == pytest.approx([0.6, 0.8]), "the mean, of length 1"
    told = refusal(lua, answers({"data": data}), code="return LocalLLM.embed('moon')")
    assert told["kind"] == "internal"


def test_a_schema_is_refused_by_models_in_this_process(lua: Ask) -> None:
    with serving(says("Hi.")) as server:
        told = lua(server, "return LocalLLM.chat('Hello?', {model = 'local/moonlet@candle', schema = {type = 'object'}})")
    assert told["kind"] == "invalid_request"
    assert "`openai`" in told["message"]
