//! The `candle` provider: GGUF models run in this process by the engine. It knows which models
//! there are (the bundled one, those in the store and in folders, and those of other programs), and which are in memory.

mod memory;
mod residency;
mod shelf;

use std::path::Path;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use futures::future::{self, BoxFuture};
use futures::stream::{self, StreamExt, TryStreamExt};
use futures::{FutureExt, TryFutureExt};
use perilune_engine::{
    DroppedModel, Embedding, Engine, EngineOptions, Error as EngineError, Event, FinishReason, ModelInfo, Request,
    StateInfo, Usage,
};
use tokio_util::sync::CancellationToken;

use crate::config::{CandleConfig, ProviderConfig};
use crate::deadline::{Limit, limited, within};
use crate::error::Error;
use crate::nearest::nearest;
use crate::provider::{
    Collection, EmbedRequest, Embeddings, EventStream, GenerateRequest, Health, HealthStatus, Holding, Keep,
    LoadedModel, LocalProvider, Location, ModelEntry, PlaceUsage, Provider, ProviderType, RemovedModel, StateRequest,
};
use crate::store::{ModelStore, Removed, StoreError, check_store_name};
pub use memory::available_memory;
use residency::{Lease, Residency, Unload};
use shelf::{Found, Headers, Shelf};

/// How long an unload waits for the requests under way. It bounds what a caller waits for that holds
/// the model itself, by a stream it has not finished.
const UNLOAD_WAIT: Duration = Duration::from_secs(10);
/// Texts whose embeddings are computed together.
const EMBEDDED_AT_ONCE: usize = 8;
const MIB: u64 = 1024 * 1024;

/// Models that run in this process. Clones share what is loaded.
///
/// Requests to the bundled model have temperature 0 unless they say otherwise: it is so small that
/// sampling only makes it wrong. Other models have the defaults of
/// [`Sampling`](perilune_engine::Sampling).
#[derive(Clone)]
pub struct CandleProvider {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    timeout: Option<Duration>,
    shelf: Shelf,
    headers: Headers,
    residency: Arc<Residency>,
}

impl CandleProvider {
    /// The instance called `name`. Nothing is read or loaded before the first request.
    pub fn new(name: &str, common: &ProviderConfig, options: &CandleConfig) -> CandleProvider {
        let engine_options = EngineOptions {
            context_size: options.context_size,
            cpu_threads: options.cpu_threads,
            max_concurrent: options.max_concurrent,
            cache_bytes: options.kv_cache_mib.map(|mib| mib as u64 * MIB),
            cache_type: options.kv_cache_type,
        };
        CandleProvider {
            shared: Arc::new(Shared {
                name: name.to_owned(),
                timeout: common.timeout,
                shelf: Shelf::new(options),
                headers: Headers::new(options.headers_file.clone()),
                residency: Residency::new(
                    name,
                    engine_options,
                    options.memory_budget_mib.map(|mib| mib as u64 * MIB),
                    options.keep_alive_seconds.map(|seconds| Duration::from_secs(seconds as u64)),
                ),
            }),
        }
    }

    /// Its name in the configuration.
    pub(crate) fn instance(&self) -> &str {
        &self.shared.name
    }

    /// Where the engine would read a model.
    pub(crate) fn source(&self, model: &str) -> Result<perilune_engine::Source, Error> {
        shelf::check_name(model)?;
        Ok(self.shared.find(model)?.source())
    }

    /// Where a model of that name lies which is bundled or in a folder of the user's, and not in the store.
    pub(crate) fn own_place(&self, name: &str) -> Option<String> {
        let shelf = self.shared.scan().ok()?;
        let own = |found: &&Found| {
            found.name == name && matches!(found.collection, None | Some(Collection::Folder | Collection::Path))
        };
        shelf.iter().find(own).map(|found| found.location.to_string())
    }

    /// How many model files were loaded so far, failed loads included: one per model until it is
    /// unloaded.
    pub fn loads(&self) -> u64 {
        self.shared.residency.loads()
    }

    /// The model of that name in memory, loaded if need be, and held until the lease is dropped.
    async fn lease(&self, model: &str) -> Result<Lease, Error> {
        shelf::check_name(model)?;
        let (shared, name) = (Arc::clone(&self.shared), model.to_owned());
        self.shared.residency.lease(model, move || shared.find(&name)).await
    }

    /// Does what reads the folder of models, which may be slow, beside the runtime's own threads.
    async fn beside<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || read(&shared));
        task.await.unwrap_or_else(|error| Err(self.shared.unreadable(std::io::Error::other(error))))
    }

    /// Loads the model if need be, then streams what the engine says.
    async fn start(self, request: GenerateRequest, cancel: CancellationToken) -> Result<EventStream, Error> {
        let lease = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(cancelled()),
            lease = self.lease(&request.model) => lease?,
        };
        let mut options = request.options;
        if lease.location() == Location::Bundled {
            options.sampling.temperature.get_or_insert(0.0);
        }
        let events =
            lease.engine().generate(Request { session: request.session, prompt: request.prompt, options, cancel });
        let made_room = lease.made_room().to_vec();
        let model = request.model;
        // The model is held until the last event, or until the stream is dropped.
        let mut held = Some((events, lease));
        let stream = stream::poll_fn(move |context| {
            let Some((events, _)) = &mut held else {
                return Poll::Ready(None);
            };
            let event = ready!(events.poll_next_unpin(context));
            if matches!(event, None | Some(Err(_) | Ok(Event::Done(_)))) {
                held = None;
            }
            Poll::Ready(event.map(|event| event.map_err(|error| Error::engine(&model, error))))
        });
        Ok(stream::iter(made_room).map(|dropped| Ok(Event::Dropped(dropped))).chain(stream).boxed())
    }
}

impl CandleProvider {
    /// Does what blocks while it uses a model, beside the runtime's own threads.
    async fn with_engine<T: Send + 'static>(
        &self,
        model: &str,
        work: impl FnOnce(&Engine) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Error> {
        let lease = self.lease(model).await?;
        // The model stays for as long as the work takes, also when nobody waits for it any more.
        let task = tokio::task::spawn_blocking(move || work(lease.engine()));
        let done = task.await.unwrap_or_else(|error| Err(EngineError::Compute { problem: error.to_string() }));
        done.map_err(|error| Error::engine(model, error))
    }

    /// What a removal of the store's does, or would do, to a model that is not in memory.
    fn removed_by(
        &self,
        remove: fn(&ModelStore, &str) -> Result<Removed, StoreError>,
        model: &str,
    ) -> BoxFuture<'_, Result<RemovedModel, Error>> {
        let model = model.to_owned();
        async move {
            if self.shared.residency.is_loaded(&model) {
                return Err(Error::RemoveLoaded { model, instance: self.shared.name.clone() });
            }
            self.beside(move |shared| {
                let removed = remove(shared.stored(&model)?, &model)?;
                let (freed_bytes, kept_as) = (removed.freed_bytes, removed.kept_as);
                Ok(RemovedModel { name: model, freed_bytes, kept_as })
            })
            .await
        }
        .boxed()
    }
}

impl Shared {
    /// Where the model of that name lies.
    fn find(&self, model: &str) -> Result<Found, Error> {
        if let Some(bundled) = self.shelf.bundled(model) {
            return Ok(bundled);
        }
        let shelf = self.scan()?;
        let servable = || shelf.iter().filter(|found| found.problem.is_none());
        match servable().find(|found| found.name == model) {
            Some(found) => Ok(found.clone()),
            None => Err(Error::ModelNotFound {
                model: model.to_owned(),
                instances: vec![self.name.clone()],
                near: nearest(model, servable().map(|found| found.name.as_str())),
                unreachable: Vec::new(),
            }),
        }
    }

    /// The store, if the model is one of its own.
    fn stored(&self, model: &str) -> Result<&ModelStore, Error> {
        shelf::check_name(model)?;
        // A record whose file is gone, or whose name is another's too, may still be removed.
        if let Some(store) = self.shelf.store()
            && check_store_name(model).is_ok()
            && store.get(model)?.is_some()
        {
            return Ok(store);
        }
        let place = self.find(model)?.location.to_string();
        Err(Error::NotOurs { model: model.to_owned(), instance: self.name.clone(), place })
    }

    fn scan(&self) -> Result<Vec<Found>, Error> {
        self.shelf.scan().map_err(|error| self.unreadable(error))
    }

    fn not_loaded(&self, model: &str) -> Error {
        let loaded = self.residency.loaded().into_iter().map(|model| model.name);
        Error::ModelNotLoaded { model: model.to_owned(), instance: self.name.clone(), loaded: loaded.collect() }
    }

    fn unreadable(&self, source: std::io::Error) -> Error {
        Error::ModelDirectory {
            instance: self.name.clone(),
            path: self.shelf.directory().to_owned(),
            source: Arc::new(source),
        }
    }
}

/// What a request says that was cancelled before it reached the engine.
fn cancelled() -> EventStream {
    let usage = Event::Usage(Usage::default());
    let done = Event::Done(FinishReason::Cancelled);
    stream::iter([Ok(usage), Ok(done)]).boxed()
}

impl Provider for CandleProvider {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn provider_type(&self) -> ProviderType {
        ProviderType::Candle
    }

    fn generate(&self, request: GenerateRequest, cancel: CancellationToken) -> EventStream {
        let limit = Limit::of(&request, self.name(), self.shared.timeout);
        let loading = (!self.shared.residency.is_loaded(&request.model)).then_some(Ok(Event::Loading));
        let answer = self.clone().start(request, cancel).try_flatten_stream();
        let events = stream::iter(loading).chain(answer).boxed();
        limited(events, limit)
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelEntry>, Error>> {
        async move {
            let (found, facts) = self
                .beside(|shared| {
                    let found = shared.scan()?;
                    let facts = shared.headers.facts(&found);
                    Ok((found, facts))
                })
                .await?;
            let entries = found.into_iter().zip(facts).map(|(found, facts)| ModelEntry {
                loaded: found.problem.is_none() && self.shared.residency.is_loaded(&found.name),
                name: found.name,
                size_bytes: found.size_bytes,
                location: found.location,
                problem: found.problem,
                collection: found.collection,
                facts,
            });
            Ok(entries.collect())
        }
        .boxed()
    }

    fn health(&self) -> BoxFuture<'_, Health> {
        async move {
            let looked = |shared: &Shared| {
                shared.scan()?;
                Ok(shared.shelf.trouble())
            };
            match self.beside(looked).await {
                Ok(Some(trouble)) => Health { status: HealthStatus::Degraded, detail: trouble },
                Ok(None) => Health { status: HealthStatus::Ready, detail: "runs in this process on cpu".to_owned() },
                Err(error) => Health { status: HealthStatus::Degraded, detail: error.to_string() },
            }
        }
        .boxed()
    }

    fn save_state(&self, request: StateRequest) -> BoxFuture<'_, Result<StateInfo, Error>> {
        async move {
            let StateRequest { session, model, prompt, path } = request;
            let cancel = CancellationToken::new();
            let _cancel_on_drop = cancel.clone().drop_guard();
            self.with_engine(&model, move |engine| engine.save_state(&session, prompt, &path, cancel)).await
        }
        .boxed()
    }

    fn restore_state(&self, session: &str, model: &str, path: &Path) -> BoxFuture<'_, Result<StateInfo, Error>> {
        let (session, model, path) = (session.to_owned(), model.to_owned(), path.to_owned());
        async move { self.with_engine(&model, move |engine| engine.restore_state(&session, &path)).await }.boxed()
    }

    fn embed(&self, request: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, Error>> {
        let EmbedRequest { session, model, texts, timeout_seconds } = request;
        let limit = Limit::of_time(&model, timeout_seconds, self.name(), self.shared.timeout);
        within(limit, async move {
            let lease = self.lease(&model).await?;
            let embed = |text: String| {
                let (engine, session) = (lease.engine(), &session);
                async move { engine.embed(session, &text).await }
            };
            // Few at a time: a session that fills the engine's places would be refused.
            let embedded = stream::iter(texts).map(embed).buffered(EMBEDDED_AT_ONCE);
            let embedded: Vec<Embedding> =
                embedded.try_collect().await.map_err(|error| Error::engine(&model, error))?;
            let tokens = embedded.iter().map(|embedding| embedding.tokens).sum();
            let vectors = embedded.into_iter().map(|embedding| embedding.vector).collect();
            Ok(Embeddings { vectors, prompt_tokens: Some(tokens) })
        })
        .boxed()
    }

    fn local(&self) -> Option<&dyn LocalProvider> {
        Some(self)
    }
}

impl LocalProvider for CandleProvider {
    fn info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo, Error>> {
        let model = model.to_owned();
        async move {
            shelf::check_name(&model)?;
            self.beside(move |shared| shared.residency.inspect(&model, &shared.find(&model)?)).await
        }
        .boxed()
    }

    fn load(&self, model: &str) -> BoxFuture<'_, Result<LoadedModel, Error>> {
        let model = model.to_owned();
        async move {
            let lease = self.lease(&model).await?;
            Ok(lease.describe())
        }
        .boxed()
    }

    fn keep(&self, model: &str, keep: Keep) -> BoxFuture<'_, Result<LoadedModel, Error>> {
        let kept = self.shared.residency.keep(model, keep);
        future::ready(kept.ok_or_else(|| self.shared.not_loaded(model))).boxed()
    }

    fn dropped(&self) -> Vec<DroppedModel> {
        self.shared.residency.dropped()
    }

    fn unload(&self, model: &str) -> BoxFuture<'_, Result<(), Error>> {
        let model = model.to_owned();
        async move {
            match self.shared.residency.unload(&model, UNLOAD_WAIT).await? {
                Unload::Done => Ok(()),
                Unload::InUse { requests } => Err(Error::ModelInUse { model, requests, waited: UNLOAD_WAIT }),
                Unload::NotLoaded => Err(self.shared.not_loaded(&model)),
            }
        }
        .boxed()
    }

    fn loaded(&self) -> BoxFuture<'_, Result<Vec<LoadedModel>, Error>> {
        future::ready(Ok(self.shared.residency.loaded())).boxed()
    }

    fn storage(&self) -> BoxFuture<'_, Result<Vec<PlaceUsage>, Error>> {
        self.beside(|shared| shared.shelf.usage().map_err(|error| shared.unreadable(error))).boxed()
    }

    fn memory_budget(&self) -> Option<u64> {
        self.shared.residency.budget()
    }

    fn remove(&self, model: &str) -> BoxFuture<'_, Result<RemovedModel, Error>> {
        self.removed_by(ModelStore::remove, model)
    }

    fn removal(&self, model: &str) -> BoxFuture<'_, Result<RemovedModel, Error>> {
        self.removed_by(ModelStore::removal, model)
    }

    fn copy(&self, model: &str, name: &str) -> BoxFuture<'_, Result<(), Error>> {
        let (model, name) = (model.to_owned(), name.to_owned());
        self.beside(move |shared| {
            let store = shared.stored(&model)?;
            if let Some(other) = shared.scan()?.into_iter().find(|other| other.name == name) {
                let place = other.location.to_string();
                return Err(Error::NameTaken { name, instance: shared.name.clone(), place });
            }
            store.copy(&model, &name)?;
            Ok(())
        })
        .boxed()
    }

    fn holds(&self, model: &str) -> BoxFuture<'_, Result<Holding, Error>> {
        let model = model.to_owned();
        async move {
            if shelf::check_name(&model).is_err() {
                return Ok(Holding::Absent);
            }
            if self.shared.residency.is_loaded(&model) {
                return Ok(Holding::Loaded);
            }
            match self.beside(move |shared| shared.find(&model)).await {
                Ok(_) => Ok(Holding::Stored),
                Err(Error::ModelNotFound { .. }) => Ok(Holding::Absent),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use perilune_engine::Prompt;

    use super::*;
    use crate::config::{Config, ProviderOptions};
    use crate::error::ErrorKind;

    fn provider() -> CandleProvider {
        let config = Config::default();
        let ProviderOptions::Candle(options) = &config.providers["candle"].options else { panic!("not candle") };
        CandleProvider::new("candle", &config.providers["candle"], options)
    }

    #[tokio::test]
    async fn an_unload_ends_while_its_own_caller_holds_the_model() {
        let provider = provider();
        let unload = async || provider.shared.residency.unload("moonlet", Duration::from_millis(1)).await;
        let request = || GenerateRequest {
            session: String::new(),
            model: "moonlet".to_owned(),
            prompt: Prompt::Raw("Once upon a time".to_owned()),
            options: Default::default(),
        };
        let mut unread = provider.generate(request(), CancellationToken::new());
        // The first events tell of the load, before it is done.
        while !matches!(unread.next().await.expect("text comes before the end"), Ok(Event::Text(_))) {}
        assert_eq!(unload().await.unwrap(), Unload::InUse { requests: 1 });

        // Nothing of it is left behind: the model stays, and answers others.
        let loaded = async || provider.loaded().await.unwrap();
        assert!(!loaded().await[0].unloading);
        assert!(provider.generate(request(), CancellationToken::new()).all(async |event| event.is_ok()).await);
        assert_eq!(provider.loads(), 1);
        drop(unread);
        assert_eq!(loaded().await.len(), 1);
        assert_eq!(unload().await.unwrap(), Unload::Done);
        assert_eq!(unload().await.unwrap(), Unload::NotLoaded);
    }

    #[test]
    fn a_model_in_use_is_named_with_what_would_help() {
        let error = |requests| Error::ModelInUse { model: "moonlet".to_owned(), requests, waited: UNLOAD_WAIT };
        assert_eq!(
            error(1).to_string(),
            "model `moonlet` is still in use by 1 request after 10 s; \
             end what uses it, unfinished streams too, and unload it again"
        );
        assert!(error(2).to_string().contains("by 2 requests after"));
        assert_eq!(error(1).kind(), ErrorKind::Overloaded);
    }
}
