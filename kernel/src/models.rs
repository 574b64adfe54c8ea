//! `model_request`: what a client may ask of the registry without running Lua.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use perilune_protocol::{
    AvailableReply, CancelReply, ErrorReply, GenerateReply, ModelEvent, ModelReply, ModelRequest, NamedModel,
    Publication, Reply, UnfinishedReply,
};
use perilune_providers::{
    EmbedEvent, Error, Event, GenerateOptions, Keep, ModelList, ModelSpecifier, ProgressStream, Prompt, PullError,
    PullEvent, Registry, Resolved, RouteAction, RoutedEmbed, RoutedRequest, UsageQuery,
};
use tokio_util::sync::CancellationToken;

use crate::convert;
use crate::dispatch::{Asker, refusal};
use crate::kernel::Context;
use crate::running::Guard;

/// How long a cancelled generation may take to say what it did.
pub(crate) const CANCEL_GRACE: Duration = Duration::from_millis(500);

/// How long a request may take, and so how many of its kind may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// No time: it is answered where it is received, however much else is under way.
    None,
    /// As long as an instance takes to say how it is.
    Quick,
    /// As long as a generation or a load.
    Long,
}

pub(crate) fn weight(request: &ModelRequest) -> Weight {
    match request {
        ModelRequest::Pull(_)
        | ModelRequest::Load(_)
        | ModelRequest::Info(_)
        | ModelRequest::Chat(_)
        | ModelRequest::Complete(_)
        | ModelRequest::Embed(_)
        | ModelRequest::Create(_) => Weight::Long,
        ModelRequest::List(_)
        | ModelRequest::Status(_)
        | ModelRequest::Unload(_)
        | ModelRequest::Available(_)
        | ModelRequest::Storage(_)
        | ModelRequest::Remove(_)
        | ModelRequest::RemoveUnfinished(_)
        | ModelRequest::Usage(_)
        | ModelRequest::Copy(_) => Weight::Quick,
        ModelRequest::Cancel(_) => Weight::None,
    }
}

/// Answers a model request. Cancelling it, by `cancel` or by an interrupt that names it, ends a generation or a pull and takes an unload
/// back; a load goes on, and is only no longer waited for.
pub(crate) async fn handle(
    context: &Arc<Context>,
    asker: &Asker,
    running: &Guard,
    request: ModelRequest,
) -> Option<Reply> {
    if matches!(&request, ModelRequest::Chat(chat) if chat.messages.is_empty()) {
        let problem = r#"`messages` is empty; expected a list like [{"role": "user", "content": "..."}]"#;
        return Some(Reply::error(&asker.header.msg_type, refusal("ModelError", problem, "invalid_request")));
    }
    let goes_on = matches!(request, ModelRequest::Load(_));
    let asked = Asked { context, asker, cancel: running.token.clone() };
    Some(tokio::select! {
        biased;
        reply = asked.answer(request) => match reply {
            Ok(reply) => Reply::Model(reply),
            Err(error) => failed(asker, &error),
        },
        () = asked.outlasted() => Reply::error(&asker.header.msg_type, cancelled(goes_on)),
    })
}

/// The error reply that a provider's error becomes.
pub(crate) fn failed(asker: &Asker, error: &Error) -> Reply {
    Reply::error(&asker.header.msg_type, convert::error_reply(error))
}

fn cancelled(goes_on: bool) -> ErrorReply {
    let message = match goes_on {
        true => "the request was cancelled and is no longer waited for; the load goes on",
        false => "the request was cancelled",
    };
    refusal("Cancelled", message, "cancelled")
}

struct Asked<'a> {
    context: &'a Arc<Context>,
    asker: &'a Asker,
    cancel: CancellationToken,
}

impl Asked<'_> {
    /// The models that whoever asks may have.
    fn registry(&self) -> &Arc<Registry> {
        if self.asker.is_kernel { &self.context.own_models } else { &self.context.registry }
    }

    async fn answer(&self, request: ModelRequest) -> Result<ModelReply, Error> {
        let registry = self.registry();
        Ok(match request {
            ModelRequest::List(which) => {
                ModelReply::List(convert::list_reply(registry.list(which.backend.as_deref()).await?))
            }
            ModelRequest::Status(which) => {
                ModelReply::Status(convert::status_reply(registry.status(which.backend.as_deref()).await?))
            }
            ModelRequest::Info(named) => {
                let resolved = self.resolve(Some(named.model)).await?;
                let info = resolved.info().await?;
                ModelReply::Info(Box::new(convert::model_info(&resolved.specifier, info)))
            }
            ModelRequest::Load(load) => {
                let resolved = self.resolve(Some(load.model)).await?;
                let keep = Keep { pin: load.pin, keep_alive_seconds: load.keep_alive_seconds };
                let loaded = resolved.local()?.load_and_keep(&resolved.model, keep).await?;
                for dropped in &loaded.made_room {
                    self.tell(ModelEvent::Dropped(convert::dropped_model(dropped.clone()))).await;
                }
                ModelReply::Load(convert::loaded_model(resolved.provider.name(), loaded))
            }
            ModelRequest::Unload(named) => {
                let resolved = self.resolve(Some(named.model)).await?;
                resolved.local()?.unload(&resolved.model).await?;
                ModelReply::Unload(NamedModel { model: resolved.specifier.to_string() })
            }
            ModelRequest::Available(wanted) => {
                let models = registry.available(wanted.backend.as_deref(), wanted.recommended).await?;
                let models = models.into_iter().map(convert::available_model).collect();
                ModelReply::Available(AvailableReply { models })
            }
            ModelRequest::Storage(which) => {
                ModelReply::Storage(convert::storage_reply(registry.storage(which.backend.as_deref()).await?))
            }
            ModelRequest::Remove(remove) => {
                let model = remove.model.parse()?;
                let (specifier, removed) = match remove.only_ask {
                    true => registry.removal(&model).await?,
                    false => registry.remove(&model).await?,
                };
                ModelReply::Remove(convert::removed_model(&specifier, removed))
            }
            ModelRequest::RemoveUnfinished(remove) => {
                let downloads = match remove.only_ask {
                    true => registry.unfinished(),
                    false => registry.remove_unfinished().await?,
                };
                let downloads = downloads.into_iter().map(convert::unfinished_download).collect();
                ModelReply::RemoveUnfinished(UnfinishedReply { downloads })
            }
            ModelRequest::Copy(copy) => {
                let copied = registry.copy(&copy.model.parse()?, &copy.name).await?;
                ModelReply::Copy(NamedModel { model: copied.to_string() })
            }
            ModelRequest::Pull(pull) => {
                let mut events = registry.pull(convert::pull_request(pull), self.cancel.clone())?;
                loop {
                    match events.next().await.transpose()? {
                        Some(PullEvent::Progress(progress)) => self.tell(convert::pull_progress(progress)).await,
                        Some(PullEvent::Done(pulled)) => break ModelReply::Pull(convert::pulled_model(*pulled)),
                        None => return Err(PullError::Cancelled.into()),
                    }
                }
            }
            ModelRequest::Create(create) => {
                let resolved = self.resolve(Some(create.model.clone())).await?;
                self.follow(resolved.ollama()?.create(convert::creation(&resolved.model, create))).await?;
                ModelReply::Create(NamedModel { model: resolved.specifier.to_string() })
            }
            ModelRequest::Chat(chat) => {
                let prompt = convert::conversation(chat.messages, chat.tools);
                let request =
                    self.routed(chat.model, prompt, convert::options(chat.options), chat.fallback_after_text)?;
                ModelReply::Chat(self.generate(request).await?)
            }
            ModelRequest::Complete(complete) => {
                let prompt = convert::completion(complete.prompt, complete.raw);
                let options = convert::options(complete.options);
                let request = self.routed(complete.model, prompt, options, complete.fallback_after_text)?;
                ModelReply::Complete(self.generate(request).await?)
            }
            ModelRequest::Usage(usage) => {
                let by = usage.by.as_deref().map(str::parse).transpose()?.unwrap_or_default();
                let since = usage.since.as_deref().map(str::parse).transpose()?;
                let table = registry.usage(UsageQuery { by, since }).await?;
                ModelReply::Usage(Box::new(convert::ledger_reply(table, registry.spent_today().await)))
            }
            ModelRequest::Embed(embed) => {
                let models = embed.model.as_deref().map(str::parse::<ModelList>).transpose()?;
                let request = RoutedEmbed {
                    model: models.map(|models| models.first().clone()),
                    session: self.asker.header.session.clone(),
                    texts: embed.texts,
                    timeout_seconds: embed.timeout_seconds,
                    tally: None,
                    lent: self.asker.is_kernel,
                };
                let mut events = registry.embed(request, self.cancel.clone());
                loop {
                    match events.next().await.transpose()? {
                        Some(EmbedEvent::Told(event)) => self.tell(convert::model_event(event)).await,
                        Some(EmbedEvent::Done(model, vectors)) => {
                            break ModelReply::Embed(convert::embed_reply(model, vectors));
                        }
                        // Who cancelled it hears so from elsewhere.
                        None => futures::future::pending().await,
                    }
                }
            }
            ModelRequest::Cancel(cancel) => {
                ModelReply::Cancel(CancelReply { cancelled: self.context.running.cancel(&cancel.request) })
            }
        })
    }

    async fn resolve(&self, model: Option<String>) -> Result<Resolved, Error> {
        let specifier = model.as_deref().map(str::parse::<ModelSpecifier>).transpose()?;
        self.registry().resolve_or_default(specifier.as_ref()).await
    }

    fn routed(
        &self,
        models: Option<String>,
        prompt: Prompt,
        options: GenerateOptions,
        fallback_after_text: bool,
    ) -> Result<RoutedRequest, Error> {
        let models = models.as_deref().map(str::parse::<ModelList>).transpose()?;
        let session = self.asker.header.session.clone();
        Ok(RoutedRequest {
            models,
            session,
            prompt,
            options,
            fallback_after_text,
            tally: None,
            lent: self.asker.is_kernel,
        })
    }

    async fn generate(&self, request: RoutedRequest) -> Result<GenerateReply, Error> {
        let started = Instant::now();
        let mut events = self.registry().generate(request, self.cancel.clone());
        let mut reply = convert::empty_reply();
        while let Some(event) = events.next().await {
            let event = event?;
            collect(&mut reply, &event);
            self.tell(convert::model_event(event)).await;
        }
        reply.duration_ms = started.elapsed().as_micros() as f64 / 1000.0;
        Ok(reply)
    }

    /// Tells how far an Ollama is with what it was asked, until it is done.
    async fn follow(&self, mut progress: ProgressStream) -> Result<(), Error> {
        while let Some(step) = progress.next().await {
            self.tell(convert::progress(step?)).await;
        }
        Ok(())
    }

    async fn tell(&self, event: ModelEvent) {
        // A kernel that is ending publishes no more, and cancels this request too.
        let _ = self.context.iopub.send(&self.asker.header, Publication::ModelEvent(event)).await;
    }

    /// Ends when a cancelled request has not ended by itself: a generation reports its own end, a load cannot.
    async fn outlasted(&self) {
        self.cancel.cancelled().await;
        tokio::time::sleep(CANCEL_GRACE).await;
    }
}

fn collect(reply: &mut GenerateReply, event: &Event) {
    match event {
        Event::Loading | Event::Dropped(_) | Event::Queued { .. } | Event::Prefill(_) | Event::Budget(_) => {}
        Event::Route(decision) => {
            if decision.action == RouteAction::Chosen && decision.by.is_none() {
                let route = std::mem::take(&mut reply.route);
                *reply = GenerateReply { model: decision.model.clone(), route, ..convert::empty_reply() };
            }
            reply.route.push(convert::route_decision(decision.clone()));
        }
        Event::Text(text) => reply.text.push_str(text),
        Event::Thinking(text) => reply.thinking.get_or_insert_default().push_str(text),
        Event::Logprobs(logprobs) => reply.logprobs.push(convert::token_logprobs(logprobs.clone())),
        Event::ToolCall(call) => reply.tool_calls.push(convert::tool_call(call.clone())),
        Event::Usage(usage) => reply.usage = convert::usage(*usage),
        Event::Done(reason) => reply.finish_reason = convert::finish_reason(*reason),
    }
}
