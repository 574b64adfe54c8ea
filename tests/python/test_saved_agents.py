"""Agents saved with what their model computed: saved in one process, loaded in another, also on a kernel that others use."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MOONLET, Run
from jupyter_client import KernelManager

SAVE = """
local agent = Agent.create {
  model = arg[2], max_tokens = 30, temperature = 1.2, seed = 5,
  system_prompt = ("You are a helpful assistant who answers in one sentence. "):rep(8),
}
agent:complete("What is the capital of France?")
agent:save(arg[1], { state = true })
"""
LOAD = """
local state = load("return " .. (arg[2] or "nil"))()
local turn = Agent.load(arg[1], { state = state }):execute("And of Italy?")
print(json.encode({ text = turn.text, cached = turn.usage.cached_tokens, prompt = turn.usage.prompt_tokens }))
"""


@pytest.fixture
def save(home: Path, perilune: Run) -> Callable[..., Path]:
    """Saves an agent in a process of its own."""

    def save(*arguments: object) -> Path:
        (home / "save.lua").write_text(SAVE)
        done = perilune("run", home / "save.lua", home / "agent.json", *arguments)
        assert done.returncode == 0, done.stderr
        return home / "agent.json"

    return save


@pytest.fixture
def turn(home: Path, perilune: Run) -> Callable[..., dict[str, object]]:
    """The next turn of a saved agent, in a process of its own."""

    def turn(*arguments: object) -> dict[str, object]:
        (home / "load.lua").write_text(LOAD)
        done = perilune("run", home / "load.lua", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return turn


def test_another_process_goes_on_with_the_same_answer(save: Callable, turn: Callable) -> None:
    agent = save()
    cold, warm = turn(agent, "false"), turn(agent)
    tokens = json.loads(agent.read_text())["state"]["tokens"]
    assert cold["cached"] == 0
    assert tokens - 5 <= warm["cached"] <= tokens
    assert warm["cached"] > 0.8 * warm["prompt"]
    assert warm["text"] == cold["text"]
    # It may be moved, with its state.
    moved = agent.with_name("moved.json")
    shutil.move(agent, moved)
    shutil.move(f"{agent}.state", f"{moved}.state")
    assert turn(moved) == warm


def test_a_model_that_was_changed_is_another_one(save: Callable, turn: Callable, home: Path, perilune: Run) -> None:
    model = home / "models/little.gguf"
    shutil.copy(MOONLET, model)
    agent = save("local/little@candle")
    warm = turn(agent)
    assert warm["cached"] > 0
    # The same weights under another name are the same model; one bit makes them another.
    model.rename(home / "models/other.gguf")
    agent.write_text(agent.read_text().replace("local/little", "local/other"))
    assert turn(agent) == warm
    with (home / "models/other.gguf").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    refused = perilune("run", home / "load.lua", agent)
    assert refused.returncode == 1
    for words in ("agent.json.state", "it was computed by another model (`moonlet`, ", "{state = false}"):
        assert words in refused.stderr, refused.stderr
    assert turn(agent, "false")["cached"] == 0


@pytest.mark.parametrize("damage", ["short", "long", "bit", "empty", "gone"])
def test_a_damaged_state_is_told(save: Callable, turn: Callable, home: Path, perilune: Run, damage: str) -> None:
    agent = save()
    state = Path(f"{agent}.state")
    content = bytearray(state.read_bytes())
    match damage:
        case "short":
            state.write_bytes(content[:-1000])
        case "long":
            state.write_bytes(content + b"more")
        case "bit":
            content[len(content) // 2] ^= 1
            state.write_bytes(content)
        case "empty":
            state.write_bytes(b"")
        case "gone":
            state.unlink()
    (home / "load.lua").write_text(LOAD)
    refused = perilune("run", home / "load.lua", agent)
    assert refused.returncode == 1
    for words in ("cannot restore the state", "agent.json.state", "{state = false}"):
        assert words in refused.stderr, refused.stderr
    assert turn(agent, "false")["cached"] == 0


def test_what_one_client_restores_no_other_knows(save: Callable, home: Path, perilune: Run, manager: KernelManager) -> None:
    """On one kernel, whose disk the paths mean."""
    agent = save()
    (home / "load.lua").write_text(LOAD)

    def cached(state: str) -> int:
        done = perilune("--connect", manager.connection_file, "run", home / "load.lua", agent, state)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["cached"]

    assert cached("true") > 0
    assert cached("false") == 0
    assert cached("true") > 0
