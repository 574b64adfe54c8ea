//! Brings model files into the store: from the Hugging Face Hub, from an address or from a file; whole, or not at all.
//!
//! In reading order: `spec` is what a user asks for, `known` the short names; `hub` says what a repository has, `quantization` which of
//! its files is meant; `address` which addresses may be asked, `fetch` asks them; `transfer` brings a file by `part`s, `shards` makes
//! several one; `run` is a pull from its spec to the stored model; `progress` is told of it;
//! `unfinished` is what interrupted ones left.

mod address;
mod error;
mod fetch;
mod hub;
mod known;
mod part;
mod progress;
mod quantization;
mod run;
mod shards;
mod spec;
mod transfer;
mod unfinished;

use std::sync::{Arc, OnceLock};
use std::task::Poll;

use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::DownloadsConfig;
use crate::error::Error;
use crate::http::{ClientOptions, Proxies, built, client_builder};
use crate::specifier::ModelSpecifier;
use crate::store::{ModelStore, StoredModel, check_store_name};
use address::{Allowed, CheckedNames};
use fetch::Fetcher;
use hub::HubSettings;
use progress::Listener;
use run::{Kept, Pull};
use spec::Origin;

pub use error::PullError;
pub use known::{KnownModel, known_models};
pub(crate) use part::sha256_of;
pub(crate) use progress::Gauge;
pub use progress::{PullProgress, PullStage};
pub use unfinished::UnfinishedDownload;
pub(crate) use unfinished::unfinished;

/// Progress that waits to be heard; what comes while nobody listens is left out.
const HEARD: usize = 16;

/// Brings models into the store of this user. Clones share one client.
#[derive(Clone)]
pub struct Puller {
    shared: Arc<Shared>,
}

/// Where a model is that is not the store's and would be hidden by one of the store of that name, if there is one.
type NameInUse = dyn Fn(&str) -> Option<String> + Send + Sync;

struct Shared {
    store: Option<ModelStore>,
    name_in_use: Box<NameInUse>,
    downloads: DownloadsConfig,
    hub: HubSettings,
    fetchers: [OnceLock<Result<Fetcher, String>>; 2],
}

/// What is to come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullRequest {
    /// A known name, `hf:OWNER/REPOSITORY:QUANTIZATION`, an address or a path.
    pub spec: String,
    /// The quantization, where the spec does not say it.
    pub quantization: Option<String>,
    /// The name to store it under, instead of one made of the spec.
    pub name: Option<String>,
    /// Fetch it although it is there, and replace another model of that name.
    pub force: bool,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The name it goes by.
    pub name: String,
    /// How it is asked for, if an instance serves it.
    pub specifier: Option<ModelSpecifier>,
    /// Bytes of its files.
    pub size_bytes: u64,
    /// The model as the store has it; `None` for one that a server keeps.
    pub stored: Option<StoredModel>,
    /// Whether it was there before, so that nothing came.
    pub was_there: bool,
}

/// What a pull tells.
#[derive(Clone, Debug, PartialEq)]
pub enum PullEvent {
    /// How far it is.
    Progress(PullProgress),
    /// It is done. Nothing follows.
    Done(Box<Pulled>),
}

/// The events of a pull: progress, then its result or an error. Dropping it ends the pull; what came is kept for the next.
pub type PullStream = BoxStream<'static, Result<PullEvent, Error>>;

impl Puller {
    /// Brings models into `store` as the user's environment and configuration say, by names that are not in use elsewhere.
    /// Nothing is asked before the first pull.
    pub(crate) fn new(store: Option<ModelStore>, downloads: DownloadsConfig, name_in_use: Box<NameInUse>) -> Puller {
        let hub = HubSettings::from_environment();
        Puller { shared: Arc::new(Shared { store, name_in_use, downloads, hub, fetchers: Default::default() }) }
    }

    /// Deletes the downloads that are not whole, and says which; those that are under way stay.
    pub(crate) async fn remove_unfinished(&self) -> Result<Vec<UnfinishedDownload>, Error> {
        let parts = self.shared.store.as_ref().ok_or(PullError::NoStore)?.parts();
        let folder = parts.clone();
        let removing = tokio::task::spawn_blocking(move || unfinished::remove_unfinished(&parts));
        let removed =
            removing.await.unwrap_or_else(|error| Err(PullError::disk(&folder, std::io::Error::other(error))));
        Ok(removed?)
    }

    /// Where the models come.
    pub fn store(&self) -> Option<&ModelStore> {
        self.shared.store.as_ref()
    }

    /// Starts to bring a model; nothing happens until the stream is polled. Of several pulls of one file, also in other processes, one
    /// brings it, and the others wait for that. Cancelled, it ends with [`PullError::Cancelled`] once what came is saved.
    /// `instance` is the one that serves the store.
    pub(crate) fn pull(&self, request: PullRequest, cancel: CancellationToken, instance: Option<&str>) -> PullStream {
        let (sender, mut heard) = mpsc::channel(HEARD);
        let (shared, instance) = (Arc::clone(&self.shared), instance.map(str::to_owned));
        let mut work = Some(Box::pin(async move {
            let Kept { model, was_there } = shared.run(&request, &Listener(sender), &cancel).await?;
            Ok::<_, PullError>(Pulled {
                specifier: instance.and_then(|instance| ModelSpecifier::local(&model.name, &instance).ok()),
                name: model.name.clone(),
                size_bytes: model.size_bytes,
                stored: Some(model),
                was_there,
            })
        }));
        let mut result = None;
        let events = stream::poll_fn(move |context| {
            if let Some(running) = &mut work
                && let Poll::Ready(pulled) = running.as_mut().poll(context)
            {
                work = None;
                result = Some(pulled.map(|pulled| PullEvent::Done(Box::new(pulled))).map_err(Error::from));
            }
            // What was told before the end is heard before it.
            match (heard.poll_recv(context), result.take()) {
                (Poll::Ready(Some(progress)), ended) => {
                    result = ended;
                    Poll::Ready(Some(Ok(PullEvent::Progress(progress))))
                }
                (_, Some(ended)) => Poll::Ready(Some(ended)),
                (_, None) if work.is_none() => Poll::Ready(None),
                (_, None) => Poll::Pending,
            }
        });
        events.boxed()
    }
}

/// Who is asked: the Hub, whose endpoint is the user's own decision, or any address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    Hub = 0,
    Anybody = 1,
}

impl Shared {
    async fn run(
        &self,
        request: &PullRequest,
        listener: &Listener,
        cancel: &CancellationToken,
    ) -> Result<Kept, PullError> {
        let store = self.store.as_ref().ok_or(PullError::NoStore)?;
        let mut spec = spec::parse(&request.spec, request.quantization.as_deref())?;
        if let Some(name) = &request.name {
            check_store_name(name)?;
            spec.name = Some(name.clone());
        }
        let pull = Pull { shared: self, store, listener, cancel, force: request.force };
        match &spec.origin {
            Origin::File(path) => pull.pull_file(path, &spec).await,
            Origin::Url(url) => pull.pull_address(url, &spec).await,
            Origin::Hub { repository, file, license } => {
                pull.pull_hub(repository, file.as_deref(), *license, &spec).await
            }
        }
    }

    /// The client for the Hub or for any address, made when it is first needed.
    fn fetcher(&self, whom: Whom) -> Result<&Fetcher, PullError> {
        let made = self.fetchers[whom as usize].get_or_init(|| self.make_fetcher(whom));
        made.as_ref()
            .map_err(|problem| PullError::Refused { address: "the network".to_owned(), problem: problem.clone() })
    }

    fn make_fetcher(&self, whom: Whom) -> Result<Fetcher, String> {
        let endpoint = self.hub.endpoint.clone().ok().filter(|_| whom == Whom::Hub);
        let proxies = Proxies::from_environment();
        let allowed = Arc::new(Allowed { loopback: self.downloads.allow_loopback, endpoint, proxies });
        let client = |by_proxy: bool| {
            let stall = Some(self.downloads.stall);
            let options = ClientOptions { idle_limit: stall, ..ClientOptions::default() };
            let names = CheckedNames { allowed: Arc::clone(&allowed), by_proxy };
            built(client_builder(&options, by_proxy)?.dns_resolver(names))
        };
        let by_proxy = if allowed.proxies.is_empty() { None } else { Some(client(true)?) };
        let token = self.hub.token.clone().filter(|_| whom == Whom::Hub);
        Ok(Fetcher { direct: client(false)?, by_proxy, allowed, token, stall: self.downloads.stall })
    }
}
