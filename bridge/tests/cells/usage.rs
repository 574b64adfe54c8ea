//! Which model answered and why, what that took, and what is left of a budget, as scripts see it.

use std::sync::Arc;

use perilune_bridge::WorkspaceOptions;
use perilune_providers::{Config, Tally};

use crate::notebook::{Notebook, options};

#[tokio::test]
async fn an_answer_tells_the_way_to_it() {
    let mut notebook = Notebook::start();
    notebook
        .run("answer = LocalLLM.chat('hi', {model = {'local/moonlet@candle', 'x/y'}, max_tokens = 1}) return answer.model, #answer.route")
        .await
        .expect_result("local/moonlet@candle\t1");
    notebook
        .run("local d = answer.route[1] return d.action, d.model, d.reason, d.kind")
        .await
        .expect_result("chosen\tlocal/moonlet@candle\t`candle` is named\tnil");
    notebook.run("LocalLLM.chat('hi', {model = {}})").await.expect_error(
        "cell 3:1: option `model` of LocalLLM.chat is a table; expected a model's name or a list of at least one",
    );
    notebook
        .run("local a = LocalLLM.chat('hi', {model = 'x/y, moonlet', max_tokens = 1}) return a.route[1].action, a.route[1].kind, a.model")
        .await
        .expect_result("skipped\tprovider_not_found\tlocal/moonlet@candle");
}

#[tokio::test]
async fn what_requests_took_is_told_by_run_and_from_the_ledger() {
    let mut notebook = Notebook::start();
    notebook.run("#Usage.spent(), next(Usage.budget().run)").await.expect_result("0\tnil");
    notebook.run("took = LocalLLM.chat('hi', {max_tokens = 3}).usage").await.expect_nothing();
    notebook
        .run("local s = Usage.spent()[1] return s.model, s.requests, s.prompt_tokens == took.prompt_tokens, s.completion_tokens, s.usd")
        .await
        .expect_result("local/moonlet@candle\t1\ttrue\t3\t0.0");
    notebook
        .run("local h = Usage.history({by = 'instance', since = 'today'}) return h.rows[1].key, h.total.completion_tokens, h.total.failed")
        .await
        .expect_result("candle\t3\t0");
    for (options, told) in [
        ("{by = 'week'}", "`week` is nothing to sum usage by"),
        ("{since = 'then'}", "`then` is no time"),
        ("{sinc = '7d'}", "unknown option `sinc` of Usage.history"),
        ("{since = 7}", "option `since` of Usage.history is"),
        ("7", "the options of Usage.history are"),
    ] {
        let ran = notebook.run(&format!("Usage.history({options})")).await;
        assert!(ran.failure().message.contains(told), "{:?}", ran.failure());
    }
}

#[tokio::test]
async fn a_spent_budget_is_a_stop_with_a_kind() {
    let config = Config::from_toml("[budget]\nrun_tokens = 20", "c.toml").expect("a configuration");
    let tally = Arc::new(Tally::new(&config.budget));
    let mut notebook = Notebook::with(WorkspaceOptions { tally, ..options() });
    let warned =
        notebook.run("LocalLLM.chat('hi', {max_tokens = 2, model = 'moonlet@candle'}).usage.total_tokens > 0").await;
    let asked = notebook
        .run("for _ = 1, 30 do local ok, e = pcall(LocalLLM.generate, 'hi', {max_tokens = 2}) if not ok then return e.kind, e.message end end")
        .await;
    let told = asked.result().to_owned();
    assert!(told.starts_with("budget\tthe budget of this run is spent: "), "{told}");
    let warnings = format!("{}{}", warned.stderr, asked.stderr);
    assert_eq!(warnings.matches("of the budget of this run are spent").count(), 1, "{warnings}");
    notebook
        .run("local tokens = Usage.budget().run.tokens return tokens.limit, tokens.spent >= tokens.limit")
        .await
        .expect_result("20\ttrue");
}
