"""The `ollama` provider against a server whose answers are at fault, and what it says of them. A real Ollama is in tests/real."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama_faults as faults
import pytest
from conftest import Run
from frontend import Exchange, Frontend
from ollama_faults import Reply, done, failed, lines, said

QUESTION = [{"role": "user", "content": "Hello!"}]
MODEL = "local/moonlet@ollama"
PREFIX = "/behind/a/proxy"


@pytest.fixture
def ollama(home: Path) -> Iterator[faults.Server]:
    """The configured server; its address has a path. What fails is asked once, so that the server's answer is what is told."""
    with faults.server(PREFIX) as server:
        routing = "[routing]\nretries = 0\nbreaker_failures = 1000\n"
        (home / "config.toml").write_text(f'[providers.ollama]\nbase_url = "{server.address}"\n{routing}')
        yield server


def chat(frontend: Frontend, **options: Any) -> Exchange:
    return frontend.model("chat", model=MODEL, messages=QUESTION, options=options)


def refused(exchange: Exchange, kind: str) -> str:
    assert exchange.reply["status"] == "error", exchange.reply
    assert exchange.reply["kind"] == kind, exchange.reply
    return exchange.reply["evalue"]


def texts(exchange: Exchange) -> list[str]:
    events = [arrival.content for arrival in exchange.all("model_event")]
    return [event["text"] for event in events if event["event"] == "text"]


def test_a_character_that_comes_in_two_halves_is_whole(ollama: faults.Server, frontend: Frontend) -> None:
    text = "Mond: \u263e \U0001f319 \u6708"
    whole = b"".join(lines(said(text), done()).pieces)
    ollama.replies["/api/chat"] = Reply([whole[at : at + 1] for at in range(len(whole))])
    assert chat(frontend).reply["text"] == text


def test_two_lines_in_one_piece_are_two(ollama: faults.Server, frontend: Frontend) -> None:
    both = lines(said("a"), said("b"), done())
    ollama.replies["/api/chat"] = Reply([b"".join(both.pieces)])
    assert chat(frontend).reply["text"] == "ab"


def test_a_stream_without_an_end_is_an_error(ollama: faults.Server, frontend: Frontend) -> None:
    ollama.replies["/api/chat"] = lines(said("half an ans"))
    exchange = chat(frontend)
    assert texts(exchange) == ["half an ans"]
    assert "`done`" in refused(exchange, "network")
    ollama.replies["/api/chat"] = Reply(lines(said("half")).pieces, whole=False)
    refused(chat(frontend), "network")
    ollama.replies["/api/chat"] = Reply([lines(said("a")).pieces[0], b'{"message":{"con'])
    refused(chat(frontend), "network")


def test_an_error_in_the_midst_of_an_answer_is_told(ollama: faults.Server, frontend: Frontend) -> None:
    problem = "an error was encountered while running the model: unexpected EOF"
    ollama.replies["/api/chat"] = lines(said("half an ans"), {"error": problem})
    assert problem in refused(chat(frontend), "internal")


def test_counters_that_are_nothing_are_left_out(ollama: faults.Server, frontend: Frontend) -> None:
    ollama.replies["/api/chat"] = lines(said("a"), done(eval_count=3))
    usage = chat(frontend).reply["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (0, 3)
    ollama.replies["/api/chat"] = lines(said("a"), said("", done=True))
    assert chat(frontend).reply["finish_reason"] == "stop"
    ollama.replies["/api/chat"] = lines(said("a"), done("length"))
    assert chat(frontend).reply["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (failed(401, "unauthorized"), "authentication", "unauthorized"),
        (failed(429, "too many requests", Retry_After="7"), "rate_limited", "too many requests"),
        (failed(503, "server busy, please try again.  maximum pending requests exceeded"), "overloaded", "server busy"),
        (failed(400, '"moonlet" does not support thinking'), "invalid_request", "does not support thinking"),
        (failed(500, "invalid JSON schema in format"), "invalid_request", "schema"),
        (failed(500, "model requires more system memory (9.1 GiB) than is available (2.0 GiB)"), "overloaded", "9.1 GiB"),
        (failed(500, "something else"), "internal", "something else"),
    ],
)  # fmt: skip
def test_refusals_have_kinds(ollama: faults.Server, frontend: Frontend, reply: Reply, kind: str, says: str) -> None:
    ollama.replies["/api/chat"] = reply
    assert says in refused(chat(frontend), kind)


def test_a_model_that_is_not_there_is_told_with_those_near(ollama: faults.Server, frontend: Frontend) -> None:
    ollama.replies["/api/chat"] = failed(404, "model 'moonlit' not found")
    exchange = frontend.model("chat", model="local/moonlit:latest@ollama", messages=QUESTION)
    assert "`moonlet:latest`" in refused(exchange, "model_not_found")
    assert exchange.reply["nearest"] == ["moonlet:latest"]


def test_a_prompt_that_is_too_long_is_told_with_the_context(ollama: faults.Server, frontend: Frontend) -> None:
    ollama.replies["/api/chat"] = failed(400, "the input length exceeds the context length")
    runner = faults.MODEL | {"context_length": 1024, "expires_at": "2026-11-21T17:42:50.039970098Z"}
    ollama.replies["/api/ps"] = Reply([json.dumps({"models": [runner]}).encode()], kind=faults.JSON)
    exchange = chat(frontend)
    assert "1024" in refused(exchange, "context_overflow")
    assert exchange.reply["context_size"] == 1024


def test_what_is_no_ollama_is_told(ollama: faults.Server, frontend: Frontend) -> None:
    ollama.replies["/api/chat"] = Reply([b"<html>Please log in</html>"], kind="text/html")
    assert "text/html" in refused(chat(frontend), "network")
    ollama.replies["/api/chat"] = Reply([b"Please log in\n"])
    refused(chat(frontend), "network")
    ollama.replies["/api/chat"] = Reply([b"<html>Bad gateway</html>"], status=502, kind="text/html")
    assert "502" in refused(chat(frontend), "network")


def test_a_stall_ends_with_the_time_allowed_and_the_connection(ollama: faults.Server, frontend: Frontend) -> None:
    ollama.replies["/api/chat"] = Reply(lines(said("half")).pieces, stalls=True)
    refused(chat(frontend, timeout_seconds=0.2), "timeout")
    assert ollama.left.wait(5)


def test_a_cancel_closes_the_connection(ollama: faults.Server, frontend: Frontend) -> None:
    ollama.replies["/api/chat"] = Reply(lines(said("half")).pieces, stalls=True)
    exchange = frontend.send("model_request", {"command": "chat", "model": MODEL, "messages": QUESTION})
    frontend.wait(lambda: texts(exchange), "the first text")
    frontend.model("cancel", request=exchange.request)
    frontend.finish(exchange)
    assert (exchange.reply["text"], exchange.reply["finish_reason"]) == ("half", "cancelled")
    assert ollama.left.wait(5)


def test_options_arrive_as_they_were_written(ollama: faults.Server, frontend: Frontend) -> None:
    ollama.replies["/api/chat"] = lines(said("a"), done())
    chat(frontend, temperature=0.1, top_k=3, seed=7, max_tokens=5, stop=["x"], truncate=True, logprobs=2)
    (body,) = ollama.bodies("/api/chat")
    assert body["options"] == {"temperature": 0.1, "top_k": 3, "seed": 7, "num_predict": 5, "stop": ["x"]}
    assert (body["model"], body["truncate"], body["shift"], body["logprobs"], body["top_logprobs"]) == (
        "moonlet", True, False, True, 2,
    )  # fmt: skip
    assert "logit_bias" in refused(chat(frontend, logit_bias=[{"token": 5, "bias": 1}]), "invalid_request")


def test_thinking_and_calls_have_their_places(ollama: faults.Server, frontend: Frontend) -> None:
    thinks = {"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False}
    calls = {"message": {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]}}
    ollama.replies["/api/chat"] = lines(thinks, calls, done())
    reply = chat(frontend).reply
    assert (reply["thinking"], reply["finish_reason"]) == ("hm", "tool_calls")
    assert reply["tool_calls"] == [{"id": "call_0", "name": "add", "arguments": {"a": 1}}]


def test_pictures_go_to_models_that_see(ollama: faults.Server, frontend: Frontend) -> None:
    ollama.replies["/api/chat"] = lines(said("a moon"), done())
    able = {"capabilities": ["completion"]}
    ollama.replies["/api/show"] = lambda _: lines(able)
    code = f"""
        local bytes = "\\x89PNG\\r\\n\\x1a\\n\\0\\0"
        print(LocalLLM.chat({{{{ role = "user", content = "What is it?", images = {{ bytes }} }}}}, {{ model = "{MODEL}", think = "low" }}).text)"""
    assert "`vision`" in frontend.execute(code).reply["evalue"]
    able["capabilities"].append("vision")
    assert frontend.execute(code).stream() == "a moon\n"
    (body,) = ollama.bodies("/api/chat")
    assert body["messages"][0]["images"] == ["iVBORw0KGgoAAA=="] and body["think"] == "low"
    blind = code.replace(MODEL, "local/moonlet@candle").replace(', think = "low"', "")
    assert "`images`" in frontend.execute(blind).reply["evalue"]


def test_a_server_that_is_down_is_listed_with_its_reason(home: Path, perilune: Run) -> None:
    (home / "config.toml").write_text('[providers.ollama]\nbase_url = "http://127.0.0.1:9"\n')
    listed = perilune("model", "list")
    assert "moonlet" in listed.stdout and "left out: ollama: " in listed.stdout
    status = perilune("model", "status", "ollama").stdout
    assert "unavailable" in status and "http://127.0.0.1:9" in status


def test_the_variable_of_ollama_says_where_it_is(home: Path, perilune: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with faults.server() as server:
        (home / "config.toml").write_text("[providers.ollama]\n")
        port = server.address.rsplit(":", 1)[1]
        monkeypatch.setenv("OLLAMA_HOST", f"0.0.0.0:{port}")
        assert "moonlet:latest" in perilune("model", "list", "--backend", "ollama").stdout
        (home / "config.toml").write_text('[providers.ollama]\nbase_url = "http://127.0.0.1:9"\n')
        assert "moonlet:latest" not in perilune("model", "list", "--backend", "ollama").stdout


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder in which programs are found: the shell, and a `curl` that gives a script which installs something."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to("/bin/sh")
    (folder / "curl").write_text(f"#!/bin/sh\necho 'echo installing; : >{folder}/ollama'\n")
    (folder / "curl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_the_way_to_install_it_is_shown_and_gone_when_confirmed(path: Path, perilune: Run) -> None:
    line = "curl -fsSL https://ollama.com/install.sh | sh"
    shown = perilune("model", "install-ollama")
    assert shown.returncode == 0 and line in shown.stdout and "--yes" in shown.stdout
    assert not (path / "ollama").exists()
    gone = perilune("model", "install-ollama", "--yes")
    assert gone.returncode == 0 and "installing" in gone.stdout and "Installed" in gone.stdout, gone
    again = perilune("model", "install-ollama", "--yes", "--output", "json")
    assert json.loads(again.stdout) == {"state": "installed_already", "path": str(path / "ollama")}


def test_where_it_cannot_be_installed_that_is_said(path: Path, perilune: Run) -> None:
    (path / "curl").write_text("#!/bin/sh\nexit 22\n")
    failed = perilune("model", "install-ollama", "--yes")
    assert failed.returncode == 1 and "no `ollama` on PATH" in failed.stderr
    (path / "curl").unlink()
    missing = perilune("model", "install-ollama", "--yes")
    assert missing.returncode == 1 and "`curl`" in missing.stderr


def test_what_a_server_has_in_memory_needs_no_resident_kernel(ollama: faults.Server, perilune: Run) -> None:
    absent = perilune("model", "load", "moonlet@candle")
    assert absent.returncode != 0 and "resident kernel" in absent.stderr, absent.stderr

    def generate(body: dict[str, Any]) -> Reply:
        loaded = [] if body.get("keep_alive") == 0 else [faults.MODEL | {"context_length": 4096, "expires_at": "2099-01-01T00:00:00Z"}]
        ollama.replies["/api/ps"] = Reply([json.dumps({"models": loaded}).encode()], kind=faults.JSON)
        return Reply([b'{"model":"moonlet","done":true}'], kind=faults.JSON)

    ollama.replies["/api/generate"] = generate
    assert "no models in memory" in perilune("model", "ps").stdout
    loaded = perilune("model", "load", "moonlet@ollama", "--keep-alive", "60")
    assert loaded.returncode == 0 and "in memory of `ollama`" in loaded.stdout, loaded.stderr
    assert ollama.bodies("/api/generate")[-1]["keep_alive"] == 60
    assert "moonlet:latest" in perilune("model", "ps").stdout
    unloaded = perilune("model", "unload", "moonlet@ollama")
    assert unloaded.returncode == 0 and "no longer in memory" in unloaded.stdout, unloaded.stderr
    assert ollama.bodies("/api/generate")[-1]["keep_alive"] == 0
    for command in (["load", "moonlet"], ["unload", "moonlet@candle"]):
        assert "resident kernel" in perilune("model", *command).stderr
    unknown = perilune("model", "load", "moonlet@nobody")
    assert unknown.returncode == 1 and "`nobody`" in unknown.stderr and "`ollama`" in unknown.stderr, unknown.stderr


def test_without_a_server_the_memory_is_that_of_a_resident_kernel(home: Path, perilune: Run) -> None:
    (home / "config.toml").write_text("[providers.ollama]\nenabled = false\n")
    done = perilune("model", "ps")
    assert done.returncode != 0 and "start one with" in done.stderr, done.stderr


def test_a_model_is_copied_where_it_is(ollama: faults.Server, perilune: Run) -> None:
    ollama.replies["/api/copy"] = Reply([], kind=faults.JSON)
    copied = perilune("model", "copy", "moonlet@ollama", "selene@ollama")
    assert copied.returncode == 0 and "local/selene@ollama" in copied.stdout, copied.stderr
    assert ollama.bodies("/api/copy") == [{"source": "moonlet", "destination": "selene"}]
    refused = perilune("model", "copy", "moonlet@ollama", "selene@candle")
    assert refused.returncode == 1 and "not to `candle`" in refused.stderr and "write `selene` alone" in refused.stderr, refused.stderr
    ollama.replies["/api/show"] = failed(404, "model 'nosuch:latest' not found")
    unknown = perilune("model", "remove", "nosuch@ollama")
    assert unknown.returncode == 1 and "`nosuch:latest`" in unknown.stderr and "--yes" not in unknown.stderr, unknown.stderr
