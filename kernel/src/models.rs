//! `model_request`: what a client may ask of the registry without running Lua.

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use perilune_protocol::{
    BackendStatus, CancelReply, ErrorReply, GenerateReply, ListReply, ModelEvent, ModelReply, ModelRequest, NamedModel,
    Publication, Reply, StatusReply,
};
use perilune_providers::{
    Error, Event, GenerateOptions, GenerateRequest, LocalProvider, ModelSpecifier, Prompt, Provider, Resolved,
};
use tokio_util::sync::CancellationToken;

use crate::convert;
use crate::dispatch::{Asker, refusal};
use crate::kernel::Context;

/// Answers a model request. Cancelling it, by `cancel` or by an interrupt that names it, ends whatever it does.
pub(crate) async fn handle(context: &Arc<Context>, asker: &Asker, request: ModelRequest) -> Option<Reply> {
    let running = context.running.enter(&asker.header.msg_id, false, &context.stop);
    let asked = Asked { context, asker, cancel: running.token.clone() };
    let reply = tokio::select! {
        biased;
        reply = asked.answer(request) => reply,
        () = asked.outlasted() => Err(cancelled()),
    };
    Some(match reply {
        Ok(reply) => Reply::Model(reply),
        Err(error) => Reply::error(&asker.header.msg_type, error),
    })
}

/// The error reply that a provider's error becomes.
pub(crate) fn failed(msg_type: &str, error: &Error) -> Reply {
    Reply::error(msg_type, convert::error_reply(error))
}

fn cancelled() -> ErrorReply {
    refusal("Cancelled", "the request was cancelled", "cancelled")
}

struct Asked<'a> {
    context: &'a Arc<Context>,
    asker: &'a Asker,
    cancel: CancellationToken,
}

impl Asked<'_> {
    async fn answer(&self, request: ModelRequest) -> Result<ModelReply, ErrorReply> {
        Ok(match request {
            ModelRequest::List(which) => ModelReply::List(self.list(which.backend.as_deref()).await?),
            ModelRequest::Status(which) => {
                let mut backends = Vec::new();
                for instance in self.instances(which.backend.as_deref())? {
                    backends.push(status(instance.as_ref()).await);
                }
                ModelReply::Status(StatusReply { backends })
            }
            ModelRequest::Info(named) => {
                let resolved = self.resolve(Some(&named.model)).await?;
                let info =
                    local(&resolved)?.info(&resolved.model).await.map_err(|error| convert::error_reply(&error))?;
                ModelReply::Info(Box::new(convert::model_info(&resolved.specifier, info)))
            }
            ModelRequest::Load(named) => {
                let resolved = self.resolve(Some(&named.model)).await?;
                let loaded =
                    local(&resolved)?.load(&resolved.model).await.map_err(|error| convert::error_reply(&error))?;
                ModelReply::Load(convert::loaded_model(resolved.provider.name(), loaded))
            }
            ModelRequest::Unload(named) => {
                let resolved = self.resolve(Some(&named.model)).await?;
                local(&resolved)?.unload(&resolved.model).await.map_err(|error| convert::error_reply(&error))?;
                ModelReply::Unload(NamedModel { model: resolved.specifier.to_string() })
            }
            ModelRequest::Chat(chat) => {
                let prompt = convert::conversation(chat.messages, chat.tools);
                ModelReply::Chat(self.generate(chat.model.as_deref(), prompt, convert::options(chat.options)).await?)
            }
            ModelRequest::Complete(complete) => {
                let prompt = convert::completion(complete.prompt, complete.raw);
                let options = convert::options(complete.options);
                ModelReply::Complete(self.generate(complete.model.as_deref(), prompt, options).await?)
            }
            ModelRequest::Cancel(cancel) => {
                ModelReply::Cancel(CancelReply { cancelled: self.context.running.cancel(&cancel.request) })
            }
        })
    }

    async fn list(&self, backend: Option<&str>) -> Result<ListReply, ErrorReply> {
        let mut reply = ListReply::default();
        for instance in self.instances(backend)? {
            match instance.models().await {
                Ok(models) => convert::listed(&mut reply, instance.name(), models),
                Err(error) => reply.errors.push(convert::backend_error(instance.name(), &error)),
            }
        }
        Ok(reply)
    }

    /// The instance of that name, or all.
    fn instances(&self, backend: Option<&str>) -> Result<Vec<Arc<dyn Provider>>, ErrorReply> {
        let registry = &self.context.registry;
        match backend {
            None => Ok(registry.instances().to_vec()),
            Some(name) => match registry.instance(name) {
                Ok(instance) => Ok(vec![instance.clone()]),
                Err(error) => Err(convert::error_reply(&error)),
            },
        }
    }

    async fn resolve(&self, model: Option<&str>) -> Result<Resolved, ErrorReply> {
        let registry = &self.context.registry;
        let specifier = match model.map(str::parse::<ModelSpecifier>) {
            None => registry.default_model().clone(),
            Some(Ok(specifier)) => specifier,
            Some(Err(error)) => return Err(convert::error_reply(&error.into())),
        };
        registry.resolve(&specifier).await.map_err(|error| convert::error_reply(&error))
    }

    async fn generate(
        &self,
        model: Option<&str>,
        prompt: Prompt,
        options: GenerateOptions,
    ) -> Result<GenerateReply, ErrorReply> {
        let started = Instant::now();
        let Resolved { provider, model, specifier } = self.resolve(model).await?;
        let mut events = provider.generate(GenerateRequest { model, prompt, options }, self.cancel.clone());
        let mut reply = convert::empty_reply(&specifier);
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| convert::error_reply(&error))?;
            collect(&mut reply, &event);
            self.tell(convert::model_event(event)).await?;
        }
        reply.duration_ms = started.elapsed().as_secs_f64() * 1000.0;
        Ok(reply)
    }

    async fn tell(&self, event: ModelEvent) -> Result<(), ErrorReply> {
        let publication = Publication::ModelEvent(event);
        self.context.iopub.send(&self.asker.header, publication).await.map_err(|_| cancelled())
    }

    /// Ends when a cancelled request has not ended by itself: a generation reports its own end, a load cannot.
    async fn outlasted(&self) {
        self.cancel.cancelled().await;
        tokio::time::sleep(CANCEL_GRACE).await;
    }
}

/// How long a cancelled generation may take to say what it did.
const CANCEL_GRACE: std::time::Duration = std::time::Duration::from_millis(500);

fn collect(reply: &mut GenerateReply, event: &Event) {
    match event {
        Event::Text(text) => reply.text.push_str(text),
        Event::Thinking(text) => reply.thinking.get_or_insert_default().push_str(text),
        Event::ToolCall(call) => reply.tool_calls.push(convert::tool_call(call.clone())),
        Event::Usage(usage) => reply.usage = convert::usage(*usage),
        Event::Done(reason) => reply.finish_reason = convert::finish_reason(*reason),
    }
}

fn local(resolved: &Resolved) -> Result<&dyn LocalProvider, ErrorReply> {
    resolved.provider.local().ok_or_else(|| {
        let problem = format!("`{}` does not hold models in memory", resolved.provider.name());
        refusal("ModelError", &problem, "invalid_request")
    })
}

async fn status(instance: &dyn Provider) -> BackendStatus {
    let health = instance.health().await;
    let loaded = instance.local().map(LocalProvider::loaded).unwrap_or_default();
    convert::backend_status(instance, health, loaded)
}
