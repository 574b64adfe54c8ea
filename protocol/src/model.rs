//! `model_request`, `model_reply` and `model_event`: borrowing a kernel's models without running Lua. The request and the reply are
//! tagged on `command`, the event on `event`. An error is an ordinary error reply with its machine-readable `kind`.

use std::path::PathBuf;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chat::{ChatMessage, FinishReason, GenerateOptions, TokenLogprobs, Tool, ToolCall, Usage};
use crate::ledger::{LedgerReply, LedgerRequest};
use crate::lenient::{is_off, models, null_default};

/// What a client wants of the kernel's models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum ModelRequest {
    /// Which models there are.
    List(WhichBackend),
    /// What a model is.
    Info(NamedModel),
    /// How the backends are and what they have loaded.
    Status(WhichBackend),
    /// Load a model into memory, or say how long one stays that is loaded.
    Load(LoadRequest),
    /// Drop a model from memory.
    Unload(NamedModel),
    /// Which models could be pulled by a short name.
    Available(AvailableRequest),
    /// What model files take on disk.
    Storage(WhichBackend),
    /// Delete a model that was pulled.
    Remove(RemoveRequest),
    /// Delete what interrupted pulls left.
    RemoveUnfinished(RemoveUnfinishedRequest),
    /// Give a model that was pulled another name.
    Copy(CopyRequest),
    /// Bring a model into the store.
    Pull(PullRequest),
    /// Make a model of a file, on a backend that keeps models of its own.
    Create(CreateRequest),
    /// Continue a conversation.
    Chat(ModelChatRequest),
    /// Continue a text.
    Complete(ModelCompleteRequest),
    /// Turn texts into vectors.
    Embed(ModelEmbedRequest),
    /// What requests took.
    Usage(LedgerRequest),
    /// Stop another request.
    Cancel(CancelRequest),
}

/// One backend, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhichBackend {
    /// A provider instance's name; none is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
}

/// One model, by its specifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedModel {
    /// The specifier.
    pub model: String,
}

/// Load a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadRequest {
    /// The specifier.
    pub model: String,
    /// Whether it stays however long nobody uses it and whatever needs its place; none leaves that as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<bool>,
    /// Seconds without a request after which it leaves memory; none leaves that as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive_seconds: Option<u64>,
}

/// Which models could be pulled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailableRequest {
    /// The provider instance that they are for; none is whichever runs models in its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// Only those that answer well for their size.
    #[serde(default, skip_serializing_if = "is_off", deserialize_with = "null_default")]
    pub recommended: bool,
}

/// Delete a model. What is not understood of it is an error, because what goes does not come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveRequest {
    /// The specifier.
    pub model: String,
    /// Delete nothing, and answer what would be deleted.
    #[serde(default, skip_serializing_if = "is_off", deserialize_with = "null_default")]
    pub only_ask: bool,
}

/// Delete the downloads that are not whole, save for those that are under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveUnfinishedRequest {
    /// Delete nothing, and answer what would be deleted.
    #[serde(default, skip_serializing_if = "is_off", deserialize_with = "null_default")]
    pub only_ask: bool,
}

/// Give a model another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyRequest {
    /// The specifier.
    pub model: String,
    /// The name that it is to have beside its own.
    pub name: String,
}

/// Bring a model into the store. What is not understood of it is an error, because much may come that nobody meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    /// A known name, `hf:OWNER/REPOSITORY:QUANTIZATION`, an address, or a path on the kernel's machine.
    pub spec: String,
    /// The quantization, where the spec does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// The name to store it under; none is made of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is fetched although it is there, and takes the place of another model of that name.
    #[serde(default, skip_serializing_if = "is_off", deserialize_with = "null_default")]
    pub force: bool,
}

/// Make a model of a GGUF file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CreateRequest {
    /// The specifier that it shall have.
    pub model: String,
    /// The file, on the kernel's machine.
    pub file: PathBuf,
    /// How conversations are written, in the backend's template language; none leaves that to the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What the model is told before a conversation that has no system message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Options that hold unless a request has others, by the backend's names.
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "null_default")]
    pub parameters: Map<String, Value>,
}

/// Continue a conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelChatRequest {
    /// The specifier, or several as a list or with commas, of which the first that can answer does; none is the kernel's default model.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "models")]
    pub model: Option<String>,
    /// The conversation so far.
    pub messages: Vec<ChatMessage>,
    /// Tools that the model may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub tools: Vec<Tool>,
    /// Ask the next model also when one fails after a part of its answer came, which then begins anew.
    #[serde(default, skip_serializing_if = "is_off", deserialize_with = "null_default")]
    pub fallback_after_text: bool,
    /// How to generate.
    #[serde(default, deserialize_with = "null_default")]
    pub options: GenerateOptions,
}

/// Continue a text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelCompleteRequest {
    /// The specifier, or several as a list or with commas, of which the first that can answer does; none is the kernel's default model.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "models")]
    pub model: Option<String>,
    /// The text.
    pub prompt: String,
    /// Feed the text to the model as it stands, rather than as a user's message through the model's chat template.
    #[serde(default, skip_serializing_if = "is_off", deserialize_with = "null_default")]
    pub raw: bool,
    /// Ask the next model also when one fails after a part of its answer came, which then begins anew.
    #[serde(default, skip_serializing_if = "is_off", deserialize_with = "null_default")]
    pub fallback_after_text: bool,
    /// How to generate.
    #[serde(default, deserialize_with = "null_default")]
    pub options: GenerateOptions,
}

/// Turn texts into vectors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelEmbedRequest {
    /// The specifier; of several the first, because vectors of different models cannot be compared; none is the kernel's default model.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "models")]
    pub model: Option<String>,
    /// The texts.
    pub texts: Vec<String>,
    /// The longest it may take, in seconds, waiting and loading included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
}

/// Stop another request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// The `msg_id` of the request to stop.
    pub request: String,
}

/// The answer to a model request, of the same command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum ModelReply {
    /// The models.
    List(ListReply),
    /// The model.
    Info(Box<ModelInfoReply>),
    /// The backends.
    Status(StatusReply),
    /// What is in memory now.
    Load(LoadedModel),
    /// What was dropped.
    Unload(NamedModel),
    /// The models.
    Available(AvailableReply),
    /// The places.
    Storage(StorageReply),
    /// What was deleted.
    Remove(RemovedModel),
    /// What was deleted.
    RemoveUnfinished(UnfinishedReply),
    /// The specifier by which the model can be asked for, too.
    Copy(NamedModel),
    /// What is in the store now.
    Pull(PulledModel),
    /// What was made.
    Create(NamedModel),
    /// The model's answer.
    Chat(GenerateReply),
    /// The text's continuation.
    Complete(GenerateReply),
    /// The texts' vectors.
    Embed(EmbedReply),
    /// What requests took.
    Usage(Box<LedgerReply>),
    /// Whether something was cancelled.
    Cancel(CancelReply),
}

/// The models that could be pulled by a short name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailableReply {
    /// What there is.
    pub models: Vec<AvailableModel>,
}

/// A model that could be pulled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailableModel {
    /// The short name.
    pub name: String,
    /// Where its files come from.
    #[serde(default)]
    pub repository: Option<String>,
    /// The quantization that is pulled when none is named.
    #[serde(default)]
    pub quantization: Option<String>,
    /// About how many bytes that file has.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// About how many bytes its files have, by quantization.
    #[serde(default, deserialize_with = "null_default")]
    pub sizes: BTreeMap<String, u64>,
    /// Number of weights.
    #[serde(default)]
    pub parameters: Option<u64>,
    /// Its licence.
    #[serde(default)]
    pub license: Option<String>,
    /// Whether it answers well for its size.
    #[serde(default, deserialize_with = "null_default")]
    pub recommended: bool,
    /// Whether there is the memory for it, where that is known.
    #[serde(default)]
    pub fits: Option<bool>,
    /// The names by which it is in the store already.
    #[serde(default, deserialize_with = "null_default")]
    pub stored: Vec<String>,
}

/// What model files take on disk, and the errors of backends that could not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageReply {
    /// Folder by folder.
    pub places: Vec<StoragePlace>,
    /// One per backend that could not say.
    #[serde(default, deserialize_with = "null_default")]
    pub errors: Vec<BackendError>,
}

/// What the model files of one folder take on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoragePlace {
    /// The provider instance's name.
    pub backend: String,
    /// Whose files they are, as in [`ListedModel`].
    pub collection: String,
    /// The folder.
    pub path: String,
    /// How many models are there.
    #[serde(default, deserialize_with = "null_default")]
    pub models: u64,
    /// Bytes of their files, each counted once.
    #[serde(default, deserialize_with = "null_default")]
    pub bytes: u64,
    /// Bytes of what is on its way or was left unfinished.
    #[serde(default, deserialize_with = "null_default")]
    pub part_bytes: u64,
    /// Which downloads that is.
    #[serde(default, deserialize_with = "null_default")]
    pub unfinished: Vec<UnfinishedDownload>,
    /// Whether `remove` deletes them; others' are read in place.
    #[serde(default, deserialize_with = "null_default")]
    pub ours: bool,
    /// Bytes that are free on its disk, where that is known.
    #[serde(default)]
    pub free_bytes: Option<u64>,
    /// Bytes that its disk has, where that is known.
    #[serde(default)]
    pub total_bytes: Option<u64>,
}

/// Downloads that are not whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedReply {
    /// Each of them.
    pub downloads: Vec<UnfinishedDownload>,
}

/// A download that is not whole; the same pull goes on where it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedDownload {
    /// Where it comes from, without what a query says; the name of its file where nothing tells more.
    pub source: String,
    /// Bytes of disk that it takes.
    #[serde(default, deserialize_with = "null_default")]
    pub bytes: u64,
    /// Bytes that came for certain, where that is known.
    #[serde(default)]
    pub completed_bytes: Option<u64>,
    /// Bytes of the whole file, where they are known.
    #[serde(default)]
    pub total_bytes: Option<u64>,
    /// Seconds since the last of it was written.
    #[serde(default, deserialize_with = "null_default")]
    pub idle_seconds: u64,
    /// Whether somebody brings it now.
    #[serde(default, deserialize_with = "null_default")]
    pub under_way: bool,
}

/// A model that was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedModel {
    /// The specifier that means nothing any more.
    pub model: String,
    /// Bytes of disk that are free now; none while another name means the same file.
    #[serde(default, deserialize_with = "null_default")]
    pub freed_bytes: u64,
    /// The other names of the same file.
    #[serde(default, deserialize_with = "null_default")]
    pub kept_as: Vec<String>,
}

/// The models of the backends that answered, and the errors of those that did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListReply {
    /// What there is.
    pub models: Vec<ListedModel>,
    /// One per backend that could not say.
    #[serde(default, deserialize_with = "null_default")]
    pub errors: Vec<BackendError>,
}

/// A model that a backend could serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedModel {
    /// The provider instance's name.
    pub backend: String,
    /// The model's name there.
    pub name: String,
    /// The specifier by which this kernel is asked for it.
    #[serde(default)]
    pub specifier: Option<String>,
    /// Size on disk in bytes, where it is known.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// Whether it is in memory.
    #[serde(default, deserialize_with = "null_default")]
    pub loaded: bool,
    /// Where it lies: a path, an address, or that it is part of the program.
    #[serde(default)]
    pub location: Option<String>,
    /// Whose files it is among: `folder`, `store`, `path`, `hugging_face`, `ollama`, `lm_studio`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// E.g. `llama`, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Number of weights, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// E.g. `Q8_0`, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// Tokens of context that it was trained for, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// Why it does not run there, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Why a backend could not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendError {
    /// The provider instance's name.
    pub backend: String,
    /// Machine-readable, e.g. `network`.
    #[serde(default, deserialize_with = "null_default")]
    pub kind: String,
    /// For people.
    pub message: String,
}

/// What a model is; a backend leaves out what it does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfoReply {
    /// The canonical specifier.
    pub specifier: String,
    /// The model's own name.
    #[serde(default)]
    pub name: Option<String>,
    /// E.g. `llama`.
    #[serde(default)]
    pub architecture: Option<String>,
    /// Number of weights.
    #[serde(default)]
    pub parameters: Option<u64>,
    /// Number of decoder layers.
    #[serde(default)]
    pub layers: Option<u64>,
    /// Width of a hidden state.
    #[serde(default)]
    pub hidden: Option<u64>,
    /// Attention heads.
    #[serde(default)]
    pub heads: Option<u64>,
    /// Heads of keys and values.
    #[serde(default)]
    pub kv_heads: Option<u64>,
    /// Tokens of context that it was trained for.
    #[serde(default)]
    pub context_length: Option<u64>,
    /// Tokens of context in use.
    #[serde(default)]
    pub context_size: Option<u64>,
    /// Number of tokens in its vocabulary.
    #[serde(default)]
    pub vocabulary: Option<u64>,
    /// E.g. `Q8_0`.
    #[serde(default)]
    pub quantization: Option<String>,
    /// Size on disk in bytes.
    #[serde(default)]
    pub file_bytes: Option<u64>,
    /// Memory taken in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// In which form it keeps keys and values, e.g. `f16`.
    #[serde(default)]
    pub kv_cache_type: Option<String>,
    /// Bytes that the keys and values of one token take.
    #[serde(default)]
    pub kv_bytes_per_token: Option<u64>,
    /// What computes it.
    #[serde(default)]
    pub executor: Option<String>,
    /// Whether it can hold a conversation.
    #[serde(default)]
    pub has_chat_template: Option<bool>,
    /// Whether its template knows tools.
    #[serde(default)]
    pub supports_tools: Option<bool>,
}

/// How the backends are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusReply {
    /// One per backend asked.
    pub backends: Vec<BackendStatus>,
}

/// How a backend is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// The provider instance's name.
    pub backend: String,
    /// Its type, e.g. `candle`.
    #[serde(rename = "type", default, deserialize_with = "null_default")]
    pub provider_type: String,
    /// How it is, in one word.
    pub status: BackendHealth,
    /// What it runs on, or what is wrong with it and what would help.
    #[serde(default, deserialize_with = "null_default")]
    pub detail: String,
    /// What it holds in memory.
    #[serde(default, deserialize_with = "null_default")]
    pub loaded: Vec<LoadedModel>,
    /// What left its memory lately without being asked to, the last one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub dropped: Vec<DroppedModel>,
}

/// A model that left memory without being asked to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedModel {
    /// The model's name on its backend.
    pub name: String,
    /// Why, for people.
    #[serde(default, deserialize_with = "null_default")]
    pub reason: String,
    /// Bytes that it was reckoned to take.
    #[serde(default, deserialize_with = "null_default")]
    pub memory_bytes: u64,
    /// Seconds since then.
    #[serde(default, deserialize_with = "null_default")]
    pub seconds_ago: u64,
}

/// How a backend is, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendHealth {
    /// It answers.
    Ready,
    /// It answers, but something it was configured with is out of reach.
    Degraded,
    /// It does not answer.
    #[default]
    Unavailable,
    /// A word that is not known here.
    #[serde(other)]
    Unknown,
}

impl BackendHealth {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            BackendHealth::Ready => "ready",
            BackendHealth::Degraded => "degraded",
            BackendHealth::Unavailable => "unavailable",
            BackendHealth::Unknown => "unknown",
        }
    }
}

/// A model in memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadedModel {
    /// The provider instance's name.
    #[serde(default, deserialize_with = "null_default")]
    pub backend: String,
    /// The model's name there.
    pub name: String,
    /// Memory in bytes as reckoned before it was loaded: weights, and the keys and values that are kept.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Bytes by which the process grew while it was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    /// Tokens of context in use.
    #[serde(default)]
    pub context_size: Option<u64>,
    /// What loading took, in milliseconds.
    #[serde(default)]
    pub load_ms: Option<f64>,
    /// Forward passes so far: stops rising once nothing is generating.
    #[serde(default)]
    pub steps: Option<u64>,
    /// Requests it is working on.
    #[serde(default, deserialize_with = "null_default")]
    pub active_requests: u32,
    /// Whether it stays however long nobody uses it and whatever needs its place.
    #[serde(default, deserialize_with = "null_default")]
    pub pinned: bool,
    /// Seconds without a request after which it leaves memory; none: when its place is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive_seconds: Option<u64>,
    /// Seconds since its last request ended.
    #[serde(default, deserialize_with = "null_default")]
    pub idle_seconds: u64,
    /// In the answer to a load: what had to leave memory for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub made_room: Vec<DroppedModel>,
}

/// A model that was brought into the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledModel {
    /// The name that it is stored under.
    pub name: String,
    /// The specifier by which this kernel is asked for it, if a backend of its serves the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specifier: Option<String>,
    /// Its file, on the kernel's machine.
    #[serde(default)]
    pub location: Option<String>,
    /// Bytes of its file.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// The SHA-256 of its file, in hexadecimal digits.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Where it came from.
    #[serde(default)]
    pub source: Option<String>,
    /// The commit of the repository that it came from.
    #[serde(default)]
    pub revision: Option<String>,
    /// E.g. `Q4_K_M`.
    #[serde(default)]
    pub quantization: Option<String>,
    /// E.g. `apache-2.0`.
    #[serde(default)]
    pub license: Option<String>,
    /// Whether it was there before, so that nothing came.
    #[serde(default, deserialize_with = "null_default")]
    pub was_there: bool,
}

/// What a model generated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerateReply {
    /// The text.
    #[serde(default, deserialize_with = "null_default")]
    pub text: String,
    /// What it thought before answering, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// The tools it calls.
    #[serde(default, deserialize_with = "null_default")]
    pub tool_calls: Vec<ToolCall>,
    /// How likely each of its tokens was, if that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub logprobs: Vec<TokenLogprobs>,
    /// The tokens it took.
    #[serde(default, deserialize_with = "null_default")]
    pub usage: Usage,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// The canonical specifier of the model that answered.
    pub model: String,
    /// What the request took, in milliseconds.
    #[serde(default, deserialize_with = "null_default")]
    pub duration_ms: f64,
    /// How that model was come by.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub route: Vec<RouteDecision>,
}

/// Texts as vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbedReply {
    /// One for each text, in their order.
    pub embeddings: Vec<Vec<f32>>,
    /// Tokens of all texts together, where the backend tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u32>,
    /// The canonical specifier of the model that answered.
    pub model: String,
}

/// What a cancel did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelReply {
    /// Whether the request was running; false when it had ended already or never was.
    pub cancelled: bool,
}

/// One decision on the way from a request to the model that answers it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteDecision {
    /// What was decided.
    pub action: RouteAction,
    /// The model it is about, by its specifier.
    #[serde(default, deserialize_with = "null_default")]
    pub model: String,
    /// Why, for people.
    #[serde(default, deserialize_with = "null_default")]
    pub reason: String,
    /// The word for the error that led to it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Milliseconds until the model is asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// The provider instance on whose far side this was decided; none: in the kernel that says this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What was decided of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteAction {
    /// It is asked. What was said of an answer before is not part of this one.
    Chosen,
    /// It failed and is asked again after a wait.
    Retry,
    /// It failed and the next model of the list is asked.
    Fallback,
    /// It is not asked at all.
    Skipped,
    /// It failed so often that its instance is not asked for a while.
    BreakerOpened,
    /// Its instance answers again.
    BreakerClosed,
    /// It failed, and no other model is asked: the request ends.
    Failed,
    /// A word that is not known here.
    #[default]
    #[serde(other)]
    Unknown,
}

impl RouteAction {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            RouteAction::Chosen => "chosen",
            RouteAction::Retry => "retry",
            RouteAction::Fallback => "fallback",
            RouteAction::Skipped => "skipped",
            RouteAction::BreakerOpened => "breaker_opened",
            RouteAction::BreakerClosed => "breaker_closed",
            RouteAction::Failed => "failed",
            RouteAction::Unknown => "unknown",
        }
    }
}

/// Something that happened while a model request runs; parented to it, on iopub.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ModelEvent {
    /// A piece of the answer.
    Text {
        /// The piece.
        text: String,
    },
    /// A piece of the thinking.
    Thinking {
        /// The piece.
        text: String,
    },
    /// How likely a token is that the answer goes on with.
    Logprobs(TokenLogprobs),
    /// A tool is called.
    ToolCall(ToolCall),
    /// A model left memory so that this one could come.
    Dropped(DroppedModel),
    /// Which model is asked, or why one is not.
    RouteDecision(RouteDecision),
    /// Most of a budget is spent.
    BudgetWarning {
        /// What is spent of which limit, for people.
        message: String,
    },
    /// The tokens it took.
    Usage(Usage),
    /// Something long, such as loading, is under way.
    Progress {
        /// What is being done.
        task: String,
        /// How much of it is done.
        #[serde(default, deserialize_with = "null_default")]
        completed: u64,
        /// Out of how much, where that is known.
        #[serde(default)]
        total: Option<u64>,
    },
    /// A model is on its way into the store.
    Pull(PullProgress),
    /// The generation ended.
    Done {
        /// Why.
        finish_reason: FinishReason,
    },
    /// An event that is not known here.
    #[serde(other, skip_serializing)]
    Unknown,
}

/// How far a pull is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PullProgress {
    /// What is being done: `waiting` for another pull of the same file, `downloading`, `verifying` or `copying`.
    #[serde(default, deserialize_with = "null_default")]
    pub stage: String,
    /// The file that it is done to.
    #[serde(default, deserialize_with = "null_default")]
    pub file: String,
    /// Bytes that are done; what came in an earlier pull counts.
    #[serde(default, deserialize_with = "null_default")]
    pub completed_bytes: u64,
    /// Bytes of the file, where they are known.
    #[serde(default)]
    pub total_bytes: Option<u64>,
    /// Bytes that come in a second, as lately.
    #[serde(default)]
    pub bytes_per_second: Option<f64>,
    /// Seconds until the end of this, if it goes on so.
    #[serde(default)]
    pub seconds_left: Option<f64>,
}
