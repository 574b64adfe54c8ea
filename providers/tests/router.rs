//! The way from a request to an answer, through the registry's public door, with providers that fail as they are told to.

#![expect(clippy::unwrap_used, reason = "helpers of a test, where a panic is the message")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt};
use perilune_providers::{
    ChatMessage, Config, Error, ErrorKind, Event, EventStream, FinishReason, GenerateOptions, GenerateRequest, Health,
    HealthStatus, Holding, Keep, LoadedModel, LocalProvider, ModelEntry, ModelInfo, Prompt, Provider, ProviderType,
    Registry, RouteAction, RouteDecision, RoutedRequest, Tally, Usage,
};
use tokio_util::sync::CancellationToken;

/// What an instance does with one request.
#[derive(Clone, Debug)]
enum Act {
    Answer(&'static str),
    /// Says so much, and then fails.
    Fail(&'static str, ErrorKind),
    Hang,
}

use Act::{Answer, Fail, Hang};

/// An instance elsewhere that does what it is told, request by request, and then the last thing again.
struct Actor {
    name: String,
    acts: Arc<Mutex<VecDeque<Act>>>,
    /// Whether it can say what it has.
    lists: bool,
}

impl Provider for Actor {
    fn name(&self) -> &str {
        &self.name
    }

    fn provider_type(&self) -> ProviderType {
        ProviderType::Ollama
    }

    fn generate(&self, _: GenerateRequest, _: CancellationToken) -> EventStream {
        let mut acts = self.acts.lock().unwrap();
        let act = if acts.len() > 1 { acts.pop_front().unwrap() } else { acts[0].clone() };
        let text = |text: &str| (!text.is_empty()).then(|| Ok(Event::Text(text.to_owned())));
        let usage = Usage { prompt_tokens: 3, completion_tokens: 2, ..Usage::default() };
        match act {
            Answer(answer) => {
                let end = [Ok(Event::Usage(usage)), Ok(Event::Done(FinishReason::Stop))];
                stream::iter(text(answer).into_iter().chain(end)).boxed()
            }
            Fail(answer, kind) => {
                let error = Error::Elsewhere { instance: self.name.clone(), kind, problem: "told to".to_owned() };
                stream::iter(text(answer).into_iter().chain([Err(error)])).boxed()
            }
            Hang => stream::pending().boxed(),
        }
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelEntry>, Error>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn health(&self) -> BoxFuture<'_, Health> {
        async { Health { status: HealthStatus::Ready, detail: String::new() } }.boxed()
    }

    fn local(&self) -> Option<&dyn LocalProvider> {
        Some(self)
    }
}

impl LocalProvider for Actor {
    fn info(&self, _: &str) -> BoxFuture<'_, Result<ModelInfo, Error>> {
        unimplemented_here()
    }

    fn load(&self, _: &str) -> BoxFuture<'_, Result<LoadedModel, Error>> {
        unimplemented_here()
    }

    fn keep(&self, _: &str, _: Keep) -> BoxFuture<'_, Result<LoadedModel, Error>> {
        unimplemented_here()
    }

    fn unload(&self, _: &str) -> BoxFuture<'_, Result<(), Error>> {
        unimplemented_here()
    }

    fn loaded(&self) -> BoxFuture<'_, Result<Vec<LoadedModel>, Error>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn holds(&self, model: &str) -> BoxFuture<'_, Result<Holding, Error>> {
        let holding = if model == "everywhere" { Holding::Stored } else { Holding::Absent };
        let answer = match self.lists {
            true => Ok(holding),
            false => Err(Error::Elsewhere {
                instance: self.name.clone(),
                kind: ErrorKind::Network,
                problem: "down".to_owned(),
            }),
        };
        async { answer }.boxed()
    }
}

fn unimplemented_here<T>() -> BoxFuture<'static, T> {
    panic!("no test asks that")
}

/// Instances `a` and `b` that act so, and `candle`; waits are short, so that they can be waited for.
fn registry(a: &[Act], b: &[Act], settings: &str) -> Arc<Registry> {
    registry_waiting("0.001", a, b, settings)
}

fn registry_waiting(seconds: &str, a: &[Act], b: &[Act], settings: &str) -> Arc<Registry> {
    let text = format!(
        "[routing]\nfirst_wait_seconds = {seconds}\nlongest_wait_seconds = 1000\n{settings}\n[providers.a]\ntype = \"kernel\"\n[providers.b]\ntype = \"kernel\"\n"
    );
    let config = Config::from_toml(&text, "c.toml").unwrap();
    let registry = Registry::with_kernels(&config, &|name, _, _| {
        let acts = if name == "a" { a } else { b };
        let acts = Arc::new(Mutex::new(acts.iter().cloned().collect()));
        Arc::new(Actor { name: name.to_owned(), acts, lists: name == "b" })
    });
    Arc::new(registry.unwrap())
}

fn request(models: &str) -> RoutedRequest {
    RoutedRequest {
        models: Some(models.parse().unwrap()),
        session: "s".to_owned(),
        prompt: Prompt::Chat { messages: vec![ChatMessage::user("hi")], tools: Vec::new() },
        options: GenerateOptions { max_tokens: Some(1), ..GenerateOptions::default() },
        fallback_after_text: false,
        tally: None,
        lent: false,
    }
}

/// What came of a request.
#[derive(Debug, Default)]
struct Outcome {
    decisions: Vec<RouteDecision>,
    text: String,
    done: Option<FinishReason>,
    error: Option<Error>,
}

impl Outcome {
    /// `action model` of each decision.
    fn route(&self) -> Vec<String> {
        let short = |decision: &RouteDecision| format!("{} {}", decision.action.as_str(), decision.model);
        self.decisions.iter().map(short).collect()
    }
}

async fn ask(registry: &Arc<Registry>, request: RoutedRequest) -> Outcome {
    let mut events = registry.generate(request, CancellationToken::new());
    let mut outcome = Outcome::default();
    while let Some(event) = events.next().await {
        assert!(outcome.done.is_none() && outcome.error.is_none(), "nothing follows the end");
        match event {
            Ok(Event::Route(decision)) => outcome.decisions.push(decision),
            Ok(Event::Text(text)) => outcome.text.push_str(&text),
            Ok(Event::Done(reason)) => outcome.done = Some(reason),
            Ok(_) => {}
            Err(error) => outcome.error = Some(error),
        }
    }
    outcome
}

#[tokio::test]
async fn the_first_model_that_can_answers_and_the_way_there_is_told() {
    let registry = registry(&[Fail("", ErrorKind::RateLimited)], &[Answer("b's")], "retries = 1");
    let outcome = ask(&registry, request("local/m@a, local/m@b")).await;
    let expected = ["chosen local/m@a", "retry local/m@a", "fallback local/m@a", "chosen local/m@b"];
    assert_eq!(outcome.route(), expected);
    assert_eq!((outcome.text.as_str(), outcome.done), ("b's", Some(FinishReason::Stop)));
    let retry = &outcome.decisions[1];
    assert_eq!((retry.kind.as_deref(), retry.reason.as_str()), (Some("rate_limited"), "`a`: told to"));
    assert!(retry.wait_ms.is_some());
    assert_eq!(outcome.decisions[0].reason, "`a` is named");
}

#[tokio::test]
async fn a_passing_failure_is_tried_again_and_no_other_model_is_asked() {
    let registry = registry(&[Fail("", ErrorKind::Overloaded), Answer("a's")], &[Answer("b's")], "");
    let outcome = ask(&registry, request("local/m@a,local/m@b")).await;
    assert_eq!(outcome.route(), ["chosen local/m@a", "retry local/m@a"]);
    assert_eq!(outcome.text, "a's");
}

#[tokio::test]
async fn what_another_model_would_not_mend_ends_the_request() {
    for kind in [ErrorKind::Authentication, ErrorKind::InvalidRequest, ErrorKind::ContentFilter, ErrorKind::Budget] {
        let registry = registry(&[Fail("", kind)], &[Answer("b's")], "");
        let outcome = ask(&registry, request("local/m@a,local/m@b")).await;
        assert_eq!(outcome.route(), ["chosen local/m@a", "failed local/m@a"]);
        let error = outcome.error.unwrap();
        assert_eq!((error.to_string().as_str(), error.details().route), ("`a`: told to", outcome.decisions));
    }
}

#[tokio::test]
async fn after_text_was_told_another_model_is_asked_only_if_that_is_wanted() {
    let acts = [Fail("begun", ErrorKind::Network)];
    let registry = registry(&acts, &[Answer("b's")], "retries = 0");
    let outcome = ask(&registry, request("local/m@a,local/m@b")).await;
    assert_eq!((outcome.text.as_str(), outcome.decisions.len()), ("begun", 2));
    assert_eq!(outcome.error.unwrap().kind(), ErrorKind::Network);

    let wanted = RoutedRequest { fallback_after_text: true, ..request("local/m@a,local/m@b") };
    let outcome = ask(&registry, wanted).await;
    assert_eq!(outcome.route(), ["chosen local/m@a", "fallback local/m@a", "chosen local/m@b"]);
    assert_eq!((outcome.text.as_str(), outcome.done), ("begunb's", Some(FinishReason::Stop)));
}

#[tokio::test]
async fn where_none_answers_the_error_tells_of_each() {
    let registry = registry(&[Fail("", ErrorKind::Network)], &[Fail("", ErrorKind::Overloaded)], "retries = 0");
    let error = ask(&registry, request("local/m@a,local/m@b")).await.error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    let expected = "no model answered: `local/m@a`: `a`: told to; `local/m@b`: `b`: told to";
    assert_eq!(error.to_string(), expected);
    let route = error.details().route;
    let kinds: Vec<_> = route.iter().map(|decision| (decision.action.as_str(), decision.kind.as_deref())).collect();
    let failed = ("failed", Some("overloaded"));
    assert_eq!(kinds, [("chosen", None), ("fallback", Some("network")), ("chosen", None), failed]);
    // One model alone says what it always said.
    let error = ask(&registry, request("local/m@a")).await.error.unwrap();
    assert_eq!(error.to_string(), "`a`: told to");
}

#[tokio::test]
async fn a_breaker_opens_leaves_alone_tries_and_closes() {
    let settings = "retries = 0\nbreaker_failures = 2\nbreaker_seconds = 0.05";
    let acts = [Fail("", ErrorKind::Network), Fail("", ErrorKind::Overloaded), Answer("a's")];
    let registry = registry(&acts, &[Answer("b's")], settings);
    assert_eq!(ask(&registry, request("local/m@a")).await.route(), ["chosen local/m@a", "failed local/m@a"]);
    let second = ask(&registry, request("local/m@a")).await;
    assert_eq!(second.route(), ["chosen local/m@a", "breaker_opened local/m@a", "failed local/m@a"]);
    let third = ask(&registry, request("local/m@a,local/m@b")).await;
    assert_eq!(third.route(), ["skipped local/m@a", "chosen local/m@b"]);
    assert_eq!(third.decisions[0].kind.as_deref(), Some("overloaded"), "what opened it");
    let reason = &third.decisions[0].reason;
    assert!(reason.starts_with("`a` failed 2 times in a row and is left alone for 1 s more"), "{reason}");
    // The other instance is not meant by that, nor is one that is asked once its time is over.
    let outcome = loop {
        let outcome = ask(&registry, request("local/m@a")).await;
        if outcome.error.is_none() {
            break outcome;
        }
        assert_eq!(outcome.route(), ["skipped local/m@a"]);
        tokio::task::yield_now().await;
    };
    assert_eq!(outcome.route(), ["chosen local/m@a", "breaker_closed local/m@a"]);
    assert_eq!(outcome.decisions[0].reason, "`a` is named; on trial after 2 failures");
    assert_eq!(ask(&registry, request("local/m@a")).await.route(), ["chosen local/m@a"]);
}

#[tokio::test]
async fn the_requests_own_time_is_for_all_models_and_waits_together() {
    let registry = registry(&[Hang], &[Answer("b's")], "");
    let mut hurried = request("local/m@a,local/m@b");
    hurried.options.timeout_seconds = Some(0.02);
    let outcome = ask(&registry, hurried).await;
    assert_eq!(outcome.route(), ["chosen local/m@a"]);
    let error = outcome.error.unwrap();
    assert!(error.to_string().contains("the request's own `timeout_seconds`"), "{error}");
    assert_eq!((error.kind(), error.details().route), (ErrorKind::Timeout, outcome.decisions));
}

#[tokio::test]
async fn a_cancelled_wait_ends_as_every_cancelled_stream_does() {
    let registry = registry_waiting("1000", &[Fail("", ErrorKind::Overloaded)], &[Hang], "");
    let cancel = CancellationToken::new();
    let mut events = registry.generate(request("local/m@a"), cancel.clone());
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        let event = event.unwrap();
        if matches!(&event, Event::Route(decision) if decision.action == RouteAction::Retry) {
            cancel.cancel();
        }
        told.push(event);
    }
    assert_eq!(told[told.len() - 2..], [Event::Usage(Usage::default()), Event::Done(FinishReason::Cancelled)]);
}

#[tokio::test]
async fn a_model_that_may_be_on_an_instance_that_is_down_is_passed_over() {
    let registry = registry(&[Hang], &[Answer("b's")], "");
    let outcome = ask(&registry, request("local/nowhere, local/everywhere")).await;
    assert_eq!(outcome.route(), ["skipped local/nowhere", "chosen local/everywhere@b"]);
    let reason = &outcome.decisions[1].reason;
    assert_eq!(reason, "it is stored on `b`; could not be asked: `a`: down");
}

#[tokio::test]
async fn every_attempt_is_counted_and_a_model_of_this_process_is_asked_once() {
    let registry = registry(&[Fail("", ErrorKind::RateLimited)], &[Answer("b's")], "retries = 1");
    let tally = Arc::new(Tally::default());
    let models = "local/m@a,local/m@b";
    ask(&registry, RoutedRequest { tally: Some(tally.clone()), ..request(models) }).await;
    let spent = tally.spent();
    assert_eq!((spent["local/m@a"].requests, spent["local/m@a"].untold), (2, 2));
    assert_eq!((spent["local/m@b"].requests, spent["local/m@b"].prompt_tokens), (1, 3));
    let outcome = ask(&registry, request("moonlet@candle")).await;
    assert_eq!(
        (outcome.route(), outcome.done),
        (vec!["chosen local/moonlet@candle".to_owned()], Some(FinishReason::Length))
    );
}
