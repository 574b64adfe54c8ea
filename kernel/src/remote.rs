//! The `kernel` provider: another kernel's models, asked for by `model_request`, so that many notebooks share one copy of each.
//!
//! `link` is the handle to the one connection that all of an instance's requests share, `line` the task that owns it, `peer` brings it
//! about; `answer` makes a stream of a generation there, `names` says what the models there are called here. What this kernel asks, the other one answers from its own
//! models alone, never from those that it borrows itself: kernels that name each other ask no further.

mod answer;
mod line;
mod link;
mod names;
mod peer;

use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, try_join};
use perilune_protocol::{ListReply, LoadRequest, ModelReply, ModelRequest, NamedModel, StatusReply, WhichBackend};
use perilune_providers::{
    EmbedRequest, Embeddings, Error, ErrorKind, EventStream, GenerateRequest, Health, HealthStatus, Holding, Keep,
    KernelConfig, Limit, LoadedModel, LocalProvider, ModelEntry, ModelInfo, Provider, ProviderConfig, ProviderType,
    limited, within,
};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::convert::elsewhere;
pub(crate) use link::Links;
use link::{Answer, Link};
use names::Names;

/// Under this key of a request's metadata stands what concerns kernels alone.
const METADATA: &str = "perilune";
/// Set by a kernel that borrows models: the answer shall come from the models that the other has itself.
const OWN_MODELS: &str = "own_models";

/// What a request says of itself that comes from another kernel.
fn metadata() -> Map<String, Value> {
    Map::from_iter([(METADATA.to_owned(), json!({ OWN_MODELS: true }))])
}

/// Whether a request comes from another kernel, which borrows models and must not be lent borrowed ones.
pub(crate) fn is_from_kernel(metadata: &Map<String, Value>) -> bool {
    metadata.get(METADATA).and_then(|ours| ours.get(OWN_MODELS)) == Some(&Value::Bool(true))
}

/// One instance of the provider.
pub(crate) struct RemoteKernel {
    name: String,
    timeout: Option<Duration>,
    link: Link,
}

impl RemoteKernel {
    /// The instance called `name`. Nothing is read or connected before the first request.
    pub(crate) fn new(name: &str, common: &ProviderConfig, options: &KernelConfig, links: &Links) -> RemoteKernel {
        RemoteKernel { name: name.to_owned(), timeout: common.timeout, link: links.link(name, options) }
    }

    /// What the other kernel has; nothing where that is this one.
    async fn list(&self) -> Result<ListReply, Error> {
        let answer = self.link.ask(ModelRequest::List(WhichBackend::default())).await?;
        match answer.reply {
            ModelReply::List(_) if answer.is_myself => Ok(ListReply::default()),
            ModelReply::List(list) => Ok(list),
            _ => Err(self.unexpected("list")),
        }
    }

    /// How the other kernel's backends are.
    async fn status(&self) -> Result<Answer<StatusReply>, Error> {
        let answer = self.link.ask(ModelRequest::Status(WhichBackend::default())).await?;
        answer.take(|reply| match reply {
            ModelReply::Status(status) => Ok(status),
            _ => Err(self.unexpected("status")),
        })
    }

    fn unexpected(&self, command: &str) -> Error {
        let problem = format!("it answered something else than was asked, which was `{command}`");
        Error::Elsewhere { instance: self.name.clone(), kind: ErrorKind::Internal, problem }
    }
}

impl Provider for RemoteKernel {
    fn name(&self) -> &str {
        &self.name
    }

    fn provider_type(&self) -> ProviderType {
        ProviderType::Kernel
    }

    fn generate(&self, request: GenerateRequest, cancel: CancellationToken) -> EventStream {
        let limit = Limit::of(&request, &self.name, self.timeout);
        limited(answer::stream(self.link.clone(), elsewhere::generate(request), cancel), limit)
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelEntry>, Error>> {
        async move {
            let list = self.list().await?;
            let names = Names::of(&list);
            let models = list.models.iter().map(|model| elsewhere::model_entry(names.of_listed(model), model));
            let problems = list.errors.iter().map(elsewhere::problem);
            Ok(models.chain(problems).collect())
        }
        .boxed()
    }

    fn health(&self) -> BoxFuture<'_, Health> {
        async move {
            match self.status().await {
                Ok(answer) if answer.is_myself => {
                    Health { status: HealthStatus::Ready, detail: "is this kernel itself".to_owned() }
                }
                Ok(Answer { reply, address, .. }) => elsewhere::health(&reply, &address),
                Err(error) => Health { status: HealthStatus::Unavailable, detail: error.to_string() },
            }
        }
        .boxed()
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, Error>> {
        let limit = Limit::of_time(&request.model, request.timeout_seconds, &self.name, self.timeout);
        within(limit, async move {
            match self.link.ask(elsewhere::embed(request)).await?.reply {
                ModelReply::Embed(reply) => {
                    Ok(Embeddings { vectors: reply.embeddings, prompt_tokens: reply.prompt_tokens })
                }
                _ => Err(self.unexpected("embed")),
            }
        })
        .boxed()
    }

    fn local(&self) -> Option<&dyn LocalProvider> {
        Some(self)
    }
}

impl LocalProvider for RemoteKernel {
    fn info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo, Error>> {
        let named = NamedModel { model: model.to_owned() };
        async move {
            match self.link.ask(ModelRequest::Info(named)).await?.reply {
                ModelReply::Info(info) => Ok(elsewhere::model_info(*info)),
                _ => Err(self.unexpected("info")),
            }
        }
        .boxed()
    }

    fn load(&self, model: &str) -> BoxFuture<'_, Result<LoadedModel, Error>> {
        self.keep(model, Keep::default())
    }

    fn keep(&self, model: &str, keep: Keep) -> BoxFuture<'_, Result<LoadedModel, Error>> {
        let Keep { pin, keep_alive_seconds } = keep;
        let load = LoadRequest { model: model.to_owned(), pin, keep_alive_seconds };
        async move {
            let name = load.model.clone();
            match self.link.ask(ModelRequest::Load(load)).await?.reply {
                ModelReply::Load(loaded) => Ok(elsewhere::loaded_model(name, &loaded)),
                _ => Err(self.unexpected("load")),
            }
        }
        .boxed()
    }

    fn unload(&self, model: &str) -> BoxFuture<'_, Result<(), Error>> {
        let named = NamedModel { model: model.to_owned() };
        async move {
            match self.link.ask(ModelRequest::Unload(named)).await?.reply {
                ModelReply::Unload(_) => Ok(()),
                _ => Err(self.unexpected("unload")),
            }
        }
        .boxed()
    }

    fn loaded(&self) -> BoxFuture<'_, Result<Vec<LoadedModel>, Error>> {
        async move {
            let (list, status) = try_join(self.list(), self.status()).await?;
            if status.is_myself {
                return Ok(Vec::new());
            }
            let names = Names::of(&list);
            let loaded = status.reply.backends.iter().flat_map(|backend| &backend.loaded);
            Ok(loaded.map(|model| elsewhere::loaded_model(names.of_held(&model.backend, &model.name), model)).collect())
        }
        .boxed()
    }

    fn holds(&self, model: &str) -> BoxFuture<'_, Result<Holding, Error>> {
        let model = model.to_owned();
        async move {
            let list = self.list().await?;
            let names = Names::of(&list);
            let meant = list.models.iter().filter(|listed| names.mean(&model, listed));
            Ok(match meant.map(|listed| listed.loaded).reduce(|any, loaded| any || loaded) {
                None => Holding::Absent,
                Some(true) => Holding::Loaded,
                Some(false) => Holding::Stored,
            })
        }
        .boxed()
    }
}
