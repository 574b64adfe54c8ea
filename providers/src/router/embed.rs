//! Embeddings on the way of every request: tried again, counted and told like answers, but never of another model than the first,
//! because vectors of different models cannot be compared.

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::future;
use futures::stream::{self, BoxStream};
use perilune_engine::{Event, FinishReason, GenerateOptions, Prompt, RouteAction, Usage};
use tokio_util::sync::CancellationToken;

use super::{Route, RoutedRequest};
use crate::error::Error;
use crate::model_list::ModelList;
use crate::provider::{EmbedRequest, Embeddings, EventStream};
use crate::registry::{Registry, Resolved};
use crate::specifier::ModelSpecifier;
use crate::tally::Tally;

/// Texts to be turned into vectors.
#[derive(Clone, Debug)]
pub struct RoutedEmbed {
    /// The model; `None` for the default.
    pub model: Option<ModelSpecifier>,
    /// Who asks, as in [`EmbedRequest`].
    pub session: String,
    /// The texts, as they are.
    pub texts: Vec<String>,
    /// The longest it may take, in seconds, waits included.
    pub timeout_seconds: Option<f64>,
    /// What it takes is counted there, too.
    pub tally: Option<Arc<Tally>>,
    /// Whether another kernel asks, which keeps its own ledger.
    pub lent: bool,
}

/// What becomes of a [`RoutedEmbed`].
#[derive(Clone, Debug, PartialEq)]
pub enum EmbedEvent {
    /// A decision on the way, or a warning.
    Told(Event),
    /// The vectors, and the specifier of the model that made them. Nothing follows.
    Done(String, Embeddings),
}

/// The events of a request for embeddings. It ends without [`EmbedEvent::Done`] if it was cancelled; an error is its last item.
pub type EmbedStream = BoxStream<'static, Result<EmbedEvent, Error>>;

/// What is asked instead of a generation, and where the vectors go: an answer's events have no place for them.
#[derive(Clone)]
pub(super) struct Embeds {
    texts: Vec<String>,
    timeout_seconds: Option<f64>,
    vectors: Arc<Mutex<Option<Embeddings>>>,
}

impl Registry {
    /// Turns texts into vectors. Nothing happens until the stream is polled; dropping it cancels.
    pub fn embed(self: &Arc<Registry>, request: RoutedEmbed, cancel: CancellationToken) -> EmbedStream {
        let RoutedEmbed { model, session, texts, timeout_seconds, tally, lent } = request;
        let vectors = Arc::<Mutex<Option<Embeddings>>>::default();
        let embeds = Embeds { texts, timeout_seconds, vectors: Arc::clone(&vectors) };
        let request = RoutedRequest {
            models: Some(ModelList::from(model.unwrap_or_else(|| self.default_models().first().clone()))),
            session,
            prompt: Prompt::Raw(String::new()),
            options: GenerateOptions { timeout_seconds, ..GenerateOptions::default() },
            fallback_after_text: false,
            tally,
            lent,
        };
        let mut model = String::new();
        let told = move |event| {
            let told = match event {
                Ok(Event::Route(decision)) => {
                    if decision.action == RouteAction::Chosen && decision.by.is_none() {
                        model.clone_from(&decision.model);
                    }
                    Some(Ok(EmbedEvent::Told(Event::Route(decision))))
                }
                Ok(event @ Event::Budget(_)) => Some(Ok(EmbedEvent::Told(event))),
                Ok(Event::Done(_)) => {
                    let vectors = vectors.lock().unwrap_or_else(PoisonError::into_inner).take();
                    vectors.map(|vectors| Ok(EmbedEvent::Done(std::mem::take(&mut model), vectors)))
                }
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            };
            future::ready(told)
        };
        Route::of(self, request, Some(embeds), cancel).filter_map(told).boxed()
    }
}

impl Embeds {
    /// Asks a model, and ends as a generation ends.
    pub(super) fn ask(&self, resolved: &Resolved, session: &str) -> EventStream {
        let Embeds { texts, timeout_seconds, vectors } = self.clone();
        let (session, model) = (session.to_owned(), resolved.model.clone());
        let provider = Arc::clone(&resolved.provider);
        let asked = async move {
            let made = provider.embed(EmbedRequest { session, model, texts, timeout_seconds }).await;
            let told = made.map(|made| {
                let usage = made.prompt_tokens.map(|prompt_tokens| Usage { prompt_tokens, ..Usage::default() });
                *vectors.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
                usage.map(Event::Usage).into_iter().chain([Event::Done(FinishReason::Stop)]).collect::<Vec<_>>()
            });
            stream::iter(match told {
                Ok(told) => told.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            })
        };
        stream::once(asked).flatten().boxed()
    }
}
