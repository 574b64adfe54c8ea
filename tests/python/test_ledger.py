"""Which of several models answers, what that took, and when it is enough, with models of this process and a kernel that is not
there. `test_routing.py` has servers that misbehave in more ways."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import Run
from frontend import Frontend
from jupyter_client import KernelManager

GONE = '[providers.gone]\ntype = "kernel"\nconnection_file = "nowhere.json"\n'
ASK = "LocalLLM.chat('Hello!', { max_tokens = 4 })"


def decisions(log: str) -> list[str]:
    """`action model` of each decision that `-v` shows."""
    return re.findall(r"route: (\w+(?: by [\w, ]+)? \S+?)(?: in \d+ ms)?: ", log)


def usage(perilune: Run, *arguments: str) -> dict:
    ran = perilune("usage", "--output", "json", *arguments)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_next_model_answers_where_a_kernel_is_not_there(perilune: Run, home: Path) -> None:
    (home / "config.toml").write_text(GONE)
    ran = perilune("-v", "exec", "--model", "m@gone", "--model", "moonlet@candle", f"{ASK}.model")
    assert ran.stdout.strip() == "local/moonlet@candle", ran.stderr
    assert decisions(ran.stderr) == ["chosen local/m@gone", "fallback local/m@gone", "chosen local/moonlet@candle"]
    quiet = perilune("exec", "--model", "m@gone,moonlet@candle", f"{ASK}.model")
    assert (quiet.stdout, quiet.stderr) == (ran.stdout, "")
    (home / "config.toml").write_text('default_model = "m@gone, moonlet@candle"\n' + GONE)
    chat = perilune("-v", "chat", input="hi")
    assert chat.returncode == 0 and chat.stdout.strip(), chat.stderr
    assert decisions(chat.stderr)[-1] == "chosen local/moonlet@candle"
    alone = perilune("exec", "--model", "m@gone,n@gone", ASK)
    assert alone.returncode == 1 and "no model answered: `local/m@gone`: " in alone.stderr and "; `local/n@gone`: " in alone.stderr


def test_a_kernel_that_is_not_there_is_found_once_it_is(perilune: Run, home: Path) -> None:
    """The link knows itself when it is worth asking: no breaker keeps a kernel waiting that is back."""
    (home / "config.toml").write_text(GONE)
    code = "for _ = 1, 7 do local _, e = pcall(LocalLLM.generate, 'x', { model = 'm@gone' }) print(e.kind, e.message) end"
    ran = perilune("-v", "exec", code)
    lines = ran.stdout.splitlines()
    assert len(lines) == 7 and all(line.startswith("network\t") for line in lines), ran.stdout
    assert "left alone" not in ran.stdout
    assert decisions(ran.stderr) == ["chosen local/m@gone", "failed local/m@gone"] * 7


def test_a_model_without_a_backend_says_why_it_is_where_it_is(perilune: Run, home: Path) -> None:
    (home / "config.toml").write_text('[providers.box]\ntype = "candle"\n')
    one = "LocalLLM.chat('hi', { model = 'local/moonlet', max_tokens = 1 }).route[1].reason"
    assert perilune("exec", one).stdout.strip() == "it is stored on `box`"
    loaded = perilune("exec", f"LocalLLM.load('moonlet@candle') return {one}")
    assert loaded.stdout.strip() == "it is in memory on `candle`"
    (home / "config.toml").write_text('default_backend = "candle"\n[providers.box]\ntype = "candle"\n')
    assert perilune("exec", one).stdout.strip() == "the default backend `candle` has it"


def test_decisions_come_from_a_kernel_elsewhere_and_through_model_request(
    perilune: Run, manager: KernelManager, frontend: Frontend
) -> None:
    asked = frontend.model("chat", model="local/moonlet@candle, x/y", messages=[{"role": "user", "content": "hi"}], options={"max_tokens": 1})
    told = [arrival.content for arrival in asked.all("model_event")]
    events = [event for event in told if event["event"] == "route_decision"]
    assert [(event["action"], event["model"]) for event in events] == [("chosen", "local/moonlet@candle")]
    assert asked.reply["route"] == [{key: value for key, value in events[0].items() if key != "event"}]
    file = manager.connection_file
    ran = perilune("-v", "--connect", file, "exec", "--model", "moonlet@candle", "LocalLLM.generate('hi', { max_tokens = 1 })")
    assert decisions(ran.stderr) == ["chosen local/moonlet@candle"], ran.stderr


def test_the_ledger_adds_up_over_runs(perilune: Run, home: Path) -> None:
    (home / "config.toml").write_text(GONE)
    took = perilune("exec", f"local u = {ASK}.usage print(u.prompt_tokens, u.completion_tokens)").stdout.split()
    prompt, answer = map(int, took)
    perilune("exec", "--model", "m@gone,moonlet@candle", ASK)
    reply = usage(perilune)
    rows = {row["key"]: row for row in reply["rows"]}
    here, gone = rows["local/moonlet@candle"], rows["local/m@gone"]
    assert (here["requests"], here["failed"], here["prompt_tokens"], here["completion_tokens"]) == (2, 0, 2 * prompt, 2 * answer)
    assert here["usd"] == 0 and here["first_token_ms"] > 0
    assert (gone["requests"], gone["failed"], gone["untold"], gone["completion_tokens"]) == (1, 1, 1, 0)
    assert (reply["total"]["requests"], reply["total"]["prompt_tokens"]) == (3, 2 * prompt)
    assert len(usage(perilune, "--by", "session", "--since", "today")["rows"]) == 2
    assert [row["key"] for row in usage(perilune, "--by", "instance", "--since", "1h")["rows"]] == ["candle", "gone"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", usage(perilune, "--by", "day")["rows"][0]["key"])
    assert "local/moonlet@candle" in perilune("usage").stdout
    perilune("exec", "LocalLLM.generate('x', { temperature = 20, top_k = 0, top_p = 1, min_p = 0, max_tokens = 300 })")
    assert usage(perilune, "--by", "request")["rows"][0]["tokens_per_second"] > 0
    wrong = perilune("usage", "--since", "yesterday")
    assert wrong.returncode == 2 and "such as `7d`" in wrong.stderr
    assert (home / "ledger.sqlite3").stat().st_mode & 0o777 == 0o600
    assert b"Hello!" not in (home / "ledger.sqlite3").read_bytes()


def test_a_budget_of_a_run_warns_once_and_stops(perilune: Run, home: Path) -> None:
    code = f"for _ = 1, 30 do {ASK} end"
    ran = perilune("exec", "--budget-tokens", "60", code)
    assert ran.returncode == 1, ran.stdout
    assert ran.stderr.count("of the budget of this run are spent") == 1, ran.stderr
    assert "the budget of this run is spent: " in ran.stderr and "--budget-tokens" in ran.stderr
    assert perilune("exec", "--budget-tokens", "100000", ASK).returncode == 0
    kind = perilune("exec", "--budget-tokens", "1", f"{ASK} local _, e = pcall(LocalLLM.generate, 'x') print(e.kind)")
    assert "budget" in kind.stdout + kind.stderr


def test_a_budget_of_a_day_is_for_all_runs_together(perilune: Run, home: Path) -> None:
    (home / "config.toml").write_text("[budget]\nday_tokens = 40\n")
    runs = [perilune("exec", ASK) for _ in range(6)]
    assert [run.returncode for run in runs][0] == 0
    last = runs[-1]
    assert last.returncode == 1 and "the budget of today is spent" in last.stderr, last.stderr
    chat = perilune("chat", input="hi")
    assert chat.returncode == 1 and "the budget of today is spent" in chat.stderr
    [day] = usage(perilune)["budgets"]
    assert (day["period"], day["unit"], day["limit"]) == ("day", "tokens", 40) and day["spent"] >= 40


def test_a_project_does_not_decide_what_may_be_spent(perilune: Run, home: Path, tmp_path: Path) -> None:
    (home / "config.toml").write_text("[budget]\nrun_tokens = 1\n")
    project = tmp_path / "project"
    project.mkdir()
    (project / "perilune.toml").write_text("[budget]\nrun_tokens = 100000\n[prices]\n'm' = { input = 0, output = 0 }\n")
    ran = perilune("exec", f"pcall(function() {ASK} end) {ASK}", cwd=project)
    assert "`run_tokens` in [budget] was ignored" in ran.stderr and "`m` in [prices] was ignored" in ran.stderr, ran.stderr
    assert "of 1 tokens" in ran.stderr


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("[budget]\nday_usd = -1", "`day_usd` in [budget] must be a number of US dollars above 0, not `-1`"),
        ("[budget]\nwarn_at = 2", "`warn_at` in [budget] must be a share from 0 to 1"),
        ("[budget]\nday_token = 1", "unknown key `day_token` in [budget]; did you mean `day_tokens`?"),
        ("[prices]\n'm' = { input = 1 }", "`m` in [prices] must be US dollars per million tokens"),
        ("[routing]\nretries = 'many'", "`retries` in [routing] must be an integer from 0 to 20, not a string"),
        ("routing = 3", "`routing` in the top level must be a table, not an integer"),
    ],
)
def test_a_wrong_setting_is_told_with_its_place(perilune: Run, home: Path, table: str, told: str) -> None:
    (home / "config.toml").write_text(table + "\n")
    ran = perilune("exec", "1")
    assert ran.returncode == 2 and told in ran.stderr, ran.stderr
