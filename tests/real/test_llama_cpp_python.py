"""llama-cpp-python's server behind the `openai` provider: what it can do, and that it stops when nobody waits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import llama_cpp_server
import pytest
from conftest import wait_until
from front_door import Run
from frontend import Frontend
from llama_cpp_server import LlamaCpp
from resident import attached, kernel, wait_for_file

MODEL = "llamacpp/moonlet"
PARIS = "'What is the capital of France?'"
STOPPED = 0.2
"""Seconds within which it stops computing."""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    with llama_cpp_server.running(tmp_path_factory.mktemp("llama-cpp-python")) as peer:
        yield peer


@pytest.fixture
def home(peer: LlamaCpp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PERILUNE_HOME", str(tmp_path))
    (tmp_path / "config.toml").write_text(peer.config())
    return tmp_path


def lua(perilune: Run, code: str) -> object:
    done = perilune("exec", f"local function run() {code} end print(json.encode(run()))")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_says_what_our_engine_says(home: Path, perilune: Run) -> None:
    ask = f"LocalLLM.generate({PARIS}, {{model = '%s', temperature = 0}})"
    there, here = lua(perilune, f"return {{{ask % MODEL}, {ask % 'local/moonlet@candle'}}}")
    assert there == here == "The capital of France is Paris."
    listed = perilune("model", "list", "--backend", "llamacpp")
    assert "moonlet" in listed.stdout


def test_pieces_are_the_whole_and_a_raw_prompt_is_continued(home: Path, perilune: Run) -> None:
    options = f"{{model = '{MODEL}', temperature = 0}}"
    pieces = lua(perilune, f"local list = {{}} for piece in LocalLLM.stream({PARIS}, {options}) do list[#list + 1] = piece end return list")
    assert len(pieces) > 3
    assert "".join(pieces) == "The capital of France is Paris."
    raw = "'<|im_start|>user\\nWhat is the capital of France?<|im_end|>\\n<|im_start|>assistant\\n'"
    told = lua(perilune, f"return LocalLLM.generate({raw}, {{model = '{MODEL}', temperature = 0, raw = true}})")
    assert told.strip() == "The capital of France is Paris."


def test_a_schema_is_kept_to(home: Path, perilune: Run) -> None:
    schema = "{type = 'object', properties = {city = {type = 'string', maxLength = 8}}, required = {'city'}}"
    text = lua(perilune, f"return LocalLLM.generate({PARIS}, {{model = '{MODEL}', temperature = 0, max_tokens = 60, schema = {schema}}})")
    assert set(json.loads(text)) == {"city"}


def test_its_embeddings_are_ours(home: Path, perilune: Run) -> None:
    """The mean of the same hidden states, computed by llama.cpp."""
    texts = "{'The moon is far away.', 'What is the capital of France?', 'moon'}"
    embed = f"(LocalLLM.embed({texts}, {{model = '%s'}}))"
    there, here = lua(perilune, f"return {{{embed % MODEL}, {embed % 'local/moonlet@candle'}}}")
    for ours, theirs in zip(here, there, strict=True):
        assert sum(one * other for one, other in zip(ours, theirs, strict=True)) > 0.999


def test_a_prompt_that_does_not_fit_is_told_with_both_lengths(home: Path, perilune: Run) -> None:
    code = f"local ok, e = pcall(LocalLLM.generate, ('moon '):rep(5000), {{model = '{MODEL}'}}) return {{e.kind, e.message}}"
    kind, message = lua(perilune, code)
    assert kind == "context_overflow", message
    assert "2048" in message


def test_it_stops_when_nobody_waits(peer: LlamaCpp, home: Path, binary: Path, tmp_path: Path) -> None:
    """By its processor time, which the system counts."""
    file, log = tmp_path / "connection.json", tmp_path / "kernel.log"
    with kernel(binary, file, log, home) as process:
        wait_for_file(file, process, log)
        with attached(file) as frontend:
            for seed in range(20):
                if stopped(peer, frontend, process.pid, seed):
                    return
    pytest.fail("every answer was over before it could be interrupted")


def stopped(peer: LlamaCpp, frontend: Frontend, pid: int, seed: int) -> bool:
    """Interrupts an answer; false if it was over before."""
    # Without the tokens that end an answer, and not so hot that bytes make no characters: for those the server says and hears nothing.
    options = f"model = '{MODEL}', temperature = 1, max_tokens = 2000, seed = {seed}, logit_bias = {{[0] = -100, [2] = -100}}"
    exchange = frontend.start(f"for piece in LocalLLM.stream('Tell me a story', {{{options}}}) do io.write(piece) end print('whole')")
    wait_until(lambda: (frontend.pump(0.01), exchange.stream() or exchange.answer)[1], "the first piece")
    before = peer.processor_time()
    time.sleep(0.1)
    computes = peer.processor_time() - before > 0.03
    request = frontend.client.session.msg("interrupt_request", {})
    frontend.client.control_channel.send(request)
    time.sleep(STOPPED)
    then = peer.processor_time()
    time.sleep(0.5)
    rest = peer.processor_time() - then
    frontend.finish(exchange)
    if not computes or "whole" in exchange.stream():
        return False
    assert rest < 0.05, f"it computed for {rest:.2f} s more"
    return True
