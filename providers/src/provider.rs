//! What every provider instance can do, and the values that say what it has and how it is.
//! Requests and events are the engine's own vocabulary; backends translate to and from it.

use std::fmt;
use std::path::{Path, PathBuf};

use futures::future::{self, BoxFuture};
use futures::stream::BoxStream;
use perilune_engine::{DroppedModel, Event, Facts, GenerateOptions, ModelInfo, Prompt, StateInfo};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::disk::DiskSpace;
use crate::error::Error;
use crate::ollama::OllamaClient;
use crate::pull::UnfinishedDownload;

/// The events of one generation. A stream that does not fail ends with `Usage`, unless a server elsewhere did not tell it, then
/// `Done`, also when it was cancelled; an error is its last item. Dropping it cancels the generation.
pub type EventStream = BoxStream<'static, Result<Event, Error>>;

/// One configured provider. Its futures need a tokio runtime with timers.
pub trait Provider: Send + Sync {
    /// The instance's name in the configuration.
    fn name(&self) -> &str;

    /// What kind of provider it is.
    fn provider_type(&self) -> ProviderType;

    /// The company at the other end, by the word that price lists have for it, where it is known to be that.
    fn vendor(&self) -> Option<&str> {
        None
    }

    /// Starts a generation; nothing happens until the stream is polled. Cancelling `cancel` ends
    /// it within one step, or at once while it waits for the model.
    fn generate(&self, request: GenerateRequest, cancel: CancellationToken) -> EventStream;

    /// What it could serve, by name.
    fn models(&self) -> BoxFuture<'_, Result<Vec<ModelEntry>, Error>>;

    /// Whether it could answer now. Never fails: a failure is the answer.
    fn health(&self) -> BoxFuture<'_, Health>;

    /// Writes what a model computes of a prompt, its keys and values, to a file on this machine; what its session knows
    /// already is not computed again. Dropping the future takes it back. Fails with [`Error::NoState`] where models do
    /// not run in this process.
    fn save_state(&self, _: StateRequest) -> BoxFuture<'_, Result<StateInfo, Error>> {
        Box::pin(future::ready(Err(no_state(self.name(), self.provider_type()))))
    }

    /// Lets a session know what [`Provider::save_state`] wrote, so that a prompt which begins alike is not computed again.
    fn restore_state(&self, _session: &str, _model: &str, _path: &Path) -> BoxFuture<'_, Result<StateInfo, Error>> {
        Box::pin(future::ready(Err(no_state(self.name(), self.provider_type()))))
    }

    /// Turns texts into vectors. Dropping the future takes it back. Fails with [`Error::NoEmbeddings`] where there are none.
    fn embed(&self, _: EmbedRequest) -> BoxFuture<'_, Result<Embeddings, Error>> {
        let (instance, provider_type) = (self.name().to_owned(), self.provider_type());
        Box::pin(future::ready(Err(Error::NoEmbeddings { instance, provider_type })))
    }

    /// The server that keeps this instance's models if that is an Ollama: it gets, names, makes and removes them itself.
    fn ollama(&self) -> Option<&OllamaClient> {
        None
    }

    /// The instance as one that holds models in memory, if it does.
    fn local(&self) -> Option<&dyn LocalProvider>;
}

/// A provider whose models are loaded into memory: `local/MODEL` means one of these.
pub trait LocalProvider: Provider {
    /// Facts about a model, from its file's header: it need not be in memory, and is not loaded.
    fn info(&self, model: &str) -> BoxFuture<'_, Result<ModelInfo, Error>>;

    /// Loads a model, or waits for the load that is under way. Its file is read once however many
    /// ask. Dropping the future ends the wait; the load itself goes on and its model stays.
    fn load(&self, model: &str) -> BoxFuture<'_, Result<LoadedModel, Error>>;

    /// Says how long a loaded model stays; what is `None` stays as it was. A model that is not loaded is an error.
    fn keep(&self, model: &str, keep: Keep) -> BoxFuture<'_, Result<LoadedModel, Error>>;

    /// Loads a model and says how long it stays.
    fn load_and_keep(&self, model: &str, keep: Keep) -> BoxFuture<'_, Result<LoadedModel, Error>> {
        let model = model.to_owned();
        Box::pin(async move {
            let loaded = self.load(&model).await?;
            if keep.is_nothing() {
                return Ok(loaded);
            }
            Ok(LoadedModel { made_room: loaded.made_room, ..self.keep(&model, keep).await? })
        })
    }

    /// Drops a loaded model once it is idle. It waits for the requests under way, but not without
    /// end, because a stream that nobody reads on holds the model for as long as it lives: a model
    /// that stays in use is [`Error::ModelInUse`] and stays loaded. Requests that come meanwhile use
    /// it as ever. Dropping the future takes the unload back. A model that is not loaded is an error.
    fn unload(&self, model: &str) -> BoxFuture<'_, Result<(), Error>>;

    /// The models in memory, by name.
    fn loaded(&self) -> BoxFuture<'_, Result<Vec<LoadedModel>, Error>>;

    /// The models that left memory lately without being asked to, the last one first.
    fn dropped(&self) -> Vec<DroppedModel> {
        Vec::new()
    }

    /// What its model files take on disk, place by place; nothing where it keeps none on this machine.
    fn storage(&self) -> BoxFuture<'_, Result<Vec<PlaceUsage>, Error>> {
        Box::pin(future::ready(Ok(Vec::new())))
    }

    /// Bytes of memory that its models may take together, where it keeps them within a budget of this process.
    fn memory_budget(&self) -> Option<u64> {
        None
    }

    /// Deletes a model that this program fetched. One that is in memory, and files of others, are left alone, with an error.
    fn remove(&self, model: &str) -> BoxFuture<'_, Result<RemovedModel, Error>> {
        Box::pin(future::ready(Err(not_stored(self.name(), self.provider_type(), model))))
    }

    /// What [`LocalProvider::remove`] would do, or why it would not.
    fn removal(&self, model: &str) -> BoxFuture<'_, Result<RemovedModel, Error>> {
        Box::pin(future::ready(Err(not_stored(self.name(), self.provider_type(), model))))
    }

    /// Gives a model that this program fetched another name beside the one it has.
    fn copy(&self, model: &str, _name: &str) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(future::ready(Err(not_stored(self.name(), self.provider_type(), model))))
    }

    /// Whether it has a model, and how near at hand.
    fn holds(&self, model: &str) -> BoxFuture<'_, Result<Holding, Error>>;
}

/// One generation to run on a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerateRequest {
    /// Who asks: one client's conversation with a kernel. Requests of one session may share what was computed of prompts
    /// that begin alike, and each session gets its fair share; without a name nothing is shared.
    #[serde(default)]
    pub session: String,
    /// The model's name on that provider, without provider and backend.
    pub model: String,
    /// What to continue.
    pub prompt: Prompt,
    /// How to continue it.
    #[serde(default)]
    pub options: GenerateOptions,
}

/// Texts to be turned into vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbedRequest {
    /// Who asks, as in [`GenerateRequest`].
    #[serde(default)]
    pub session: String,
    /// The model's name on that provider, without provider and backend.
    pub model: String,
    /// The texts, as they are.
    pub texts: Vec<String>,
    /// The longest it may take, in seconds, waiting and loading included.
    #[serde(default)]
    pub timeout_seconds: Option<f64>,
}

/// Texts as vectors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Embeddings {
    /// One for each text, in their order, all of one length.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of all texts together, where the backend tells them.
    pub prompt_tokens: Option<u32>,
}

/// Keys and values to be computed and written to a file.
#[derive(Clone, Debug, PartialEq)]
pub struct StateRequest {
    /// Who asks, as in [`GenerateRequest`].
    pub session: String,
    /// The model's name on that provider, without provider and backend.
    pub model: String,
    /// What is computed.
    pub prompt: Prompt,
    /// The file; one that is there is replaced, whole or not at all.
    pub path: PathBuf,
}

fn no_state(instance: &str, provider_type: ProviderType) -> Error {
    Error::NoState { instance: instance.to_owned(), provider_type }
}

fn not_stored(instance: &str, provider_type: ProviderType, model: &str) -> Error {
    Error::NotStored { instance: instance.to_owned(), provider_type, model: model.to_owned() }
}

/// The kinds of provider this build has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProviderType {
    /// GGUF models run in this process.
    Candle,
    /// Models of another kernel.
    Kernel,
    /// Models of an Ollama server.
    Ollama,
    /// Models of a server that speaks OpenAI's dialect.
    #[serde(rename = "openai")]
    OpenAi,
}

impl ProviderType {
    /// Every type, in the order errors list them.
    pub const ALL: [ProviderType; 4] =
        [ProviderType::Candle, ProviderType::Kernel, ProviderType::Ollama, ProviderType::OpenAi];

    /// The word the configuration uses.
    pub fn as_str(self) -> &'static str {
        match self {
            ProviderType::Candle => "candle",
            ProviderType::Kernel => "kernel",
            ProviderType::Ollama => "ollama",
            ProviderType::OpenAi => "openai",
        }
    }
}

impl fmt::Display for ProviderType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A model that an instance knows of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// The name it is asked for by.
    pub name: String,
    /// Bytes of the model's file.
    pub size_bytes: u64,
    /// Whether it is in memory.
    pub loaded: bool,
    /// Where it lies.
    pub location: Location,
    /// Why it cannot be asked for, and what would help; `None` for one that can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whose files it is among; `None` where that is not known, and for the bundled model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<Collection>,
    /// What its header tells, where that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
}

/// Whose files a model is among. Only the first two are Perilune's; the others are read in place and never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Collection {
    /// The `model_directory` of the instance.
    Folder,
    /// What was pulled.
    Store,
    /// A folder of `model_paths`.
    Path,
    /// The cache of Hugging Face's own programs.
    HuggingFace,
    /// Ollama's blobs.
    Ollama,
    /// LM Studio's folders.
    LmStudio,
}

impl Collection {
    /// The word that configuration, messages and commands use.
    pub fn as_str(self) -> &'static str {
        match self {
            Collection::Folder => "folder",
            Collection::Store => "store",
            Collection::Path => "path",
            Collection::HuggingFace => "hugging_face",
            Collection::Ollama => "ollama",
            Collection::LmStudio => "lm_studio",
        }
    }

    /// The collection of that word.
    pub fn of(word: &str) -> Option<Collection> {
        use Collection::{Folder, HuggingFace, LmStudio, Ollama, Path, Store};
        [Folder, Store, Path, HuggingFace, Ollama, LmStudio].into_iter().find(|known| known.as_str() == word)
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What the model files of one place take on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceUsage {
    /// Whose files they are.
    pub collection: Collection,
    /// The folder.
    pub path: PathBuf,
    /// How many models are there.
    pub models: u64,
    /// Bytes of their files, each counted once.
    pub bytes: u64,
    /// Bytes of what is on its way or was left unfinished.
    pub part_bytes: u64,
    /// Which downloads that is.
    #[serde(default)]
    pub unfinished: Vec<UnfinishedDownload>,
    /// Whether commands of ours delete them.
    pub ours: bool,
    /// The room on its disk, where the system tells.
    pub disk: Option<DiskSpace>,
}

/// What a removal did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedModel {
    /// The name that is gone.
    pub name: String,
    /// Bytes of disk that are free now; none while another name means the same file.
    pub freed_bytes: u64,
    /// The other names of the same file.
    pub kept_as: Vec<String>,
}

/// Where a model lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Location {
    /// In the binary.
    Bundled,
    /// In a file.
    File(PathBuf),
    /// Out of this process's reach; in the words of whoever has it.
    Elsewhere(String),
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Bundled => formatter.write_str("bundled"),
            Location::File(path) => write!(formatter, "{}", path.display()),
            Location::Elsewhere(place) => formatter.write_str(place),
        }
    }
}

/// A model in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadedModel {
    /// The name it was asked for by.
    pub name: String,
    /// Bytes of memory as reckoned before it was loaded: its weights, and the keys and values that it keeps.
    pub memory_bytes: u64,
    /// Bytes of memory by which this process grew while it was loaded; `None` where the system does not say.
    pub resident_bytes: Option<u64>,
    /// Tokens one request may hold, prompt and answer together.
    pub context_size: usize,
    /// Milliseconds its load took.
    pub load_ms: u64,
    /// Forward passes since it was loaded; stops rising once nothing is generating.
    pub steps: u64,
    /// Requests that hold it now.
    pub active_requests: usize,
    /// Whether somebody waits to unload it, so that it goes once no request holds it.
    pub unloading: bool,
    /// Whether it stays however long nobody uses it and whatever needs its place.
    pub pinned: bool,
    /// Seconds without a request after which it goes; `None`: it stays until its place is needed.
    pub keep_alive_seconds: Option<u64>,
    /// Seconds since its last request ended; 0 while there are any.
    pub idle_seconds: u64,
    /// Models that left memory so that this one could come, if this load was what brought it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_room: Vec<DroppedModel>,
}

/// How long a loaded model stays; what is `None` stays as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Keep {
    /// Whether it stays however long nobody uses it and whatever needs its place.
    pub pin: Option<bool>,
    /// Seconds without a request after which it goes.
    pub keep_alive_seconds: Option<u64>,
}

impl Keep {
    /// Whether it says anything.
    pub fn is_nothing(self) -> bool {
        self == Keep::default()
    }
}

/// Whether an instance has a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// In memory.
    Loaded,
    /// Stored, but not in memory.
    Stored,
    /// Not at all.
    Absent,
}

/// How an instance is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The short answer.
    pub status: HealthStatus,
    /// The long one: what it runs on, or what is wrong and what would help.
    pub detail: String,
}

/// The short answer of [`Health`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// It answers.
    Ready,
    /// It answers, but something it was configured with is out of reach.
    Degraded,
    /// It does not answer.
    Unavailable,
}
