//! One place for the way from a request to an answer: which model is asked, what is done when it cannot answer, and what is
//! said of that. Every decision is an [`Event::Route`] among the answer's events, and the model that an answer is of is
//! the one that was [`RouteAction::Chosen`] last.
//!
//! [`embed`] is the same way for embeddings. [`policy`] says what follows from a failure, [`breaker`] which instance is left
//! alone. Which instance a specifier means is the registry's business. Instances in this process are asked once: they queue
//! requests themselves.

mod breaker;
mod embed;
mod policy;

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use perilune_engine::{Event, FinishReason, GenerateOptions, Prompt, RouteAction, RouteDecision, Usage};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use self::breaker::{Breakers, LeftAlone, Permit};
use self::embed::Embeds;
pub use self::embed::{EmbedEvent, EmbedStream, RoutedEmbed};
use self::policy::Next;
use crate::config::{Config, RoutingConfig};
use crate::deadline::{Limit, limited};
use crate::error::{Error, ErrorDetails, ErrorKind, Unanswered};
use crate::meter::Meter;
use crate::model_list::ModelList;
use crate::prices::{self, Price};
use crate::provider::{EventStream, GenerateRequest, ProviderType};
use crate::registry::{Registry, Resolved};
use crate::specifier::ModelSpecifier;
use crate::tally::Tally;

/// A request to whichever of some models can answer it.
#[derive(Clone, Debug)]
pub struct RoutedRequest {
    /// The models, in the order in which they are asked; `None` for the default.
    pub models: Option<ModelList>,
    /// Who asks, as in [`GenerateRequest`].
    pub session: String,
    /// What to continue.
    pub prompt: Prompt,
    /// How to continue it. `timeout_seconds` is for all models and waits together.
    pub options: GenerateOptions,
    /// Whether another model is asked also after a part of the answer was told, which then begins anew.
    pub fallback_after_text: bool,
    /// What it takes is counted there, too.
    pub tally: Option<Arc<Tally>>,
    /// Whether another kernel asks, which keeps its own ledger.
    pub lent: bool,
}

/// What routing knows from one request to the next.
#[derive(Debug)]
pub(crate) struct Routing {
    config: RoutingConfig,
    breakers: Arc<Breakers>,
    /// The user's own.
    prices: BTreeMap<String, Price>,
}

impl Routing {
    pub(crate) fn new(config: &Config) -> Routing {
        let routing = &config.routing;
        let breakers = Breakers::new(routing.breaker_failures, routing.breaker_pause);
        Routing { config: routing.clone(), breakers, prices: config.prices.clone() }
    }

    /// What a model costs, where that is known. What this process computes costs nobody's money.
    fn price(&self, model: &Resolved) -> Option<Price> {
        let own = self.prices.get(&model.specifier.to_string()).copied();
        own.or_else(|| match model.provider.provider_type() {
            ProviderType::Candle => Some(Price { input: 0.0, cached_input: None, output: 0.0 }),
            _ => prices::known(model.provider.vendor()?, &model.model),
        })
    }
}

impl Registry {
    /// Answers with the first model that can. Nothing happens until the stream is polled; dropping it cancels.
    pub fn generate(self: &Arc<Registry>, request: RoutedRequest, cancel: CancellationToken) -> EventStream {
        Route::of(self, request, None, cancel)
    }
}

/// A request on its way.
struct Route {
    registry: Arc<Registry>,
    request: RoutedRequest,
    /// Set where vectors are asked for, and no answer.
    embeds: Option<Embeds>,
    cancel: CancellationToken,
    /// The models that were not asked yet.
    rest: VecDeque<ModelSpecifier>,
    /// Events that are only to be handed over.
    told: VecDeque<Event>,
    /// The models that could not answer, and why.
    failures: Vec<Unanswered>,
    /// Whether a part of an answer was handed over.
    shown: bool,
    stage: Stage,
}

enum Stage {
    /// Take the next model of the list.
    Choose,
    Ask(Asked),
    /// Ask again then.
    Wait(Asked, Instant),
    Answering(Asked, Option<Permit>, EventStream),
    Failed(Error),
    Ended,
}

/// A model and how often it was asked.
struct Asked {
    resolved: Resolved,
    times: u32,
}

impl Route {
    fn of(
        registry: &Arc<Registry>,
        request: RoutedRequest,
        embeds: Option<Embeds>,
        cancel: CancellationToken,
    ) -> EventStream {
        let models = request.models.as_ref().unwrap_or(registry.default_models());
        let limit = Limit::of_time(&models.to_string(), request.options.timeout_seconds, "", None);
        let route = Route {
            rest: models.iter().cloned().collect(),
            registry: Arc::clone(registry),
            request,
            embeds,
            cancel,
            told: VecDeque::new(),
            failures: Vec::new(),
            shown: false,
            stage: Stage::Choose,
        };
        let events = stream::unfold(route, |mut route| async move { Some((route.next().await?, route)) });
        with_route(limited(events.boxed(), limit))
    }

    async fn next(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if let Some(event) = self.told.pop_front() {
                return Some(Ok(event));
            }
            self.stage = match mem::replace(&mut self.stage, Stage::Ended) {
                Stage::Choose => self.choose().await,
                Stage::Ask(asked) => self.ask(asked).await,
                Stage::Wait(asked, until) => {
                    tokio::select! {
                        () = self.cancel.cancelled() => self.cancelled(),
                        () = sleep_until(until.into()) => Stage::Ask(asked),
                    }
                }
                Stage::Answering(asked, permit, mut events) => match events.next().await {
                    Some(Ok(event)) => {
                        let permit = self.heard(&asked, permit, event);
                        Stage::Answering(asked, permit, events)
                    }
                    Some(Err(error)) => self.failed(asked, permit, error),
                    None => Stage::Ended,
                },
                Stage::Failed(error) => return Some(Err(error)),
                Stage::Ended => return None,
            };
        }
    }

    /// Finds the next model of the list.
    async fn choose(&mut self) -> Stage {
        let Some(model) = self.rest.pop_front() else { return self.nobody() };
        let resolved = tokio::select! {
            resolved = self.registry.resolve(&model) => resolved,
            () = self.cancel.cancelled() => return self.cancelled(),
        };
        match resolved {
            Ok(resolved) => Stage::Ask(Asked { resolved, times: 0 }),
            Err(error) if policy::is_unavailable(&error) => {
                self.decide(RouteAction::Skipped, model.to_string(), error.to_string(), Some(&error), None);
                self.failures.push(Unanswered { model: model.to_string(), error });
                Stage::Choose
            }
            Err(error) => self.end(model.to_string(), error),
        }
    }

    /// Asks a model, unless nothing is left of a budget or its instance is to be left alone.
    async fn ask(&mut self, mut asked: Asked) -> Stage {
        let routing = Arc::clone(&self.registry.routing);
        let (provider, model) = (Arc::clone(&asked.resolved.provider), asked.resolved.specifier.to_string());
        let RoutedRequest { session, tally, lent, .. } = &self.request;
        let meter = Meter {
            session: session.clone(),
            tally: tally.clone(),
            ledger: self.registry.ledger().cloned(),
            lent: *lent,
        };
        if let Err(error) = meter.check(&asked.resolved).await {
            return self.end(model, error);
        }
        let permit = match is_here(&asked.resolved) || provider.provider_type() == ProviderType::Kernel {
            // The link to another kernel knows itself when it is worth asking, and finds one that is back at once.
            true => None,
            false => match routing.breakers.admit(provider.name(), Instant::now()) {
                Ok(permit) => Some(permit),
                Err(left_alone) => {
                    let LeftAlone { failures, time, kind, problem } = left_alone;
                    let error =
                        Error::LeftAlone { instance: provider.name().to_owned(), failures, kind, time, problem };
                    self.decide(RouteAction::Skipped, model.clone(), error.to_string(), Some(&error), None);
                    self.failures.push(Unanswered { model, error });
                    return Stage::Choose;
                }
            },
        };
        asked.times += 1;
        if asked.times == 1 {
            let mut why = asked.resolved.why.clone();
            if self.request.models.is_none() {
                why = format!("the default model; {why}");
            }
            if let Some(failures) = permit.as_ref().and_then(|permit| permit.trial_after) {
                why.push_str(&format!("; on trial after {failures} failures"));
            }
            self.decide(RouteAction::Chosen, model.clone(), why, None, None);
        }
        let RoutedRequest { session, prompt, options, .. } = &self.request;
        let events = match &self.embeds {
            Some(embeds) => embeds.ask(&asked.resolved, session),
            None => {
                let request = GenerateRequest {
                    session: session.clone(),
                    model: asked.resolved.model.clone(),
                    prompt: prompt.clone(),
                    options: options.clone(),
                };
                provider.generate(request, self.cancel.clone())
            }
        };
        let events = meter.watch(&asked.resolved, routing.price(&asked.resolved), events);
        Stage::Answering(asked, permit, events)
    }

    /// Passes an event on; returns what is left of the leave to ask.
    fn heard(&mut self, asked: &Asked, permit: Option<Permit>, mut event: Event) -> Option<Permit> {
        let mut permit = permit;
        match &mut event {
            Event::Text(_) | Event::Thinking(_) | Event::ToolCall(_) => self.shown = true,
            Event::Route(decision) => {
                let instance = asked.resolved.provider.name();
                let by = decision.by.take();
                decision.by = Some(by.map_or(instance.to_owned(), |by| format!("{instance}, {by}")));
            }
            // What was cancelled may never have reached the instance.
            Event::Usage(_) | Event::Done(_) if !self.cancel.is_cancelled() => self.answers(asked, permit.take()),
            _ => {}
        }
        self.told.push_back(event);
        permit
    }

    fn failed(&mut self, asked: Asked, permit: Option<Permit>, error: Error) -> Stage {
        let model = asked.resolved.specifier.to_string();
        let left_alone = permit.is_some_and(|permit| self.judge(&asked, permit, &error));
        let routing = &self.registry.routing.config;
        let provider_type = asked.resolved.provider.provider_type();
        let may_go_on = !self.shown || self.request.fallback_after_text;
        let next = match is_here(&asked.resolved) {
            _ if !may_go_on || self.cancel.is_cancelled() => Next::End,
            true if policy::is_unavailable(&error) => Next::Fallback,
            true => Next::End,
            // The same model's second answer could not be told from the rest of its first.
            false if left_alone || self.shown => Next::Fallback,
            // The link to another kernel has waited for its connection itself.
            false if provider_type == ProviderType::Kernel && error.kind() == ErrorKind::Network => Next::Fallback,
            false => policy::next(&error, asked.times, routing, rand::random()),
        };
        match next {
            Next::Retry(wait) => {
                self.decide(RouteAction::Retry, model, error.to_string(), Some(&error), Some(wait));
                Stage::Wait(asked, Instant::now() + wait)
            }
            Next::Fallback => {
                let action = if self.rest.is_empty() { RouteAction::Failed } else { RouteAction::Fallback };
                self.decide(action, model.clone(), error.to_string(), Some(&error), None);
                self.failures.push(Unanswered { model, error });
                Stage::Choose
            }
            Next::End => self.end(model, error),
        }
    }

    /// Counts a failure against its instance if it is one of the instance's; true if that is left alone from now on.
    fn judge(&mut self, asked: &Asked, permit: Permit, error: &Error) -> bool {
        if matches!(error, Error::Deadline { .. }) || self.cancel.is_cancelled() {
            return false;
        }
        let model = asked.resolved.specifier.to_string();
        let instance = asked.resolved.provider.name();
        if !policy::is_instances_fault(error) {
            self.answers(asked, Some(permit));
        } else if let Some(pause) = permit.failed(error.kind(), error.to_string(), Instant::now()) {
            let why = format!("`{instance}` failed too often in a row and is left alone for {} s", pause.as_secs_f64());
            self.decide(RouteAction::BreakerOpened, model, why, Some(error), None);
            return true;
        }
        false
    }

    /// Takes note that an instance answers.
    fn answers(&mut self, asked: &Asked, permit: Option<Permit>) {
        if permit.is_some_and(Permit::succeeded) {
            let why = format!("`{}` answers again", asked.resolved.provider.name());
            self.decide(RouteAction::BreakerClosed, asked.resolved.specifier.to_string(), why, None, None);
        }
    }

    /// The end of the list.
    fn nobody(&mut self) -> Stage {
        match self.failures.pop() {
            Some(Unanswered { model, error }) => self.fail(model, error),
            None => Stage::Ended,
        }
    }

    /// Ends because of a model's error that another model would not mend.
    fn end(&mut self, model: String, error: Error) -> Stage {
        self.decide(RouteAction::Failed, model.clone(), error.to_string(), Some(&error), None);
        self.fail(model, error)
    }

    /// Ends with the error of the model that was asked last, and those of the models before it.
    fn fail(&mut self, model: String, error: Error) -> Stage {
        let others = mem::take(&mut self.failures);
        Stage::Failed(match others.is_empty() {
            true => error,
            false => Error::NoneAnswered { others, last: Box::new(Unanswered { model, error }) },
        })
    }

    /// Ends as every provider's stream does that was cancelled.
    fn cancelled(&mut self) -> Stage {
        self.told.extend([Event::Usage(Usage::default()), Event::Done(FinishReason::Cancelled)]);
        Stage::Ended
    }

    fn decide(
        &mut self,
        action: RouteAction,
        model: String,
        reason: String,
        error: Option<&Error>,
        wait: Option<Duration>,
    ) {
        let kind = error.map(|error| error.kind().as_str().to_owned());
        let wait_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        self.told.push_back(Event::Route(RouteDecision { action, model, reason, kind, wait_ms, by: None }));
    }
}

/// The events of a request, whose error tells what was decided before it.
fn with_route(events: EventStream) -> EventStream {
    let mut route = Vec::new();
    let told = events.map(move |event| match event {
        Ok(Event::Route(decision)) => {
            route.push(decision.clone());
            Ok(Event::Route(decision))
        }
        Err(error) => Err(error.with(ErrorDetails { route: mem::take(&mut route), ..ErrorDetails::default() })),
        event => event,
    });
    told.boxed()
}

/// Whether a model runs in this process.
fn is_here(resolved: &Resolved) -> bool {
    resolved.provider.provider_type() == ProviderType::Candle
}
