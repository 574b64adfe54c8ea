"""Which model answers, what is done when one cannot, what that took and when it is enough: through the command line, against
servers on this machine that misbehave as they are told to."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Run
from openai_server import DONE, Play, Request, Server, by_path, error, models, piece, refuses, serving, stream, usage

KEY = "sk-planted-key-0123456789"
PROMPT = "the planted prompt about herons"
WORD = "zyzzyvas"
"""A word of every answer."""


LIMITED = refuses("429 Too Many Requests", error("told to"), Retry_After="0")
BUSY = refuses("503 Service Unavailable", error("told to"))
BROKEN = stream(piece(content="half an "), piece(content="answer"))


def hangs(connection: socket.socket, _: Request) -> None:
    """Says nothing until the client goes."""
    while connection.recv(1024):
        pass


def answers(text: str) -> Play:
    """A sound answer of so many words, each a token, to a prompt of 100."""
    words = [piece(content=f"{word} ") for word in text.split()]
    return stream(*words, piece("stop"), usage(prompt_tokens=100, completion_tokens=len(words)), DONE)


class Servers:
    """Servers by name, each an instance of the configuration."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home = home
        self.stack = stack
        self.servers: dict[str, Server] = {}

    def __call__(self, tables: str = "", routing: str = "", provider: str = "", **plays: list[Play] | None) -> None:
        """Starts servers that play this one after another; `None` is one that does not listen."""
        text = f"[routing]\nfirst_wait_seconds = 0.01\n{routing}\n{tables}\n"
        for name, played in plays.items():
            with ExitStack() as closed:
                server = (self.stack if played else closed).enter_context(serving(*(played or [BUSY])))
            self.servers[name] = server
            text += f'[providers.{name}]\ntype = "openai"\nbase_url = "{server.url}"\napi_key = "{KEY}"\n{provider}\n'
        (self.home / "config.toml").write_text(text)

    def asked(self, name: str) -> int:
        return len(self.servers[name].requests)


@pytest.fixture
def servers(home: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(home, stack)


def answer(model: str, rest: str = "") -> str:
    return f"LocalLLM.chat({PROMPT!r}, {{ model = {model!r}{rest} }})"


def decisions(log: str) -> list[str]:
    """`action model` of each decision that `-v` shows."""
    return re.findall(r"route: (\w+(?: by [\w, ]+)? \S+?)(?: in \d+ ms)?: ", log)


@pytest.mark.parametrize(
    ("plays", "kind", "asked"),
    [([LIMITED], "rate_limited", 3), ([BUSY], "overloaded", 3), ([hangs], "timeout", 1), (None, "network", 0)],
    ids=["429", "503", "hang", "refuse"],
)
def test_the_next_model_answers_where_one_cannot(
    perilune: Run, servers: Servers, plays: list[Play] | None, kind: str, asked: int
) -> None:
    servers(provider="timeout_seconds = 0.4" if kind == "timeout" else "", bad=plays, good=[answers(WORD)])
    ran = perilune("-v", "exec", "--model", "bad/m,good/m", f"LocalLLM.generate({PROMPT!r})")
    assert (ran.returncode, ran.stdout.strip()) == (0, WORD), ran.stderr
    tries = ["retry bad/m"] * (0 if kind == "timeout" else 2)
    assert decisions(ran.stderr) == ["chosen bad/m", *tries, "fallback bad/m", "chosen good/m"]
    assert (servers.asked("bad"), servers.asked("good")) == (asked, 1)
    alone = perilune("exec", "local _, e = pcall(LocalLLM.generate, 'x', { model = 'bad/m' }) print(e.kind)")
    assert alone.stdout.strip() == kind


@pytest.mark.parametrize("missing", ["local/nothing_like_it", "nowhere/m"])
def test_a_model_that_is_not_there_is_passed_over(perilune: Run, servers: Servers, missing: str) -> None:
    servers(good=[answers(WORD)])
    ran = perilune("-v", "exec", "--model", f"{missing},good/m", f"LocalLLM.generate({PROMPT!r})")
    assert (ran.returncode, ran.stdout.strip()) == (0, WORD), ran.stderr
    assert decisions(ran.stderr) == [f"skipped {missing}", "chosen good/m"]


def test_lua_sees_the_way_to_the_answer(perilune: Run, servers: Servers) -> None:
    servers(bad=[BUSY, answers("now it answers")], good=[answers(WORD)])
    code = """
        local a = LocalLLM.chat('hi', { model = { 'bad/m', 'good/m' } })
        for _, d in ipairs(a.route) do print(d.action, d.model, d.kind, d.wait_ms ~= nil) end
        print(a.text, a.model)
    """
    ran = perilune("exec", code)
    assert ran.stdout.splitlines() == ["chosen\tbad/m\tnil\tfalse", "retry\tbad/m\toverloaded\ttrue", "now it answers \tbad/m"], ran.stderr


def test_the_default_backend_is_asked_first_whatever_its_type(perilune: Run, servers: Servers) -> None:
    has = by_path(models=models("far", "moonlet"), completions=answers(WORD))
    servers(first=[has])
    config = servers.home / "config.toml"
    config.write_text('default_backend = "first"\n' + config.read_text())
    code = "local a = LocalLLM.chat('hi', {{ model = '{}' }}) return a.model, a.route[1].reason"
    for model in ("local/far", "moonlet"):
        ran = perilune("exec", code.format(model))
        assert "first/" + model.removeprefix("local/") in ran.stdout and "the default backend `first` has it" in ran.stdout, ran.stdout + ran.stderr
    # What it has not is looked for elsewhere, and who was asked is told.
    config.write_text(config.read_text().replace("[providers.first]", "[providers.candle]\n[providers.first]"))
    refused = perilune("exec", "return LocalLLM.chat('hi', { model = 'local/nowhere' })")
    assert refused.returncode == 1 and "`first`" in refused.stderr and "`candle`" in refused.stderr, refused.stderr


def test_a_server_is_waited_for_as_it_asks_but_not_longer_than_allowed(perilune: Run, servers: Servers) -> None:
    later = refuses("429 Too Many Requests", error("told to"), Retry_After="1")
    much_later = refuses("429 Too Many Requests", error("told to"), Retry_After="60")
    servers(routing="longest_wait_seconds = 2", polite=[later, answers(WORD)], slow=[much_later])
    started = time.monotonic()
    ran = perilune("-v", "exec", answer("polite/m") + ".text")
    assert WORD in ran.stdout, ran.stderr
    assert time.monotonic() - started >= 1
    started = time.monotonic()
    ran = perilune("-v", "exec", answer("slow/m") + ".text")
    assert ran.returncode == 1 and "60" in ran.stderr, ran.stderr
    assert time.monotonic() - started < 20
    assert servers.asked("slow") == 1


def test_after_text_nobody_else_is_asked_unless_that_is_wanted(perilune: Run, servers: Servers) -> None:
    servers(broken=[BROKEN], good=[answers(WORD)])
    ran = perilune("-v", "exec", answer("broken/m,good/m") + ".text")
    assert ran.returncode == 1 and servers.asked("good") == 0, ran.stderr
    assert decisions(ran.stderr) == ["chosen broken/m", "failed broken/m"]
    wanted = perilune("exec", answer("broken/m,good/m", ", fallback_after_text = true") + ".text")
    assert wanted.stdout.strip() == WORD, wanted.stderr


def test_a_breaker_leaves_a_server_alone_and_tries_it_again(perilune: Run, servers: Servers) -> None:
    servers(routing="retries = 0\nbreaker_seconds = 0.3", flaky=[BUSY] * 5 + [answers(WORD)])
    code = """
        local deadline = os.time() + 20
        for _ = 1, 6 do pcall(LocalLLM.generate, 'x', { model = 'flaky/m' }) end
        local failures = 0
        while os.time() < deadline do
          local ok, said = pcall(LocalLLM.generate, 'x', { model = 'flaky/m' })
          if ok then return said end
          assert(tostring(said.message):find('left alone'), said.message)
          assert(said.kind == 'overloaded' and said.route[1].kind == 'overloaded', said.kind)
          assert(said.retry_after == nil or said.retry_after <= 1, said.retry_after)
        end
    """
    ran = perilune("-v", "exec", code, timeout=60)
    assert WORD in ran.stdout, ran.stderr
    told = decisions(ran.stderr)
    tried = ["chosen flaky/m", "failed flaky/m"]
    assert told[:12] == tried * 4 + ["chosen flaky/m", "breaker_opened flaky/m", "failed flaky/m", "skipped flaky/m"], told
    assert told[-2:] == ["chosen flaky/m", "breaker_closed flaky/m"]
    assert "on trial after 5 failures" in ran.stderr
    assert servers.asked("flaky") == 6


def test_the_ledger_adds_up(perilune: Run, servers: Servers) -> None:
    prices = '[prices]\n"good/m" = { input = 1000, output = 10000 }\n'
    servers(prices, bad=[BUSY], good=[answers("one two three four")])
    for _ in range(2):
        ran = perilune("exec", "--model", "bad/m,good/m", "LocalLLM.generate('x') return Usage.spent()[2].usd")
        assert ran.stdout.strip() == "0.14", ran.stderr
    reply = json.loads(perilune("usage", "--output", "json").stdout)
    rows = {row["key"]: row for row in reply["rows"]}
    good, bad = rows["good/m"], rows["bad/m"]
    assert (good["requests"], good["failed"], good["prompt_tokens"], good["completion_tokens"]) == (2, 0, 200, 8)
    assert good["usd"] == pytest.approx(0.28)
    assert good["first_token_ms"] > 0
    assert (bad["requests"], bad["failed"], bad["prompt_tokens"], bad["usd"]) == (6, 6, 0, None)
    assert (reply["total"]["requests"], reply["total"]["usd"]) == (8, pytest.approx(0.28))
    by_session = json.loads(perilune("usage", "--by", "session", "--since", "today", "--output", "json").stdout)
    assert len(by_session["rows"]) == 2
    assert "good/m" in perilune("usage").stdout
    wrong = perilune("usage", "--since", "yesterday")
    assert wrong.returncode == 2 and "such as `7d`" in wrong.stderr


def test_a_budget_of_a_run_warns_and_stops(perilune: Run, servers: Servers) -> None:
    servers(good=[answers("one two three four")])
    code = f"for _ = 1, 9 do {answer('good/m')} end"
    ran = perilune("exec", "--budget-tokens", "250", f"{code}")
    assert ran.returncode == 1
    assert "warning: 83 % of the budget of this run are spent: 208 of 250 tokens" in ran.stderr, ran.stderr
    assert "the budget of this run is spent: 312 of 250 tokens" in ran.stderr
    assert "--budget-tokens" in ran.stderr
    assert servers.asked("good") == 3
    kind = perilune("exec", "--budget-tokens", "1", "local _, e = pcall(LocalLLM.chat, 'x', { model = 'good/m' }) print(e.kind)")
    assert kind.stdout == "budget\n", kind


def test_an_answer_that_goes_on_ends_with_the_budget(perilune: Run, servers: Servers) -> None:
    servers(endless=[answers("word " * 5000)])
    ran = perilune("exec", "--budget-tokens", "50", answer("endless/m"))
    assert ran.returncode == 1 and "51 of 50 tokens" in ran.stderr, ran.stderr


def test_a_budget_of_a_day_is_for_all_runs_together(perilune: Run, servers: Servers) -> None:
    prices = '[prices]\n"good/m" = { input = 1000, output = 10000 }\n[budget]\nday_usd = 0.2\n'
    servers(prices, good=[answers("one two three four")])
    assert perilune("exec", answer("good/m") + ".text").returncode == 0
    second = perilune("exec", answer("good/m") + ".text")
    assert second.returncode == 0 and "warning: " in second.stderr, second.stderr
    third = perilune("exec", answer("good/m") + ".text")
    assert third.returncode == 1 and "the budget of today is spent: $0.280000 of $0.2" in third.stderr, third.stderr
    assert servers.asked("good") == 2
    # What costs nothing is not paid for, but a spent budget is a stop.
    chat = perilune("chat", "good/m", input="hi")
    assert chat.returncode == 1 and "budget" in chat.stderr
    budgets = json.loads(perilune("usage", "--output", "json").stdout)["budgets"]
    assert budgets == [{"period": "day", "unit": "usd", "spent": pytest.approx(0.28), "limit": 0.2}]


def test_a_project_does_not_decide_what_may_be_spent(perilune: Run, servers: Servers, tmp_path: Path) -> None:
    servers("[budget]\nrun_tokens = 1\n", good=[answers(WORD)])
    project = tmp_path / "project"
    project.mkdir()
    (project / "perilune.toml").write_text("[budget]\nrun_tokens = 100000\n")
    ran = perilune("exec", answer("good/m") + " " + answer("good/m"), cwd=project)
    assert "`run_tokens` in [budget] was ignored" in ran.stderr, ran.stderr
    assert "of 1 tokens" in ran.stderr


def test_no_key_prompt_or_answer_is_in_the_log(binary: Path, servers: Servers) -> None:
    half = stream(piece(content=f"half an {WORD}"))
    # Servers quote what they refuse.
    quotes = refuses("503 Service Unavailable", error(f"too busy for: {PROMPT}"))
    servers(bad=[LIMITED, BUSY], broken=[half], quotes=[quotes], good=[answers(WORD)])
    code = f"""
        for _, model in ipairs {{ 'bad/m,good/m', 'broken/m', 'quotes/m,good/m', 'good/m', 'local/moonlet@candle' }} do
          local ok, said = pcall(LocalLLM.chat, {PROMPT!r}, {{ model = model, max_tokens = 4 }})
        end
    """
    settings = {"capture_output": True, "text": True, "timeout": 60, "stdin": subprocess.DEVNULL}
    ran = subprocess.run([binary, "-vv", "exec", code], env=os.environ | {"PERILUNE_LOG": "trace"}, **settings)
    assert ran.returncode == 0, ran.stderr
    assert "route: " in ran.stderr and "TRACE" in ran.stderr
    for planted in (KEY, PROMPT, "herons", WORD):
        assert planted not in ran.stderr + ran.stdout, planted


def test_a_price_that_is_not_known_is_told_where_money_is_limited(perilune: Run, servers: Servers) -> None:
    servers(good=[answers(WORD)], priced=[answers(WORD)], tables='[prices]\n"priced/m" = { input = 1, output = 1 }\n')
    code = f"for _ = 1, 2 do {answer('good/m')} {answer('priced/m')} end"
    ran = perilune("exec", "--budget-usd", "5", code)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("the price of `good/m` is not known") == 1 and "`priced/m`" not in ran.stderr, ran.stderr
    assert "budget of this run, $5" in ran.stderr and "[prices]" in ran.stderr
    assert "not known" not in perilune("exec", "--budget-tokens", "5000", code).stderr
    config = servers.home / "config.toml"
    config.write_text("[budget]\nday_usd = 7\n" + config.read_text())
    assert "budget of today, $7" in perilune("exec", code).stderr


def test_requests_are_told_one_by_one(perilune: Run, servers: Servers) -> None:
    untold = stream(piece(content=WORD), piece("stop"), DONE)
    servers(routing="retries = 0", good=[answers(WORD), untold, BUSY])
    for _ in range(3):
        perilune("exec", answer("good/m"))
    told = json.loads(perilune("usage", "--by", "request", "--output", "json").stdout)
    assert [row["outcome"] for row in told["rows"]] == ["overloaded", "stop", "stop"], "the newest first"
    first = told["rows"][-1]
    assert (first["model"], first["instance"], first["untold"]) == ("good/m", "good", 0)
    assert (first["prompt_tokens"], first["completion_tokens"]) == (100, 1)
    assert first["first_token_ms"] > 0 and first["session"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", first["key"])
    assert len({row["session"] for row in told["rows"]}) == 3
    text = perilune("usage", "--by", "request").stdout
    assert text.splitlines()[0].split()[:6] == ["REQUEST", "SESSION", "MODEL", "INSTANCE", "OUTCOME", "UNTOLD"]
    assert first["key"] in text and first["session"][:8] in text
    summed = perilune("usage").stdout
    assert "UNTOLD" in summed and "untold: 2 requests" in summed
    code = "for _, row in ipairs(Usage.history({ by = 'request' }).rows) do print(row.outcome, row.model) end"
    assert perilune("exec", code).stdout.splitlines() == ["overloaded\tgood/m", "stop\tgood/m", "stop\tgood/m"]
