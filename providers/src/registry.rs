//! The configured instances, and which of them a specifier means.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use perilune_engine::{DroppedModel, ModelInfo};
use tokio_util::sync::CancellationToken;

use crate::available::{self, AvailableModel};
use crate::budget::Amount;
use crate::candle::CandleProvider;
use crate::config::{Config, ConfigError, KernelConfig, Limits, ProviderConfig, ProviderOptions};
use crate::error::{Error, ErrorKind};
use crate::ledger::{Ledger, UsageQuery, UsageTable};
use crate::model_list::ModelList;
use crate::nearest::{nearest, quoted};
use crate::ollama::{OllamaClient, OllamaProvider};
use crate::openai::OpenAiProvider;
use crate::provider::{
    Collection, Health, HealthStatus, Holding, LoadedModel, LocalProvider, ModelEntry, PlaceUsage, Provider,
    ProviderType, RemovedModel,
};
use crate::pull::{PullRequest, PullStream, Puller, UnfinishedDownload, unfinished};
use crate::router::Routing;
use crate::specifier::{ModelSpecifier, SpecifierError};
use crate::store::{ModelStore, StoreError};

/// The provider word that means any local instance.
const LOCAL: &str = "local";

/// How long an instance in this process, whose disk may be slow, may take to say what it has.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The same for an Ollama, which is near: nobody waits long for one that is down.
const NEAR_LIMIT: Duration = Duration::from_millis(900);
/// The same for one that may be far away, or, being another kernel, wait for instances of its own.
const FAR_LIMIT: Duration = Duration::from_secs(2);
/// The same for any out of this process when all are asked what they have.
const LIST_LIMIT: Duration = Duration::from_millis(700);

/// Every enabled instance, and the model that is meant when none is named.
pub struct Registry {
    instances: Vec<Arc<dyn Provider>>,
    default_model: ModelList,
    default_backend: Option<String>,
    puller: Puller,
    pub(crate) routing: Arc<Routing>,
    ledger: Option<Arc<Ledger>>,
}

/// Opens an instance of type `kernel`, given its name and options: what it takes to speak to another
/// kernel belongs to the crate above.
pub type OpenKernel<'a> = dyn Fn(&str, &ProviderConfig, &KernelConfig) -> Arc<dyn Provider> + 'a;

/// A specifier, resolved.
#[derive(Clone)]
pub struct Resolved {
    /// The instance.
    pub provider: Arc<dyn Provider>,
    /// The model's name there.
    pub model: String,
    /// The whole name, which is what replies report: `local/moonlet@candle`.
    pub specifier: ModelSpecifier,
    /// Why this one: its instance was named, or what makes it the nearest at hand.
    pub why: String,
}

/// What one instance has, or why it cannot say.
#[derive(Clone, Debug)]
pub struct InstanceModels {
    /// The instance.
    pub instance: String,
    /// What kind of provider it is.
    pub provider_type: ProviderType,
    /// Whether it holds models in memory.
    pub local: bool,
    /// Its models.
    pub models: Result<Vec<ModelEntry>, Error>,
}

/// What one instance's model files take on disk, or why it cannot say.
#[derive(Clone, Debug)]
pub struct InstanceStorage {
    /// The instance.
    pub instance: String,
    /// Its places; none where it keeps no files on this machine.
    pub places: Result<Vec<PlaceUsage>, Error>,
}

/// How one instance is and what it has in memory.
#[derive(Clone, Debug)]
pub struct InstanceStatus {
    /// The instance.
    pub instance: String,
    /// What kind of provider it is.
    pub provider_type: ProviderType,
    /// Whether it answers.
    pub health: Health,
    /// What is in memory; empty for an instance that is not local.
    pub loaded: Vec<LoadedModel>,
    /// What left its memory lately without being asked to, the last one first.
    pub dropped: Vec<DroppedModel>,
}

impl Registry {
    /// Opens the enabled instances, of which none may be another kernel. None is contacted and no
    /// model is read, so an instance that fails later does not keep the others from working.
    pub fn new(config: &Config) -> Result<Registry, Error> {
        Registry::open(config, None)
    }

    /// As [`Registry::new`], with instances that are other kernels.
    pub fn with_kernels(config: &Config, kernels: &OpenKernel<'_>) -> Result<Registry, Error> {
        Registry::open(config, Some(kernels))
    }

    fn open(config: &Config, kernels: Option<&OpenKernel<'_>>) -> Result<Registry, Error> {
        let enabled = config.providers.iter().filter(|(_, p)| p.enabled);
        let mut shelves = Vec::new();
        let instances = enabled.map(|(name, provider)| match (&provider.options, kernels) {
            (ProviderOptions::Candle(options), _) => {
                let candle = CandleProvider::new(name, provider, options);
                shelves.push(candle.clone());
                Ok(Arc::new(candle) as Arc<dyn Provider>)
            }
            (ProviderOptions::OpenAi(options), _) => {
                Ok(Arc::new(OpenAiProvider::new(name, provider, options)) as Arc<dyn Provider>)
            }
            (ProviderOptions::Ollama(options), _) => {
                Ok(Arc::new(OllamaProvider::new(name, provider, options)) as Arc<dyn Provider>)
            }
            (ProviderOptions::Kernel(options), Some(open)) => Ok(open(name, provider, options)),
            (ProviderOptions::Kernel(_), None) => Err(Error::NoKernels { instance: name.clone() }),
        });
        let instances = instances.collect::<Result<Vec<_>, Error>>()?;
        let default_model = default_model(config, &instances)?;
        let name_in_use = move |name: &str| shelves.iter().find_map(|shelf| shelf.own_place(name));
        let store = config.store.as_ref().map(ModelStore::new);
        let puller = Puller::new(store, config.downloads.clone(), Box::new(name_in_use));
        Ok(Registry {
            instances,
            default_model,
            default_backend: config.default_backend.clone(),
            puller,
            routing: Arc::new(Routing::new(config)),
            ledger: None,
        })
    }

    /// The same, with a ledger in which it is kept what requests take.
    pub fn with_ledger(self, ledger: Arc<Ledger>) -> Registry {
        Registry { ledger: Some(ledger), ..self }
    }

    /// Where it is kept what requests take.
    pub(crate) fn ledger(&self) -> Option<&Arc<Ledger>> {
        self.ledger.as_ref()
    }

    /// What requests took, those of other processes of this user too.
    pub async fn usage(&self, query: UsageQuery) -> Result<UsageTable, Error> {
        match &self.ledger {
            Some(ledger) => ledger.usage(query).await,
            None => Err(Error::Ledger { problem: "this program keeps none".to_owned() }),
        }
    }

    /// What was spent today of which budget, as far as that is limited.
    pub async fn spent_today(&self) -> (Amount, Limits) {
        match &self.ledger {
            Some(ledger) => {
                ledger.refresh_day().await;
                (ledger.day.spent(), ledger.day.limits())
            }
            None => Default::default(),
        }
    }

    /// The same instances without those that are other kernels: what this one can answer by itself.
    pub fn without_kernels(&self) -> Registry {
        let own = self.instances.iter().filter(|instance| instance.provider_type() != ProviderType::Kernel);
        Registry {
            instances: own.cloned().collect(),
            default_model: self.default_model.clone(),
            default_backend: self.default_backend.clone(),
            puller: self.puller.clone(),
            routing: Arc::clone(&self.routing),
            ledger: self.ledger.clone(),
        }
    }

    /// The configured default model, or several; else the default backend's; else `local/moonlet@candle`.
    pub fn default_models(&self) -> &ModelList {
        &self.default_model
    }

    /// The first of [`Registry::default_models`].
    pub fn default_model(&self) -> &ModelSpecifier {
        self.default_model.first()
    }

    /// The enabled instances, by name.
    pub fn instances(&self) -> &[Arc<dyn Provider>] {
        &self.instances
    }

    /// Starts to bring a model into the store; where its name ends with `@INSTANCE`, that one's server gets it for itself.
    pub fn pull(&self, request: PullRequest, cancel: CancellationToken) -> Result<PullStream, Error> {
        let named = request.spec.trim().rsplit_once('@');
        let named = named.and_then(|(model, name)| Some((model, self.instances.iter().find(|i| i.name() == name)?)));
        let Some((model, instance)) = named else {
            return Ok(self.puller.pull(request, cancel, self.store_instance()));
        };
        let model = model.strip_prefix("local/").unwrap_or(model);
        if instance.provider_type() == ProviderType::Candle {
            let request = PullRequest { spec: model.to_owned(), ..request };
            return Ok(self.puller.pull(request, cancel, Some(instance.name())));
        }
        let Some(server) = instance.ollama() else {
            return Err(Error::Elsewhere {
                instance: instance.name().to_owned(),
                kind: ErrorKind::InvalidRequest,
                problem: format!(
                    "a provider of type `{}` gets no models; leave `@{}` out to bring it into the store",
                    instance.provider_type(),
                    instance.name()
                ),
            });
        };
        let name = model.strip_prefix("http://");
        let (model, insecure) = (name.unwrap_or(model), name.is_some());
        server.pull_as_told(model, insecure, &request, specifier(instance.name(), true, model)?, cancel)
    }

    /// Deletes a model: from the store, or from an instance whose server keeps its own, if that one is named.
    pub async fn remove(&self, specifier: &ModelSpecifier) -> Result<(ModelSpecifier, RemovedModel), Error> {
        let resolved = self.removable(specifier).await?;
        let removed = resolved.local()?.remove(&resolved.model).await?;
        Ok((resolved.specifier, removed))
    }

    /// What [`Registry::remove`] would do, or why it would not.
    pub async fn removal(&self, specifier: &ModelSpecifier) -> Result<(ModelSpecifier, RemovedModel), Error> {
        let resolved = self.removable(specifier).await?;
        let removal = resolved.local()?.removal(&resolved.model).await?;
        Ok((resolved.specifier, removal))
    }

    async fn removable(&self, specifier: &ModelSpecifier) -> Result<Resolved, Error> {
        // A name of the store means that, also where its file is missing, for which no instance would be found.
        let is_local = specifier.backend().is_none() && specifier.provider().is_none_or(|provider| provider == LOCAL);
        let is_stored = |name: &str| {
            self.puller.store().is_some_and(|store| !matches!(store.get(name), Ok(None) | Err(StoreError::Name { .. })))
        };
        if is_local
            && let Some(instance) = self.store_instance()
            && is_stored(specifier.model())
        {
            return self.resolve(&ModelSpecifier::local(specifier.model(), instance)?).await;
        }
        let resolved = self.resolve(specifier).await?;
        if resolved.provider.ollama().is_some() && specifier.backend().is_none() {
            return Err(Error::Elsewhere {
                instance: resolved.provider.name().to_owned(),
                kind: ErrorKind::InvalidRequest,
                problem: format!(
                    "`{}` is a model of that server, not of the store; write `{}` to delete it there",
                    specifier, resolved.specifier
                ),
            });
        }
        Ok(resolved)
    }

    /// Deletes the downloads that are not whole, and says which; those that are under way stay.
    pub async fn remove_unfinished(&self) -> Result<Vec<UnfinishedDownload>, Error> {
        self.puller.remove_unfinished().await
    }

    /// The downloads that [`Registry::remove_unfinished`] would delete.
    pub fn unfinished(&self) -> Vec<UnfinishedDownload> {
        let all = self.puller.store().map(|store| unfinished(&store.parts())).unwrap_or_default();
        all.into_iter().filter(|download| !download.under_way).collect()
    }

    /// Gives a model another name beside the one it has, on its own instance.
    pub async fn copy(&self, specifier: &ModelSpecifier, name: &str) -> Result<ModelSpecifier, Error> {
        let resolved = self.resolve(specifier).await?;
        let instance = resolved.provider.name();
        let plain = match name.strip_prefix("local/").unwrap_or(name).rsplit_once('@') {
            Some((plain, there)) if there == instance => plain,
            Some((plain, there)) => {
                return Err(Error::Elsewhere {
                    instance: instance.to_owned(),
                    kind: ErrorKind::InvalidRequest,
                    problem: format!(
                        "a model is copied where it is, and not to `{}`; write `{}` alone",
                        quoted(there),
                        quoted(plain)
                    ),
                });
            }
            None => name,
        };
        resolved.local()?.copy(&resolved.model, plain).await?;
        Ok(ModelSpecifier::local(plain, instance)?)
    }

    /// The first instance that runs models in this process: it serves the store.
    fn store_instance(&self) -> Option<&str> {
        let serves = |instance: &&Arc<dyn Provider>| instance.provider_type() == ProviderType::Candle;
        self.instances.iter().find(serves).map(|instance| instance.name())
    }

    /// The instance of that name.
    pub fn instance(&self, name: &str) -> Result<&Arc<dyn Provider>, Error> {
        self.named("backend", name)
    }

    /// The instance of that name, if it holds models in memory.
    pub fn local(&self, name: &str) -> Result<&dyn LocalProvider, Error> {
        let instance = self.instance(name)?;
        instance.local().ok_or_else(|| self.not_local(name))
    }

    /// Which instance and model a specifier means.
    ///
    /// `local/m@i` is `m` on instance `i`; `i/m` is `m` on instance `i`; `m` and `local/m` are the
    /// instance that has `m`: the default backend, of whatever type, if it does, else a local one that has it
    /// loaded, else one that has it stored. Only this last form asks the instances; whether an instance
    /// that is named has the model shows when it is used.
    pub async fn resolve(&self, specifier: &ModelSpecifier) -> Result<Resolved, Error> {
        let model = specifier.model();
        let (first, model) = match specifier.provider() {
            None => (LOCAL, model.to_owned()),
            Some(provider) => match provider.split_once('/') {
                None => (provider, model.to_owned()),
                Some((first, rest)) => (first, format!("{rest}/{model}")),
            },
        };
        match (first, specifier.backend()) {
            (LOCAL, None) => self.find(&model).await,
            (LOCAL, Some(backend)) => {
                let provider = self.named("backend", backend)?;
                if provider.local().is_none() {
                    return Err(Error::WrittenOtherwise { instance: backend.to_owned(), model });
                }
                Resolved::new(Arc::clone(provider), model, named_there(backend))
            }
            (instance, None) => {
                Resolved::new(Arc::clone(self.named("provider", instance)?), model, named_there(instance))
            }
            (_, Some(backend)) if self.named("backend", backend)?.local().is_none() => {
                Err(Error::WrittenOtherwise { instance: backend.to_owned(), model })
            }
            (_, Some(backend)) => {
                Err(Error::BackendOfProvider { specifier: specifier.to_string(), model, backend: backend.to_owned() })
            }
        }
    }

    /// The specifier resolved, or the default model where there is none.
    pub async fn resolve_or_default(&self, specifier: Option<&ModelSpecifier>) -> Result<Resolved, Error> {
        self.resolve(specifier.unwrap_or(self.default_model())).await
    }

    /// The specifier resolved, if the instance it means has the model.
    pub async fn check(&self, specifier: &ModelSpecifier) -> Result<Resolved, Error> {
        let resolved = self.resolve(specifier).await?;
        let Resolved { provider, model, .. } = &resolved;
        // A model may have more names than its instance lists.
        if matches!(holds(provider, model).await, Ok(Holding::Loaded | Holding::Stored)) {
            return Ok(resolved);
        }
        let names = async {
            let servable = provider.models().await?.into_iter().filter(|entry| entry.problem.is_none());
            Ok(servable.map(|entry| entry.name).collect::<Vec<_>>())
        };
        let names = answered(provider, names).await?;
        if names.contains(model) {
            return Ok(resolved);
        }
        Err(Error::ModelNotFound {
            model: model.clone(),
            instances: vec![provider.name().to_owned()],
            near: nearest(model, names.iter().map(String::as_str)),
            unreachable: Vec::new(),
        })
    }

    /// Every model that can be asked for, of the instances that answer in time.
    pub async fn specifiers(&self) -> Vec<ModelSpecifier> {
        let listed = self.list(None).await.unwrap_or_default();
        let names = listed.iter().flat_map(|instance| {
            let servable = instance.models.iter().flatten().filter(|entry| entry.problem.is_none());
            servable.filter_map(|entry| instance.specifier(&entry.name))
        });
        names.collect()
    }

    /// What every instance has, or the one named `backend`. An instance that fails or does not
    /// answer in time is listed with its error.
    pub async fn list(&self, backend: Option<&str>) -> Result<Vec<InstanceModels>, Error> {
        let listing = self.chosen(backend)?.into_iter().map(|provider| async {
            InstanceModels {
                instance: provider.name().to_owned(),
                provider_type: provider.provider_type(),
                local: provider.local().is_some(),
                models: answered_within(list_limit(provider, backend), provider, provider.models()).await,
            }
        });
        Ok(join_all(listing).await)
    }

    /// The models that could be pulled by a short name, or those that are recommended, for the instance named `backend` or
    /// whichever of type `candle` comes first.
    pub async fn available(&self, backend: Option<&str>, recommended: bool) -> Result<Vec<AvailableModel>, Error> {
        let is_candle = |instance: &&Arc<dyn Provider>| instance.provider_type() == ProviderType::Candle;
        let instance = match backend {
            Some(name) => Some(self.instance(name)?),
            None => self.instances.iter().find(is_candle),
        };
        let Some(instance) = instance else { return Ok(available::available(recommended, None, &[])) };
        if !is_candle(&instance) {
            let (instance, provider_type) = (instance.name().to_owned(), instance.provider_type());
            return Err(Error::NoCatalogue { instance, provider_type });
        }
        let models = answered(instance, instance.models()).await.unwrap_or_default();
        let stored = models.into_iter().filter(|model| model.collection == Some(Collection::Store));
        let stored: Vec<String> = stored.map(|model| model.name).collect();
        let budget = instance.local().and_then(LocalProvider::memory_budget);
        Ok(available::available(recommended, budget, &stored))
    }

    /// What the model files of every local instance take on disk, or of the one named `backend`. An instance that fails or
    /// does not answer in time is told with its error.
    pub async fn storage(&self, backend: Option<&str>) -> Result<Vec<InstanceStorage>, Error> {
        let asked = self.chosen(backend)?.into_iter().filter_map(|provider| Some((provider, provider.local()?)));
        let storage = asked.map(|(provider, local)| async move {
            let places = answered(provider, local.storage()).await;
            InstanceStorage { instance: provider.name().to_owned(), places }
        });
        Ok(join_all(storage).await)
    }

    /// How every instance is, or the one named `backend`.
    pub async fn status(&self, backend: Option<&str>) -> Result<Vec<InstanceStatus>, Error> {
        let status = self.chosen(backend)?.into_iter().map(|provider| async {
            let health = answered(provider, async { Ok(provider.health().await) });
            let loaded = answered(provider, async {
                match provider.local() {
                    Some(local) => local.loaded().await,
                    None => Ok(Vec::new()),
                }
            });
            let (health, loaded) = join(health, loaded).await;
            InstanceStatus {
                instance: provider.name().to_owned(),
                provider_type: provider.provider_type(),
                health: health
                    .unwrap_or_else(|error| Health { status: HealthStatus::Unavailable, detail: error.to_string() }),
                // Its health says why it could not tell.
                loaded: loaded.unwrap_or_default(),
                dropped: provider.local().map(LocalProvider::dropped).unwrap_or_default(),
            }
        });
        Ok(join_all(status).await)
    }

    /// The instances, or the one of that name.
    fn chosen(&self, backend: Option<&str>) -> Result<Vec<&Arc<dyn Provider>>, Error> {
        match backend {
            Some(name) => Ok(vec![self.instance(name)?]),
            None => Ok(self.instances.iter().collect()),
        }
    }

    fn named(&self, role: &'static str, name: &str) -> Result<&Arc<dyn Provider>, Error> {
        let found = self.instances.iter().find(|i| i.name() == name);
        found.ok_or_else(|| Error::ProviderNotFound {
            role,
            name: name.to_owned(),
            configured: self.instances.iter().map(|i| i.name().to_owned()).collect(),
            near: nearest(name, self.instances.iter().map(|i| i.name())),
        })
    }

    fn not_local(&self, instance: &str) -> Error {
        let local = self.instances.iter().filter(|i| i.local().is_some());
        Error::NotLocal { instance: instance.to_owned(), local: local.map(|i| i.name().to_owned()).collect() }
    }

    /// The default backend if it has a model, else the local instance that does.
    async fn find(&self, model: &str) -> Result<Resolved, Error> {
        let ask = async |instance| (instance, holds(instance, model).await);
        let mut answers = Vec::new();
        let is_default = |i: &&Arc<dyn Provider>| self.default_backend.as_deref() == Some(i.name());
        // The default backend needs nobody else's answer, and others may be far away.
        if let Some(default) = self.instances.iter().find(is_default) {
            answers.push(ask(default).await);
            if let [(default, Ok(Holding::Loaded | Holding::Stored))] = &answers[..] {
                let why = format!("the default backend `{}` has it", default.name());
                return Resolved::new(Arc::clone(default), model.to_owned(), why);
            }
        }
        let others = self.instances.iter().filter(|i| i.local().is_some() && !is_default(i));
        answers.extend(join_all(others.map(ask)).await);
        let rank = |holding: &Holding| match holding {
            Holding::Absent => None,
            Holding::Loaded => Some((1, "in memory")),
            Holding::Stored => Some((2, "stored")),
        };
        let failed = answers.iter().filter_map(|(_, holding)| Some(holding.as_ref().err()?.to_string()));
        let unreachable: Vec<String> = failed.collect();
        let best = answers
            .iter()
            .filter_map(|(instance, holding)| {
                let rank = rank(holding.as_ref().ok()?)?;
                Some((rank, *instance))
            })
            .min_by_key(|(rank, _)| *rank);
        if let Some(((_, how), instance)) = best {
            let mut why = format!("it is {how} on `{}`", instance.name());
            if !unreachable.is_empty() {
                why.push_str(&format!("; could not be asked: {}", unreachable.join("; ")));
            }
            return Resolved::new(Arc::clone(instance), model.to_owned(), why);
        }
        let instances = answers.iter().map(|(i, _)| i.name().to_owned()).collect();
        let there = answers.iter().filter(|(_, holding)| holding.is_ok()).map(|(instance, _)| *instance);
        Err(Error::ModelNotFound { model: model.to_owned(), instances, near: near(model, there).await, unreachable })
    }
}

/// The names near `model` on these instances.
async fn near(model: &str, instances: impl Iterator<Item = &Arc<dyn Provider>>) -> Vec<String> {
    let listings = join_all(instances.map(|i| answered(i, i.models()))).await;
    let entries: Vec<ModelEntry> = listings.into_iter().flatten().flatten().collect();
    let servable = entries.iter().filter(|entry| entry.problem.is_none());
    nearest(model, servable.map(|entry| entry.name.as_str()))
}

/// Whether an instance holds a model in memory, or could.
async fn holds(instance: &Arc<dyn Provider>, model: &str) -> Result<Holding, Error> {
    match instance.local() {
        Some(local) => answered(instance, local.holds(model)).await,
        None => {
            let models = answered(instance, instance.models()).await?;
            let has = models.iter().any(|entry| entry.name == model && entry.problem.is_none());
            Ok(if has { Holding::Stored } else { Holding::Absent })
        }
    }
}

/// What an instance says, or that it did not in time.
async fn answered<T>(instance: &Arc<dyn Provider>, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    answered_within(limit(instance), instance, answer).await
}

async fn answered_within<T>(
    limit: Duration,
    instance: &Arc<dyn Provider>,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::NoAnswer { instance: instance.name().to_owned(), limit }),
    }
}

/// How long an instance may take to say what it has, and how it is.
fn limit(instance: &Arc<dyn Provider>) -> Duration {
    match instance.provider_type() {
        ProviderType::Candle => ANSWER_LIMIT,
        ProviderType::Ollama => NEAR_LIMIT,
        ProviderType::OpenAi | ProviderType::Kernel => FAR_LIMIT,
    }
}

/// How long an instance may take to list its models, alone or with all others.
fn list_limit(instance: &Arc<dyn Provider>, backend: Option<&str>) -> Duration {
    match (instance.provider_type(), backend) {
        (ProviderType::Candle, _) | (_, Some(_)) => limit(instance),
        (_, None) => LIST_LIMIT,
    }
}

fn default_model(config: &Config, instances: &[Arc<dyn Provider>]) -> Result<ModelList, Error> {
    if let Some(model) = &config.default_model {
        return Ok(model.clone());
    }
    let candle = instances.iter().find(|i| i.name() == "candle");
    let named = config.default_backend.as_ref().and_then(|name| instances.iter().find(|i| i.name() == name));
    let backend = match named.or(candle).or(instances.first()) {
        Some(instance) => instance,
        None => return Err(ConfigError::NoProvider.into()),
    };
    let model = config.providers.get(backend.name()).and_then(|provider| provider.default_model.as_deref());
    Ok(specifier(backend.name(), backend.local().is_some(), model.unwrap_or("moonlet"))?.into())
}

fn named_there(instance: &str) -> String {
    format!("`{instance}` is named")
}

/// The whole name of a model on an instance.
fn specifier(instance: &str, local: bool, model: &str) -> Result<ModelSpecifier, SpecifierError> {
    if local { ModelSpecifier::local(model, instance) } else { format!("{instance}/{model}").parse() }
}

impl InstanceModels {
    /// The whole name of one of its models; `None` where the model's name cannot be part of one.
    pub fn specifier(&self, model: &str) -> Option<ModelSpecifier> {
        specifier(&self.instance, self.local, model).ok()
    }
}

impl Resolved {
    fn new(provider: Arc<dyn Provider>, model: String, why: String) -> Result<Resolved, Error> {
        let specifier = specifier(provider.name(), provider.local().is_some(), &model)?;
        Ok(Resolved { provider, model, specifier, why })
    }

    /// The server that keeps the model, if that is an Ollama.
    pub fn ollama(&self) -> Result<&OllamaClient, Error> {
        self.provider.ollama().ok_or_else(|| Error::Elsewhere {
            instance: self.provider.name().to_owned(),
            kind: ErrorKind::InvalidRequest,
            problem: "only a provider of type `ollama` does that; name one as in `MODEL@ollama`".to_owned(),
        })
    }

    /// Facts about the model, from an instance that answers.
    pub async fn info(&self) -> Result<ModelInfo, Error> {
        let local = self.local()?;
        // A server that is there may take its time to read a file; one that is not says nothing at all.
        if self.provider.ollama().is_some() {
            answered(&self.provider, async { Ok(self.provider.health().await) }).await?;
        }
        local.info(&self.model).await
    }

    /// The instance as one that holds models in memory.
    pub fn local(&self) -> Result<&dyn LocalProvider, Error> {
        self.provider
            .local()
            .ok_or_else(|| Error::NotLocal { instance: self.provider.name().to_owned(), local: Vec::new() })
    }
}
