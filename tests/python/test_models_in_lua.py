"""`LocalLLM` and `Agent` as a cell sees them: real answers, streams, conversations, and errors that survive `pcall`."""

import json
from collections.abc import Callable

import pytest
from frontend import Frontend

PARIS = "'What is the capital of France?'"
HOT = "temperature = 20, top_k = 0, top_p = 1, min_p = 0"
"""So hot that every token is as likely as any other: only the seed decides."""


@pytest.fixture
def lua(frontend: Frontend) -> Callable[[str], str]:
    """Runs a cell and returns what it printed; the cell must not fail."""

    def lua(code: str) -> str:
        exchange = frontend.execute(code)
        assert exchange.reply["status"] == "ok", exchange.reply["evalue"]
        return exchange.stream().rstrip("\n")

    return lua


def test_generate_returns_the_answer(lua: Callable[[str], str]) -> None:
    assert "Paris" in lua(f"print(LocalLLM.generate({PARIS}, {{ temperature = 0 }}))")
    assert "Paris" in lua(f"print(LocalLLM.generate({PARIS}, {{ temperature = 0, model = 'local/moonlet@candle' }}))")


def test_chat_returns_text_usage_and_reason(lua: Callable[[str], str]) -> None:
    code = f"""
        local answer = LocalLLM.chat({{ {{ role = 'user', content = {PARIS} }} }}, {{ temperature = 0 }})
        print(answer.text) print(answer.finish_reason) print(answer.model)
        print(answer.usage.prompt_tokens, answer.usage.completion_tokens) print(answer.duration_ms >= 0)"""
    text, reason, model, usage, duration = lua(code).splitlines()
    assert "Paris" in text
    assert (reason, model, duration) == ("stop", "local/moonlet@candle", "true")
    assert all(int(tokens) > 0 for tokens in usage.split("\t"))


def test_a_stream_is_the_same_answer_in_pieces(lua: Callable[[str], str]) -> None:
    code = f"""
        local pieces = {{}}
        for piece in LocalLLM.stream({{ {{ role = 'user', content = {PARIS} }} }}, {{ temperature = 0 }}) do
          pieces[#pieces + 1] = piece
        end
        print(#pieces) print(table.concat(pieces) == LocalLLM.generate({PARIS}, {{ temperature = 0 }}))"""
    count, same = lua(code).splitlines()
    assert int(count) > 1
    assert same == "true"


def test_tokens_are_seen_as_they_are_generated(frontend: Frontend) -> None:
    """The text of one generation comes in several messages; when the first is here, the engine's counter is not yet at its end."""
    frontend.execute("LocalLLM.load('moonlet')")
    for seed in range(20):
        exchange = frontend.start(
            f"for piece in LocalLLM.stream({{ {{ role = 'user', content = 'x' }} }}, {{ {HOT}, max_tokens = 900, seed = {seed} }})"
            " do io.write(piece) end"
        )
        frontend.wait(lambda: exchange.stream(), "the first tokens")
        at_first = steps(frontend)
        assert exchange.answer is None or exchange.reply["status"] == "ok"
        frontend.finish(exchange)
        if len(exchange.stream()) > 1000:
            assert at_first < steps(frontend)
            assert len(exchange.all("stream")) > 2
            return
    pytest.fail("no generation was long enough")


def steps(frontend: Frontend) -> int:
    (backend,) = frontend.model("status").reply["backends"]
    return sum(model["steps"] for model in backend["loaded"])


def test_leaving_a_stream_ends_its_generation(frontend: Frontend) -> None:
    frontend.execute("LocalLLM.load('moonlet')")

    def generate(seed: int, body: str) -> int:
        """Steps that the engine took for a stream whose every piece is met with `body`."""
        before = steps(frontend)
        options = f"{{ {HOT}, max_tokens = 900, seed = {seed} }}"
        done = frontend.execute(f"for _ in LocalLLM.stream({{ {{ role = 'user', content = 'x' }} }}, {options}) do {body} end")
        assert done.reply["status"] == "ok"
        frontend.wait(lambda: active(frontend) == 0, "the engine to let go of the request", 5)
        return steps(frontend) - before

    long, seed = max((generate(seed, ""), seed) for seed in range(8))
    assert long > 200, "no generation was long enough"
    assert generate(seed, "break") < long / 2


def active(frontend: Frontend) -> int:
    (backend,) = frontend.model("status").reply["backends"]
    return sum(model["active_requests"] for model in backend["loaded"])


def test_a_seed_repeats_an_answer_and_another_does_not(lua: Callable[[str], str]) -> None:
    code = f"""
        local function ask(seed) return LocalLLM.generate('Hello', {{ {HOT}, max_tokens = 30, seed = seed }}) end
        print(ask(1) == ask(1), ask(1) == ask(2), ask(2) == ask(3))"""
    assert lua(code) == "true\tfalse\tfalse"


def test_load_list_info_status_unload(lua: Callable[[str], str]) -> None:
    code = """
        local function loaded() return #LocalLLM.status('candle').loaded end
        print(loaded()) LocalLLM.load('moonlet') print(loaded()) LocalLLM.unload('moonlet') print(loaded())
        local names = {} for _, model in ipairs(LocalLLM.list('candle')) do names[model.name] = true end print(names.moonlet)
        print(LocalLLM.info('moonlet').architecture, LocalLLM.info().context_length)"""
    assert lua(code).splitlines() == ["0", "1", "0", "true", "llama\t1024"]


@pytest.mark.parametrize(
    "agent",
    [
        "Agent.create { model = 'local/moonlet@candle', system_prompt = 'You are a friendly assistant.', temperature = 0 }",
        "Agent.builder():model('local/moonlet@candle'):system_prompt('You are a friendly assistant.'):temperature(0):build()",
        "Agent.create { temperature = 0 }",
    ],
)
def test_an_agent_answers_in_every_way(lua: Callable[[str], str], agent: str) -> None:
    code = f"""
        local function fresh() return {agent} end
        print(fresh():complete({PARIS}))
        local turn = fresh():execute {{ prompt = {PARIS} }}
        print(turn.text) print(turn.finish_reason, turn.model, turn.usage.completion_tokens > 0, turn.duration_ms >= 0)
        for piece in fresh():stream({PARIS}) do io.write(piece) end"""
    completed, executed, facts, streamed = lua(code).splitlines()
    assert "Paris" in completed
    assert completed == executed == streamed
    assert facts == "stop\tlocal/moonlet@candle\ttrue\ttrue"


def test_an_agent_keeps_its_conversation(lua: Callable[[str], str]) -> None:
    code = f"""
        local agent = Agent.create {{ temperature = 0 }}
        local first = agent:execute {{ prompt = 'Hello!' }}
        local second = agent:execute {{ prompt = {PARIS} }}
        local alone = Agent.create {{ temperature = 0 }}:execute {{ prompt = {PARIS} }}
        print(second.usage.prompt_tokens >= alone.usage.prompt_tokens + first.usage.completion_tokens)
        print(second.text)"""
    kept, text = lua(code).splitlines()
    assert kept == "true", "the second prompt does not hold the first turn"
    assert "Paris" in text


def test_two_agents_do_not_share_a_conversation(lua: Callable[[str], str]) -> None:
    code = f"""
        local one, two = Agent.create {{ temperature = 0 }}, Agent.create {{ temperature = 0 }}
        one:complete('Hello!') one:complete('Hello!')
        local alone = Agent.create {{ temperature = 0 }}:execute {{ prompt = {PARIS} }}
        print(two:execute {{ prompt = {PARIS} }}.usage.prompt_tokens == alone.usage.prompt_tokens)"""
    assert lua(code) == "true"


def test_a_turn_that_failed_is_not_part_of_the_conversation(lua: Callable[[str], str]) -> None:
    code = f"""
        local agent = Agent.create {{ temperature = 0 }}
        print(pcall(agent.complete, agent, ('word '):rep(3000)) == false)
        print(agent:complete({PARIS}))"""
    failed, text = lua(code).splitlines()
    assert failed == "true"
    assert "Paris" in text


def test_an_error_has_kind_and_message_and_prints_well(lua: Callable[[str], str]) -> None:
    code = """
        local ok, problem = pcall(LocalLLM.generate, 'Hello', { model = 'local/no-such@candle' })
        print(ok) print(problem.kind) print(problem.message) print(problem) print('it failed: ' .. problem)
        print(select(2, pcall(error, problem)) == problem)
        print(select(2, coroutine.resume(coroutine.create(function()
          LocalLLM.generate('Hello', { model = 'local/no-such@candle' })
        end))).kind)"""
    ok, kind, message, printed, joined, same, in_coroutine = lua(code).splitlines()
    assert (ok, kind, same, in_coroutine) == ("false", "model_not_found", "true", "model_not_found")
    assert "no-such" in message
    assert message in printed
    assert message in joined


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("LocalLLM.generate()", ["generate"]),
        ("LocalLLM.generate(42)", ["generate"]),
        ("LocalLLM.generate('x', 'not options')", ["generate"]),
        ("LocalLLM.generate('x', { temprature = 1 })", ["temprature", "temperature"]),
        ("LocalLLM.generate('x', { temperature = 'hot' })", ["temperature", "hot"]),
        ("LocalLLM.generate('x', { temperature = -1 })", ["temperature", "-1"]),
        ("LocalLLM.generate('x', { max_tokens = 0 / 0 })", ["max_tokens"]),
        ("LocalLLM.generate('x', { max_tokens = 1.5 })", ["max_tokens", "1.5"]),
        ("LocalLLM.chat({})", ["message"]),
        ("LocalLLM.chat({ { role = 'wizard', content = 'x' } })", ["wizard", "user"]),
        ("LocalLLM.chat({ { role = 'user' } })", ["content"]),
        ("LocalLLM.chat(42)", ["messages"]),
        ("Agent.create { sytem_prompt = 'x' }", ["sytem_prompt", "system_prompt"]),
        ("Agent.create {}:execute {}", ["prompt"]),
        ("Agent.create {}.complete('no colon')", ["colon"]),
        ("Agent.builder():modle('x')", ["modle", "model"]),
    ],
)
def test_a_wrong_argument_is_named(frontend: Frontend, call: str, words: list[str]) -> None:
    reply = frontend.execute(f"return {call}").reply
    assert reply["status"] == "error"
    for word in words:
        assert word in reply["evalue"], reply["evalue"]
    assert frontend.execute("return 1").result == "1"


def test_values_pass_through_json_unharmed(frontend: Frontend) -> None:
    """What a reply carries is JSON, whatever a script makes of it: no NaN, no cycle, no function hurts the message."""
    for code in (
        "return 0 / 0, 1 / 0, -1 / 0",
        "local t = {} t.t = t return t",
        "return { print, coroutine.create(print), [{}] = 1 }",
        "local t = {} for i = 1, 10000 do t = { t } end return t",
        "return ('\\xff\\0'):rep(10)",
        "return math.mininteger, math.maxinteger, 2 ^ 53",
    ):
        exchange = frontend.execute(code, user_expressions={"x": code.removeprefix("return ")})
        assert exchange.reply["status"] == "ok", code
        json.dumps(exchange.reply, allow_nan=False, default=str)
        assert exchange.result
