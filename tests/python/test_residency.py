"""Which models are in memory: what they are reckoned to take and do, the budget, who makes room for whom, and how long they stay."""

from __future__ import annotations

from pathlib import Path

import parrot
import pytest
from conftest import Run
from frontend import Exchange, Frontend

TURNS = "{% for m in messages %}{{ m.content }}{% endfor %}"
QUESTION = [{"role": "user", "content": "Hi"}]
A, B = "local/a@candle", "local/b@candle"


@pytest.fixture
def models(home: Path) -> Path:
    """Two small models of which only one fits the budget."""
    for name in ("a", "b"):
        parrot.write(home / f"models/{name}.gguf", ["I am ", name * 2], TURNS)
    (home / "config.toml").write_text("[providers.candle]\nmemory_budget_mib = 1\n")
    return home


def loaded(frontend: Frontend) -> dict[str, dict[str, object]]:
    (candle,) = frontend.model("status", backend="candle").reply["backends"]
    return {model["name"]: model for model in candle["loaded"]}


def dropped(frontend: Frontend) -> list[dict[str, object]]:
    (candle,) = frontend.model("status", backend="candle").reply["backends"]
    return candle.get("dropped", [])


def events(exchange: Exchange, kind: str) -> list[dict[str, object]]:
    return [arrival.content for arrival in exchange.all("model_event") if arrival.content["event"] == kind]


def test_facts_are_told_without_loading(models: Path, frontend: Frontend, perilune: Run) -> None:
    facts = frontend.model("info", model=A).reply
    assert (facts["architecture"], facts["name"]) == ("llama", "parrot")
    assert loaded(frontend) == {}
    assert "parrot" in perilune("model", "info", "a").stdout
    assert frontend.model("load", model=A).reply["memory_bytes"] == facts["memory_bytes"]
    assert loaded(frontend)["a"]["resident_bytes"] >= 0
    broken = (models / "models/b.gguf").read_bytes()[:200]
    (models / "models/b.gguf").write_bytes(broken)
    assert frontend.model("info", model=B).reply["kind"] == "invalid_model_file"


def test_an_idle_model_makes_room_and_everyone_is_told(models: Path, frontend: Frontend) -> None:
    frontend.model("load", model=A)
    exchange = frontend.model("chat", model=B, messages=QUESTION)
    assert exchange.reply["text"] == "I am bb"
    (event,) = events(exchange, "dropped")
    assert (event["name"], event["reason"]) == ("a", "to make room for `b`")
    assert list(loaded(frontend)) == ["b"]
    assert [model["name"] for model in dropped(frontend)] == ["a"]

    exchange = frontend.model("load", model=A)
    assert [model["name"] for model in exchange.reply["made_room"]] == ["b"]
    assert [event["name"] for event in events(exchange, "dropped")] == ["b"]
    assert "made_room" not in frontend.model("load", model=A).reply, "it was there"


def test_a_pinned_model_stays_and_the_refusal_says_both_figures(models: Path, frontend: Frontend) -> None:
    assert frontend.model("load", model=A, pin=True).reply["pinned"]
    reply = frontend.model("chat", model=B, messages=QUESTION).reply
    assert reply["kind"] == "budget"
    for word in ("`b`", "needs about 0.", "allows 1.0 MB", "`a` 0.", "(pinned)", "memory_budget_mib"):
        assert word in reply["evalue"], reply["evalue"]
    assert list(loaded(frontend)) == ["a"]
    assert not frontend.model("load", model=A, pin=False).reply["pinned"]
    assert frontend.model("chat", model=B, messages=QUESTION).reply["status"] == "ok"


def test_a_model_that_can_never_fit_is_refused_before_it_is_loaded(models: Path, frontend: Frontend) -> None:
    frontend.model("load", model=A)
    said = frontend.execute("local ok, error = pcall(LocalLLM.load, 'local/moonlet@candle') return error.kind, error.message")
    kind, message = said.first("execute_result").content["data"]["text/plain"].split("\t")
    assert kind == "budget"
    assert "moonlet" in message
    assert "allows 1.0 MB;" in message
    assert list(loaded(frontend)) == ["a"], "nothing made room in vain"


def test_a_model_goes_when_its_time_without_requests_is_over(models: Path, frontend: Frontend) -> None:
    loading = frontend.model("load", model=A, keep_alive_seconds=3600).reply
    assert loading["keep_alive_seconds"] == 3600
    assert frontend.model("chat", model=A, messages=QUESTION).reply["status"] == "ok"
    assert loaded(frontend)["a"]["keep_alive_seconds"] == 3600, "a request changes nothing"
    frontend.model("load", model=A, keep_alive_seconds=0)
    frontend.wait(lambda: not loaded(frontend), "the model to leave memory")
    (model,) = dropped(frontend)
    assert (model["name"], model["reason"]) == ("a", "idle for 0 s, its `keep_alive`")
    assert frontend.model("chat", model=A, messages=QUESTION).reply["text"] == "I am aa", "and comes again"


def test_lua_pins_and_lists(models: Path, frontend: Frontend) -> None:
    code = f"LocalLLM.load('{A}', {{pin = true, keep_alive = 60}}) local m = LocalLLM.ps()[1] return m.name, m.backend, m.pinned, m.keep_alive_seconds"
    assert frontend.execute(code).first("execute_result").content["data"]["text/plain"] == "a\tcandle\ttrue\t60"
    wrong = frontend.execute(f"LocalLLM.load('{A}', {{keepalive = 60}})").reply["evalue"]
    assert "unknown option `keepalive`" in wrong
    assert "`keep_alive`" in wrong


def test_the_command_line_loads_pins_and_lists(models: Path, perilune: Run) -> None:
    assert perilune("kernel", "start", "--detach").returncode == 0
    try:
        said = perilune("model", "load", "a", "--pin").stdout
        assert "reckoned" in said
        assert "pinned" in perilune("model", "ps").stdout
        refused = perilune("model", "load", "b")
        assert refused.returncode == 1
        assert "allows 1.0 MB" in refused.stderr
        perilune("model", "load", "a", "--pin=false", "--keep-alive", "3600")
        assert "3600 s idle" in perilune("model", "ps").stdout
        assert "`a` left memory to make room for `b`" in perilune("model", "load", "b").stdout
        assert "`a` left memory" in perilune("model", "ps").stdout
        assert perilune("model", "unload", "b").returncode == 0
        assert "no models in memory" in perilune("model", "ps").stdout
    finally:
        perilune("kernel", "stop")
