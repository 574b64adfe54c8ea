//! The `ollama` provider: the models of an Ollama server, which loads and unloads them itself.
//!
//! `host` says where one listens, `client` speaks to it, `wire` is what is said, `answer` makes events of its
//! lines, `instant` reads its times. Ollama has no word for who is asking, so sessions share its cache of prompts.

mod answer;
mod client;
pub(crate) mod host;
mod instant;
mod pull;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures::future::{BoxFuture, FutureExt, try_join};
use futures::stream::{self, StreamExt};
use perilune_engine::{Error as EngineError, ModelInfo, Prompt};
use tokio_util::sync::CancellationToken;

use crate::config::{OllamaConfig, ProviderConfig};
use crate::deadline::{Limit, limited};
use crate::error::{Error, ErrorKind};
use crate::provider::{
    EmbedRequest, Embeddings, EventStream, GenerateRequest, Health, HealthStatus, Holding, Keep, LoadedModel,
    LocalProvider, Location, ModelEntry, Provider, ProviderType, RemovedModel,
};
use answer::Asked;
pub use client::{Creation, OllamaClient, ProgressStream};
pub use wire::Progress;
use wire::{Habits, Runner, Tag};

/// How long an unload waits for the requests under way.
const UNLOAD_WAIT: Duration = Duration::from_secs(10);
/// How often it asks meanwhile, since Ollama does not say when.
const UNLOAD_GLANCE: Duration = Duration::from_millis(20);
/// A model with more seconds left than this stays until it is told otherwise: Ollama writes "for ever" as 292 years.
const FOR_EVER: u64 = 50 * 365 * 24 * 3600;

/// The models of one server.
pub struct OllamaProvider {
    name: String,
    timeout: Option<Duration>,
    context_size: Option<usize>,
    keep_alive: Option<i64>,
    client: OllamaClient,
    /// What [`LocalProvider::keep`] said of models, by name; Ollama would take a request's own word over it.
    kept: Arc<Mutex<HashMap<String, i64>>>,
}

impl OllamaProvider {
    /// The instance called `name`. Nothing is asked before the first request.
    pub fn new(name: &str, common: &ProviderConfig, options: &OllamaConfig) -> OllamaProvider {
        OllamaProvider {
            name: name.to_owned(),
            timeout: common.timeout,
            context_size: options.context_size,
            keep_alive: options.keep_alive_seconds.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX)),
            client: OllamaClient::new(name, options),
            kept: Arc::default(),
        }
    }

    fn habits(&self, model: &str) -> Habits {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let keep_alive = kept.get(&full_name(model)).copied().or(self.keep_alive);
        Habits { context_size: self.context_size, keep_alive }
    }

    fn asked(&self, request: &GenerateRequest) -> Result<Asked, Error> {
        let GenerateRequest { model, prompt, options, .. } = request;
        if let Some(name) = wire::unknown_option(options) {
            let problem = format!("model `{model}`: `{name}` is an option that Ollama does not have; leave it out");
            return Err(self.client.error(ErrorKind::InvalidRequest, problem));
        }
        let (empty, has_images) = match prompt {
            Prompt::Chat { messages, .. } => {
                (messages.is_empty(), messages.iter().any(|message| !message.images.is_empty()))
            }
            Prompt::Raw(text) => (text.is_empty(), false),
        };
        if empty {
            // Ollama would load the model, and say that it is done.
            return Err(Error::engine(model, EngineError::EmptyPrompt));
        }
        let (path, body) = wire::generation(model, prompt, options, self.habits(model));
        Ok(Asked { model: model.clone(), path, body, has_images })
    }

    /// The model in memory, if it is there.
    async fn running(&self, model: &str) -> Result<Option<Runner>, Error> {
        let name = full_name(model);
        Ok(self.client.running().await?.into_iter().find(|runner| runner.name == name))
    }

    fn loaded_model(&self, name: String, runner: &Runner) -> LoadedModel {
        let left = seconds_left(runner);
        let kept = self.habits(&name).keep_alive.and_then(|seconds| u64::try_from(seconds).ok());
        let pinned = left.is_some_and(|left| left > FOR_EVER);
        LoadedModel {
            name,
            memory_bytes: runner.size,
            resident_bytes: None,
            context_size: runner.context_length,
            load_ms: 0,
            steps: 0,
            active_requests: 0,
            unloading: false,
            pinned,
            keep_alive_seconds: if pinned { None } else { kept.max(left) },
            idle_seconds: match (pinned, kept, left) {
                (false, Some(kept), Some(left)) => kept.saturating_sub(left),
                _ => 0,
            },
            made_room: Vec::new(),
        }
    }

    async fn not_loaded(&self, model: &str) -> Result<Error, Error> {
        let loaded = self.client.running().await?.into_iter().map(|runner| runner.name);
        Ok(Error::ModelNotLoaded { model: model.to_owned(), instance: self.name.clone(), loaded: loaded.collect() })
    }
}

/// A name as Ollama lists it: one without a tag is its `latest`.
fn full_name(model: &str) -> String {
    let last = model.rsplit('/').next().unwrap_or(model);
    if last.contains(':') { model.to_owned() } else { format!("{model}:latest") }
}

/// Seconds until a model leaves memory by itself, by this machine's clock.
fn seconds_left(runner: &Runner) -> Option<u64> {
    let until = instant::unix_seconds(&runner.expires_at)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    Some(u64::try_from(until).unwrap_or_default().saturating_sub(now))
}

impl Provider for OllamaProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn provider_type(&self) -> ProviderType {
        ProviderType::Ollama
    }

    fn generate(&self, request: GenerateRequest, cancel: CancellationToken) -> EventStream {
        let limit = Limit::of(&request, &self.name, self.timeout);
        match self.asked(&request) {
            Ok(asked) => limited(answer::stream(self.client.clone(), asked, cancel), limit),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelEntry>, Error>> {
        async move {
            let (stored, running) = try_join(self.client.stored(), self.client.running()).await?;
            let entries = stored.into_iter().map(|tag| ModelEntry {
                loaded: running.iter().any(|runner| runner.name == tag.name),
                size_bytes: tag.size,
                location: Location::Elsewhere(tag.remote_host.unwrap_or_else(|| self.client.address())),
                name: tag.name,
                problem: None,
                collection: None,
                facts: None,
            });
            Ok(entries.collect())
        }
        .boxed()
    }

    fn health(&self) -> BoxFuture<'_, Health> {
        async move {
            match self.client.version().await {
                Ok(version) => {
                    let detail = format!("Ollama {version} at {}", self.client.address());
                    Health { status: HealthStatus::Ready, detail }
                }
                Err(error) => Health { status: HealthStatus::Unavailable, detail: error.to_string() },
            }
        }
        .boxed()
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, Error>> {
        async move {
            let EmbedRequest { model, texts, .. } = request;
            let embedded = self.client.embed(&model, &texts, self.habits(&model)).await?;
            Ok(Embeddings { vectors: embedded.embeddings, prompt_tokens: embedded.prompt_eval_count })
        }
        .boxed()
    }

    fn ollama(&self) -> Option<&OllamaClient> {
        Some(&self.client)
    }

    fn local(&self) -> Option<&dyn LocalProvider> {
        Some(self)
    }
}

impl LocalProvider for OllamaProvider {
    fn info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo, Error>> {
        let model = model.to_owned();
        async move {
            let shown = self.client.show(&model).await?;
            let (stored, running) = try_join(self.client.stored(), self.running(&model)).await?;
            let name = full_name(&model);
            let count =
                |key: &str| shown.number(key).and_then(|number| usize::try_from(number).ok()).unwrap_or_default();
            let of_architecture = |key: &str| count(&format!("{}.{key}", shown.architecture()));
            let context_length = of_architecture("context_length");
            let in_use = running.as_ref().map(|runner| runner.context_length).or(self.context_size);
            Ok(ModelInfo {
                name: shown.text("general.name").unwrap_or_default().to_owned(),
                architecture: shown.architecture().to_owned(),
                parameters: shown.number("general.parameter_count").unwrap_or_default(),
                layers: of_architecture("block_count"),
                hidden: of_architecture("embedding_length"),
                heads: of_architecture("attention.head_count"),
                kv_heads: of_architecture("attention.head_count_kv"),
                context_length,
                context_size: in_use.unwrap_or_default(),
                vocabulary: of_architecture("vocab_size"),
                quantization: shown.details.quantization_level.clone(),
                file_bytes: stored.iter().find(|tag| tag.name == name).map_or(0, |tag| tag.size),
                memory_bytes: running.map_or(0, |runner| runner.size),
                kv_cache_type: String::new(),
                kv_bytes_per_token: 0,
                executor: format!("Ollama at {}", self.client.address()),
                has_chat_template: shown.can("completion"),
                supports_tools: shown.can("tools"),
            })
        }
        .boxed()
    }

    fn load(&self, model: &str) -> BoxFuture<'_, Result<LoadedModel, Error>> {
        let model = model.to_owned();
        async move {
            let started = Instant::now();
            self.client.load(&model, self.habits(&model)).await?;
            let took = started.elapsed().as_millis();
            let Some(runner) = self.running(&model).await? else {
                let problem = "it was loaded, and had left memory again a moment later".to_owned();
                return Err(Error::LoadFailed { model, problem });
            };
            Ok(LoadedModel { load_ms: u64::try_from(took).unwrap_or(u64::MAX), ..self.loaded_model(model, &runner) })
        }
        .boxed()
    }

    fn keep(&self, model: &str, keep: Keep) -> BoxFuture<'_, Result<LoadedModel, Error>> {
        let model = model.to_owned();
        async move {
            if self.running(&model).await?.is_none() {
                return Err(self.not_loaded(&model).await?);
            }
            let seconds = match keep {
                Keep { pin: Some(true), .. } => Some(-1),
                Keep { keep_alive_seconds: Some(seconds), .. } => Some(i64::try_from(seconds).unwrap_or(i64::MAX)),
                // Ollama's own default.
                Keep { pin: Some(false), .. } => Some(self.keep_alive.unwrap_or(300)),
                Keep { pin: None, keep_alive_seconds: None } => None,
            };
            if let Some(seconds) = seconds {
                self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(full_name(&model), seconds);
            }
            self.load(&model).await
        }
        .boxed()
    }

    fn unload(&self, model: &str) -> BoxFuture<'_, Result<(), Error>> {
        let model = model.to_owned();
        async move {
            if self.running(&model).await?.is_none() {
                return Err(self.not_loaded(&model).await?);
            }
            self.client.unload(&model).await?;
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&full_name(&model));
            let until = Instant::now() + UNLOAD_WAIT;
            while self.running(&model).await?.is_some() {
                if Instant::now() > until {
                    return Err(Error::ModelInUse { model, requests: 1, waited: UNLOAD_WAIT });
                }
                tokio::time::sleep(UNLOAD_GLANCE).await;
            }
            Ok(())
        }
        .boxed()
    }

    fn loaded(&self) -> BoxFuture<'_, Result<Vec<LoadedModel>, Error>> {
        async move {
            let running = self.client.running().await?;
            Ok(running.iter().map(|runner| self.loaded_model(runner.name.clone(), runner)).collect())
        }
        .boxed()
    }

    fn remove(&self, model: &str) -> BoxFuture<'_, Result<RemovedModel, Error>> {
        let model = model.to_owned();
        async move {
            let removed = self.removal(&model).await?;
            self.client.delete(&removed.name).await?;
            Ok(removed)
        }
        .boxed()
    }

    fn removal(&self, model: &str) -> BoxFuture<'_, Result<RemovedModel, Error>> {
        let name = full_name(model);
        async move {
            if self.running(&name).await?.is_some() {
                return Err(Error::RemoveLoaded { model: name, instance: self.name.clone() });
            }
            let stored = self.client.stored().await?;
            let Some(gone) = stored.iter().find(|tag| tag.name == name) else {
                // The server may know it by a name that it does not list.
                self.client.show(&name).await?;
                return Ok(RemovedModel { name, freed_bytes: 0, kept_as: Vec::new() });
            };
            let same = |tag: &&Tag| tag.digest == gone.digest && tag.name != name;
            let kept_as: Vec<String> = stored.iter().filter(same).map(|tag| tag.name.clone()).collect();
            let freed_bytes = if kept_as.is_empty() { gone.size } else { 0 };
            Ok(RemovedModel { name, freed_bytes, kept_as })
        }
        .boxed()
    }

    fn copy(&self, model: &str, name: &str) -> BoxFuture<'_, Result<(), Error>> {
        let (model, name) = (model.to_owned(), name.to_owned());
        async move {
            // Ollama would let the name mean another model from then on.
            let full = full_name(&name);
            if self.client.stored().await?.iter().any(|tag| tag.name == full) {
                return Err(Error::NameTaken { name, instance: self.name.clone(), place: self.client.address() });
            }
            self.client.copy(&model, &name).await
        }
        .boxed()
    }

    fn holds(&self, model: &str) -> BoxFuture<'_, Result<Holding, Error>> {
        let name = full_name(model);
        async move {
            let (stored, running) = try_join(self.client.stored(), self.client.running()).await?;
            Ok(if running.iter().any(|runner| runner.name == name) {
                Holding::Loaded
            } else if stored.iter().any(|tag| tag.name == name) {
                Holding::Stored
            } else {
                Holding::Absent
            })
        }
        .boxed()
    }
}
