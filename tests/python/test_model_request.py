"""`model_request` by hand, over jupyter_client's own Session: borrowing the kernel's models without running Lua."""

from collections.abc import Callable

import pytest
from frontend import Exchange, Frontend

MOONLET = "local/moonlet@candle"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
RAMBLE = {"temperature": 20, "top_k": 0, "top_p": 1, "min_p": 0, "max_tokens": 900}
"""So hot that the end of the text is as unlikely as any other token."""


def events(exchange: Exchange) -> list[dict]:
    return [arrival.content for arrival in exchange.all("model_event")]


def streamed(exchange: Exchange) -> str:
    return "".join(event["text"] for event in events(exchange) if event["event"] == "text")


def loaded(frontend: Frontend) -> dict[str, dict]:
    backends = frontend.model("status").reply["backends"]
    return {model["name"]: model for backend in backends for model in backend["loaded"]}


def test_list_names_the_bundled_model(frontend: Frontend) -> None:
    reply = frontend.model("list").reply
    assert reply["status"] == "ok"
    assert reply["command"] == "list"
    assert ("candle", "moonlet") in [(model["backend"], model["name"]) for model in reply["models"]]
    assert frontend.model("list", backend="candle").reply["models"] == reply["models"]


def test_info_tells_the_models_facts(frontend: Frontend) -> None:
    reply = frontend.model("info", model=MOONLET).reply
    assert reply["status"] == "ok"
    assert reply["specifier"] == MOONLET
    assert reply["architecture"] == "llama"
    assert (reply["layers"], reply["hidden"], reply["heads"], reply["kv_heads"]) == (6, 256, 4, 2)
    assert reply["context_length"] == 1024
    assert reply["quantization"] == "Q8_0"
    assert reply["has_chat_template"] and reply["supports_tools"]


def test_load_status_and_unload(frontend: Frontend) -> None:
    assert loaded(frontend) == {}, "nothing is loaded before it is asked for"
    reply = frontend.model("load", model=MOONLET).reply
    assert reply["status"] == "ok"
    assert reply["name"] == "moonlet"
    assert reply["memory_bytes"] > 1_000_000
    assert loaded(frontend)["moonlet"]["steps"] == 0
    assert frontend.model("unload", model=MOONLET).reply["status"] == "ok"
    assert loaded(frontend) == {}


def test_unload_of_what_is_not_loaded_says_so(frontend: Frontend) -> None:
    reply = frontend.model("unload", model=MOONLET).reply
    assert reply["status"] == "error"
    assert "moonlet" in reply["evalue"]


def test_loading_twice_at_once_loads_once(connect: Callable[[], Frontend]) -> None:
    one, two = connect(), connect()
    first, second = (
        one.send("model_request", {"command": "load", "model": MOONLET}),
        two.send("model_request", {"command": "load", "model": MOONLET}),
    )
    assert one.finish(first).reply["load_ms"] == two.finish(second).reply["load_ms"], "one load, told to both"


def test_chat_streams_its_answer_and_repeats_it_in_the_reply(frontend: Frontend) -> None:
    exchange = frontend.model("chat", model=MOONLET, messages=QUESTION, options={"temperature": 0})
    reply = exchange.reply
    assert reply["status"] == "ok"
    assert "Paris" in reply["text"]
    assert streamed(exchange) == reply["text"]
    assert reply["model"] == MOONLET
    assert reply["finish_reason"] == "stop"
    assert reply["usage"]["prompt_tokens"] > 0
    assert reply["usage"]["completion_tokens"] > 0
    assert reply["duration_ms"] > 0
    kinds = [event["event"] for event in events(exchange)]
    assert kinds[-1] == "done"
    assert exchange.published[-1].kind == "status", "idle is the last word"


def test_chat_without_a_model_uses_the_default(frontend: Frontend) -> None:
    assert frontend.model("chat", messages=QUESTION, options={"temperature": 0}).reply["model"] == MOONLET


def test_a_seed_repeats_an_answer(frontend: Frontend) -> None:
    def ask(seed: int) -> str:
        options = {"temperature": 3, "top_k": 0, "top_p": 1, "min_p": 0, "max_tokens": 40, "seed": seed}
        return frontend.model("complete", prompt="Once upon a time", raw=True, options=options).reply["text"]

    assert ask(1) == ask(1)
    assert len({ask(seed) for seed in range(4)}) > 1


def test_the_first_token_is_seen_before_the_last_is_generated(frontend: Frontend) -> None:
    """By the engine's own step counter, asked as soon as the first text is here and again at the end."""
    frontend.model("load", model=MOONLET)
    for seed in range(20):
        exchange = frontend.send("model_request", {"command": "chat", "messages": QUESTION, "options": RAMBLE | {"seed": seed}})
        frontend.wait(lambda: streamed(exchange), "the first token")
        at_first = loaded(frontend)["moonlet"]["steps"]
        frontend.finish(exchange)
        if exchange.reply["usage"]["completion_tokens"] >= 200:
            assert at_first < loaded(frontend)["moonlet"]["steps"]
            assert len([event for event in events(exchange) if event["event"] == "text"]) > 1
            return
    pytest.fail("no generation was long enough")


def test_a_tool_can_be_called(frontend: Frontend) -> None:
    tool = {
        "name": "weather",
        "description": "Get the current weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    question = [{"role": "user", "content": "What is the weather in Paris?"}]
    exchange = frontend.model("chat", messages=question, tools=[tool], options={"temperature": 0})
    (call,) = exchange.reply["tool_calls"]
    assert exchange.reply["finish_reason"] == "tool_calls"
    assert call["name"] == "weather"
    assert call["arguments"] == {"city": "Paris"}
    assert [event["name"] for event in events(exchange) if event["event"] == "tool_call"] == ["weather"]


def test_logprobs_come_with_the_reply_and_as_events(frontend: Frontend) -> None:
    exchange = frontend.model("chat", messages=QUESTION, options={"temperature": 0, "logprobs": 2})
    told = exchange.reply["logprobs"]
    assert "".join(token["token"] for token in told) == exchange.reply["text"]
    assert all(token["top"][0] == {key: token[key] for key in ("token", "id", "logprob")} for token in told), "greedy"
    assert all(len(token["top"]) == 2 and token["logprob"] <= 0 for token in told)
    assert [event["id"] for event in events(exchange) if event["event"] == "logprobs"] == [token["id"] for token in told]
    assert "logprobs" not in frontend.model("chat", messages=QUESTION, options={"temperature": 0}).reply


def test_texts_become_vectors(frontend: Frontend) -> None:
    reply = frontend.model("embed", model=MOONLET, texts=["The moon", "The sun", "The moon"]).reply
    moon, sun, again = reply["embeddings"]
    assert reply["model"] == "local/moonlet@candle"
    assert reply["prompt_tokens"] > 3
    assert sum(value * value for value in moon) == pytest.approx(1, abs=1e-4)
    assert moon == again
    assert sum(one * other for one, other in zip(moon, sun, strict=True)) < 0.999
    assert frontend.model("embed", model=MOONLET, texts=["moon " * 5000]).reply["kind"] == "context_overflow"
    assert frontend.model("embed", model=MOONLET, texts=["moon"], timeout_seconds=0).reply["kind"] == "invalid_request"
    code = "local one = LocalLLM.embed('The moon') local list, usage = LocalLLM.embed({'The sun', 'The moon'})"
    exchange = frontend.execute(f"{code} print(#one, one[1] == list[2][1], #list, usage.prompt_tokens > 2)")
    assert exchange.stream() == f"{len(moon)}\ttrue\t2\ttrue\n"


def test_a_bias_forbids_a_token_by_number_or_text(frontend: Frontend) -> None:
    def first(options: dict[str, object]) -> dict[str, object]:
        options = {"temperature": 0, "max_tokens": 1, "logprobs": 0, **options}
        return frontend.model("chat", messages=QUESTION, options=options).reply["logprobs"][0]

    free = first({})
    for token in (free["id"], free["token"]):
        assert first({"logit_bias": [{"token": token, "bias": -100}]})["id"] != free["id"]
    reply = frontend.model("chat", messages=QUESTION, options={"logit_bias": [{"token": 10**9, "bias": 1}]}).reply
    assert reply["kind"] == "invalid_request"
    assert "expected a token below" in reply["evalue"]


def test_penalties_keep_a_model_from_repeating_itself(frontend: Frontend) -> None:
    def repeats(options: dict[str, object]) -> int:
        options = {"temperature": 0, "max_tokens": 40, "logprobs": 0, **options}
        reply = frontend.model("complete", prompt="a a a a a a", raw=True, options=options).reply
        said = [token["id"] for token in reply["logprobs"]]
        return len(said) - len(set(said))

    assert repeats({"frequency_penalty": -20}) > 10
    assert repeats({"frequency_penalty": 100}) == 0
    assert repeats({"presence_penalty": 100}) == 0


def test_stop_strings_end_the_answer_before_them(frontend: Frontend) -> None:
    whole = frontend.model("chat", messages=QUESTION, options={"temperature": 0}).reply["text"]
    cut = frontend.model("chat", messages=QUESTION, options={"temperature": 0, "stop": ["Paris"]})
    assert cut.reply["text"] == whole[: whole.index("Paris")]
    assert streamed(cut) == cut.reply["text"], "nothing of a stop string is streamed"
    assert cut.reply["finish_reason"] == "stop"


def test_max_tokens_is_a_length_end(frontend: Frontend) -> None:
    reply = frontend.model("chat", messages=QUESTION, options={"temperature": 0, "max_tokens": 2}).reply
    assert reply["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 2


def test_a_truncated_prompt_is_answered_and_the_reply_says_what_was_cut(frontend: Frontend) -> None:
    long = "word " * 3000
    whole = frontend.model("complete", prompt="word " * 100, raw=True, options={"max_tokens": 1}).reply["usage"]
    assert whole["truncated_tokens"] == 0
    reply = frontend.model("complete", prompt=long, raw=True, options={"max_tokens": 1, "truncate": True}).reply
    assert reply["status"] == "ok"
    assert reply["usage"]["truncated_tokens"] > 1000
    assert reply["usage"]["prompt_tokens"] <= 1024


@pytest.mark.parametrize("canceller", ["the same client", "another client"])
def test_cancel_stops_a_running_request(connect: Callable[[], Frontend], canceller: str) -> None:
    frontend = connect()
    other = frontend if canceller == "the same client" else connect()
    frontend.model("load", model=MOONLET)
    for seed in range(20):
        running = frontend.send("model_request", {"command": "chat", "messages": QUESTION, "options": RAMBLE | {"seed": seed}})
        frontend.wait(lambda: streamed(running), "the first token")
        cancelled = other.model("cancel", request=running.request).reply["cancelled"]
        frontend.finish(running)
        if cancelled:
            break
    assert cancelled, "every generation was over before it could be cancelled"
    if running.reply["status"] == "ok":
        assert running.reply["finish_reason"] == "cancelled"
    else:
        assert running.reply["kind"] == "cancelled"
    still = loaded(frontend)["moonlet"]
    assert still["active_requests"] == 0
    assert [loaded(frontend)["moonlet"]["steps"] for _ in range(10)] == [still["steps"]] * 10


def test_cancel_of_nothing_says_so(frontend: Frontend) -> None:
    assert frontend.model("cancel", request="no such request").reply == {"status": "ok", "command": "cancel", "cancelled": False}


def test_models_answer_while_a_cell_computes(frontend: Frontend) -> None:
    running = frontend.start("print('going') while true do end")
    frontend.wait(lambda: running.stream(), "the cell to run")
    assert "Paris" in frontend.model("chat", messages=QUESTION, options={"temperature": 0}).reply["text"]
    assert running.answer is None
    frontend.ask("interrupt_request", channel="control")
    frontend.finish(running)


def test_requests_of_two_clients_run_side_by_side(connect: Callable[[], Frontend]) -> None:
    one, two = connect(), connect()
    one.model("load", model=MOONLET)
    for seed in range(20):
        long = one.send("model_request", {"command": "chat", "messages": QUESTION, "options": RAMBLE | {"seed": seed}})
        one.wait(lambda: streamed(long), "the first token")
        short = two.model("chat", messages=QUESTION, options={"temperature": 0})
        assert "Paris" in short.reply["text"]
        one.pump(0)
        overtaken = long.answer is None
        one.finish(long)
        assert not [arrival for arrival in two.strangers if arrival.channel == "shell"]
        if overtaken:
            return
    pytest.fail("no short answer overtook a long one")


def test_the_same_question_gets_the_same_answer_alone_and_in_company(connect: Callable[[], Frontend]) -> None:
    clients = [connect() for _ in range(3)]
    ask = {"command": "chat", "messages": QUESTION, "options": {"temperature": 0}}
    alone = clients[0].ask("model_request", ask).reply["text"]
    together = [(client, client.send("model_request", ask)) for client in clients for _ in range(3)]
    assert {client.finish(exchange).reply["text"] for client, exchange in together} == {alone}


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        ({"command": "info", "model": "local/no-such@candle"}, "model_not_found", ["no-such", "candle"]),
        (
            {"command": "chat", "model": "local/moonlet@nowhere", "messages": QUESTION},
            "provider_not_found",
            ["nowhere", "candle"],
        ),
        ({"command": "list", "backend": "nowhere"}, "provider_not_found", ["nowhere", "candle"]),
        ({"command": "load", "model": "moonlet@"}, "invalid_request", ["moonlet@"]),
        ({"command": "chat", "messages": QUESTION, "options": {"temperature": -1}}, "invalid_request", ["temperature", "-1"]),
        ({"command": "no_such_command"}, "invalid_request", ["no_such_command"]),
        ({"command": "chat", "messages": "not a list"}, "invalid_request", ["model_request", "not a list"]),
        ({"command": "load"}, "invalid_request", ["model"]),
        ({}, "invalid_request", ["command"]),
    ],
)
def test_a_bad_request_is_answered_in_words(frontend: Frontend, content: dict, kind: str, words: list[str]) -> None:
    reply = frontend.ask("model_request", content).reply
    assert reply["status"] == "error"
    assert reply["ename"]
    assert isinstance(reply["traceback"], list)
    assert reply["kind"] == kind
    for word in words:
        assert word in reply["evalue"], reply["evalue"]
    assert frontend.execute("return 1").result == "1"


def test_a_cancel_on_the_heels_of_its_request_finds_it(frontend: Frontend) -> None:
    found = 0
    for seed in range(30):
        options = RAMBLE | {"seed": seed}
        chat = frontend.send("model_request", {"command": "chat", "messages": QUESTION, "options": options})
        cancel = frontend.model("cancel", request=chat.request)
        # A busy machine may let the whole answer pass before this process sends the cancel; then it says so.
        cancelled = frontend.finish(chat).reply["finish_reason"] == "cancelled"
        assert cancel.reply["cancelled"] is cancelled
        found += cancelled
    assert found > 20


def test_cancel_and_status_are_answered_however_many_generate(frontend: Frontend) -> None:
    request = {"command": "chat", "messages": QUESTION, "options": RAMBLE}
    chats = [frontend.send("model_request", request) for _ in range(300)]
    cancels = [frontend.send("model_request", {"command": "cancel", "request": chat.request}) for chat in chats]
    assert frontend.model("status").reply["status"] == "ok"
    replies = [frontend.finish(chat).reply for chat in chats]
    assert all(frontend.finish(cancel).reply["status"] == "ok" for cancel in cancels)
    refused = [reply for reply in replies if reply["status"] == "error"]
    assert refused and {reply["kind"] for reply in refused} == {"overloaded"}


def test_one_clients_requests_leave_room_for_anothers(connect: Callable[[], Frontend]) -> None:
    crowd, other = connect(), connect()
    request = {"command": "chat", "messages": QUESTION, "options": RAMBLE}
    chats = [crowd.send("model_request", request) for _ in range(300)]
    crowd.wait(lambda: chats[-1].answer, "the refusal of the last one")
    assert chats[-1].reply["kind"] == "overloaded"
    assert "of this session" in chats[-1].reply["evalue"]
    assert other.model("chat", messages=QUESTION, options={"max_tokens": 1}).reply["status"] == "ok"
    for chat in chats:
        crowd.send("model_request", {"command": "cancel", "request": chat.request})
    crowd.finish_all()
    refused = [chat.reply for chat in chats if chat.reply["status"] == "error"]
    assert len(refused) > 100
    assert {reply["kind"] for reply in refused} == {"overloaded"}


def test_models_may_be_a_list(frontend: Frontend) -> None:
    # What is not there is passed over.
    asked = frontend.model("chat", model=["nowhere/x", MOONLET], messages=QUESTION, options={"max_tokens": 1}).reply
    assert (asked["status"], asked["model"]) == ("ok", MOONLET)
    told = frontend.model("chat", model=[MOONLET, "nowhere/x"], messages=QUESTION, options={"max_tokens": 1}).reply
    assert told["model"] == MOONLET
    assert told["usage"]["first_token_ms"] > 0 and told["usage"]["cost"] == {"usd": 0}
    assert frontend.model("complete", model=[MOONLET], prompt="Hi", options={"max_tokens": 1}).reply["model"] == MOONLET
    assert frontend.model("embed", model=[MOONLET, "nowhere/x"], texts=["Hi"]).reply["model"] == MOONLET


def test_an_error_carries_what_programs_want_of_it(frontend: Frontend) -> None:
    missing = frontend.model("chat", model="local/moonlit@candle", messages=QUESTION).reply
    assert missing["nearest"] == ["moonlet"]
    assert missing["route"][-1]["action"] == "failed" and missing["route"][-1]["kind"] == "model_not_found"
    long = [{"role": "user", "content": "moon " * 3000}]
    overflow = frontend.model("chat", model=MOONLET, messages=long).reply
    assert overflow["kind"] == "context_overflow"
    assert overflow["prompt_tokens"] > overflow["context_size"] > 0
    run = frontend.execute("LocalLLM.generate('x', { model = 'local/moonlit@candle' })").reply
    assert run["nearest"] == ["moonlet"]
