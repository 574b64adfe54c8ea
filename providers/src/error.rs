//! Everything that can go wrong between a specifier and the last event, and the short word that
//! programs branch on. Errors are cheap to clone: many requests can wait for one load.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use perilune_engine::RouteDecision;
use serde::de::IntoDeserializer;
use serde::de::value::{self, StrDeserializer};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::nearest::{listed, quoted, suggestion};
use crate::provider::ProviderType;
use crate::pull::PullError;
use crate::specifier::SpecifierError;
use crate::store::StoreError;

/// An error of this crate.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that is not a model specifier.
    #[error(transparent)]
    Specifier(#[from] SpecifierError),
    /// A configuration that does not hold together.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// The model store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A model did not come.
    #[error(transparent)]
    Pull(Box<PullError>),
    /// A name that no configured instance has.
    #[error("unknown {role} `{}`; configured: {}{}", quoted(name), listed(configured), suggestion(near))]
    ProviderNotFound {
        /// `provider` or `backend`: what the name was used as.
        role: &'static str,
        /// The name.
        name: String,
        /// The instances there are.
        configured: Vec<String>,
        /// The instances whose names are near it.
        near: Vec<String>,
    },
    /// A backend was named together with a provider that is not `local`.
    #[error("`{specifier}` names a provider and a backend; write `local/{model}@{backend}` or leave `@{backend}` out")]
    BackendOfProvider {
        /// The specifier.
        specifier: String,
        /// Its model.
        model: String,
        /// Its backend.
        backend: String,
    },
    /// A model of an instance that holds none in memory was named as if it did.
    #[error("`{instance}` does not hold models in memory; write `{instance}/{model}`")]
    WrittenOtherwise {
        /// The instance.
        instance: String,
        /// The model.
        model: String,
    },
    /// Something that only a local instance can do was asked of another.
    #[error("`{instance}` does not hold models in memory; {}", local_ones(local))]
    NotLocal {
        /// The instance.
        instance: String,
        /// The instances that do; empty where they are not known.
        local: Vec<String>,
    },
    /// An instance cannot write down or take up what its models computed.
    #[error(
        "`{instance}` ({provider_type}) cannot save or restore what a model computed; only models that run in this process, of a provider of type `candle`, can"
    )]
    NoState {
        /// The instance.
        instance: String,
        /// What kind of provider it is.
        provider_type: ProviderType,
    },
    /// A model name that no file can have.
    #[error(
        "`{}` is not a model name: {problem}; a model is named by its file's name without folder and `.gguf`",
        quoted(model)
    )]
    InvalidModelName {
        /// The name.
        model: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Model files were to be changed that are not this instance's to change.
    #[error(
        "`{instance}` ({provider_type}) does not let its model `{}` be removed or copied from here; only models that were pulled into this machine's store, on a provider of type `candle`, can be",
        quoted(model)
    )]
    NotStored {
        /// The instance.
        instance: String,
        /// What kind of provider it is.
        provider_type: ProviderType,
        /// The model.
        model: String,
    },
    /// It is not known what could be pulled for an instance.
    #[error(
        "it is not known which models could be pulled for `{instance}` ({provider_type}); for providers of type `candle` it is"
    )]
    NoCatalogue {
        /// The instance.
        instance: String,
        /// What kind of provider it is.
        provider_type: ProviderType,
    },
    /// A model file that this program did not fetch was to be removed or copied.
    #[error(
        "model `{}` of `{instance}` is not in the store, so it is left alone: {place}; only models that were pulled are removed or copied",
        quoted(model)
    )]
    NotOurs {
        /// The model.
        model: String,
        /// The instance.
        instance: String,
        /// Where it lies.
        place: String,
    },
    /// A name that another model has.
    #[error("`{instance}` has another model `{}`: {place}; choose another name", quoted(name))]
    NameTaken {
        /// The name.
        name: String,
        /// The instance.
        instance: String,
        /// Where the one that has it lies.
        place: String,
    },
    /// A model that is in memory was to be removed.
    #[error("model `{model}` is in the memory of `{instance}`; unload it first, then remove it")]
    RemoveLoaded {
        /// The model.
        model: String,
        /// The instance.
        instance: String,
    },
    /// A model that is not there.
    #[error("no model `{}` on {}{}{}", quoted(model), listed(instances), suggestion(near), also(unreachable))]
    ModelNotFound {
        /// The name asked for.
        model: String,
        /// The instances that were asked.
        instances: Vec<String>,
        /// Names near it that are there.
        near: Vec<String>,
        /// Instances that could not be asked, with the reason.
        unreachable: Vec<String>,
    },
    /// An unload of a model that is not in memory.
    #[error("model `{}` is not loaded on `{instance}`; loaded: {}", quoted(model), listed(loaded))]
    ModelNotLoaded {
        /// The name asked for.
        model: String,
        /// The instance.
        instance: String,
        /// What is loaded there.
        loaded: Vec<String>,
    },
    /// An unload of a model that did not become idle.
    #[error(
        "model `{model}` is still in use by {requests} request{} after {} s; end what uses it, unfinished streams too, and unload it again",
        if *requests == 1 { "" } else { "s" },
        waited.as_secs()
    )]
    ModelInUse {
        /// The model, which stays loaded.
        model: String,
        /// How many hold it.
        requests: usize,
        /// How long the unload waited for them.
        waited: Duration,
    },
    /// A model for which there is no memory.
    #[error(
        "model `{model}` needs about {} of memory, and the `memory_budget_mib` of `{instance}` allows {}{}; raise it, lower `kv_cache_mib` or `context_size`, or take a smaller model",
        gigabytes(*needed),
        gigabytes(*budget),
        taken(in_use)
    )]
    MemoryBudget {
        /// The model.
        model: String,
        /// The instance.
        instance: String,
        /// Bytes that it needs, as reckoned from its file.
        needed: u64,
        /// Bytes that all models of the instance may take together.
        budget: u64,
        /// The models that cannot make room, each with the bytes it takes and why it stays.
        in_use: Vec<(String, u64, &'static str)>,
    },
    /// A folder of models that cannot be read.
    #[error("cannot read model_directory `{}` of `{instance}`: {source}", path.display())]
    ModelDirectory {
        /// The instance.
        instance: String,
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// There is no such model with random weights.
    #[error("no synthetic model `{name}`; there are: {known}")]
    UnknownSynthetic {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A model file that cannot be written.
    #[error("cannot write `{}`: {source}", path.display())]
    WriteModel {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// The engine refused a model or a request.
    #[error("model `{model}`: {source}")]
    Engine {
        /// The model.
        model: String,
        /// What the engine said.
        source: perilune_engine::Error,
    },
    /// The prompt does not fit the context.
    #[error(
        "model `{model}`: the prompt has {prompt_tokens} tokens and the context holds {context_size}, prompt and answer together; shorten it, raise `context_size` or ask for `truncate`"
    )]
    ContextOverflow {
        /// The model.
        model: String,
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens the context holds.
        context_size: usize,
    },
    /// The request ran past its own `timeout_seconds`.
    #[error("model `{model}`: no end after {} s, the request's own `timeout_seconds`", limit.as_secs_f64())]
    Deadline {
        /// The model.
        model: String,
        /// The time that was allowed.
        limit: Duration,
    },
    /// The request ran past the instance's `timeout_seconds`.
    #[error("model `{model}`: no end after {} s, the `timeout_seconds` of `{instance}`", limit.as_secs_f64())]
    Timeout {
        /// The model.
        model: String,
        /// The instance.
        instance: String,
        /// Its limit.
        limit: Duration,
    },
    /// An instance did not say what it has in time.
    #[error("`{instance}` gave no answer within {} s", limit.as_secs_f64())]
    NoAnswer {
        /// The instance.
        instance: String,
        /// The time it had.
        limit: Duration,
    },
    /// An instance that is another kernel, in a program that has no way to ask one.
    #[error("`{instance}` is another kernel, which only a kernel can ask; leave it out or set `enabled = false`")]
    NoKernels {
        /// The instance.
        instance: String,
    },
    /// An instance elsewhere could not be asked, was lost, or refused.
    #[error("`{instance}`: {problem}")]
    Elsewhere {
        /// The instance.
        instance: String,
        /// What went wrong; where it refused, its own word for it.
        kind: ErrorKind,
        /// Where it is and what happened, or its own words.
        problem: String,
    },
    /// A server has too much to do, or had too many requests of this user; later ones pass.
    #[error("`{instance}`: {problem}{}", again(*retry_after))]
    Busy {
        /// The instance.
        instance: String,
        /// `RateLimited` or `Overloaded`.
        kind: ErrorKind,
        /// Where it is and its own words.
        problem: String,
        /// How long it wants to be left alone, where it says so.
        retry_after: Option<Duration>,
    },
    /// The prompt does not fit the context of a model elsewhere.
    #[error(
        "`{instance}`: model `{model}`: the prompt has {prompt_tokens} tokens{} and the context holds {context_size}; shorten it",
        of_which_answer(*answer_tokens)
    )]
    ContextOverflowElsewhere {
        /// The instance.
        instance: String,
        /// The model.
        model: String,
        /// Tokens of the prompt; where `answer_tokens` is none, what the server counts with it too.
        prompt_tokens: usize,
        /// Tokens that were asked for as an answer, where the server says so.
        answer_tokens: Option<usize>,
        /// Tokens the context holds.
        context_size: usize,
    },
    /// An instance that has no embeddings.
    #[error(
        "`{instance}` ({provider_type}) makes no embeddings; providers of the types `candle`, `kernel`, `ollama` and `openai` do"
    )]
    NoEmbeddings {
        /// The instance.
        instance: String,
        /// What kind of provider it is.
        provider_type: ProviderType,
    },
    /// An instance that failed so often that it is not asked for a while.
    #[error(
        "`{instance}` failed {failures} times in a row and is left alone{}; the last failure: {problem}",
        time.map_or(" while another request tries it".to_owned(), |time| format!(" for {:.0} s more", time.as_secs_f64().ceil()))
    )]
    LeftAlone {
        /// The instance.
        instance: String,
        /// How often it failed.
        failures: u32,
        /// What the last failure was.
        kind: ErrorKind,
        /// For how long it is left alone still; `None`: until another request, which is under way, has tried it.
        time: Option<Duration>,
        /// The last failure.
        problem: String,
    },
    /// None of the models of a list answered.
    #[error("no model answered: {}; {last}", others.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoneAnswered {
        /// Those that were asked before the last, in order.
        others: Vec<Unanswered>,
        /// The last, which decides the kind.
        last: Box<Unanswered>,
    },
    /// An error, and what is known beside it.
    #[error("{error}")]
    Detailed {
        /// The error.
        error: Box<Error>,
        /// What was told with it, or decided before it.
        details: Box<ErrorDetails>,
    },
    /// Nothing is left of a budget.
    #[error("the budget of {period} is spent: {spent}; {help}")]
    BudgetSpent {
        /// `this run` or `today`.
        period: &'static str,
        /// How much of how much.
        spent: String,
        /// What would help.
        help: &'static str,
    },
    /// A question about usage that cannot be answered.
    #[error("{problem}")]
    UsageQuery {
        /// What is wrong with it, and what would work.
        problem: String,
    },
    /// The ledger cannot be read.
    #[error("cannot read the ledger: {problem}")]
    Ledger {
        /// Why not.
        problem: String,
    },
    /// The load of a model ended without a result.
    #[error("loading model `{model}` failed: {problem}")]
    LoadFailed {
        /// The model.
        model: String,
        /// What is known of it.
        problem: String,
    },
}

impl Error {
    /// The word that programs branch on.
    pub fn kind(&self) -> ErrorKind {
        use perilune_engine::Error as Engine;
        match self {
            Error::Config(_) | Error::ModelDirectory { .. } | Error::NoKernels { .. } => ErrorKind::InvalidConfig,
            Error::Elsewhere { kind, .. } | Error::Busy { kind, .. } | Error::LeftAlone { kind, .. } => *kind,
            Error::Detailed { error, .. } => error.kind(),
            Error::Store(error) => error.kind(),
            Error::Pull(error) => error.kind(),
            Error::NoneAnswered { last, .. } => last.error.kind(),
            Error::ProviderNotFound { .. } => ErrorKind::ProviderNotFound,
            Error::ModelNotFound { .. } => ErrorKind::ModelNotFound,
            Error::Specifier(_)
            | Error::BackendOfProvider { .. }
            | Error::NotLocal { .. }
            | Error::WrittenOtherwise { .. }
            | Error::UsageQuery { .. }
            | Error::NoState { .. }
            | Error::NoEmbeddings { .. }
            | Error::InvalidModelName { .. }
            | Error::UnknownSynthetic { .. }
            | Error::ModelNotLoaded { .. } => ErrorKind::InvalidRequest,
            Error::ContextOverflow { .. } | Error::ContextOverflowElsewhere { .. } => ErrorKind::ContextOverflow,
            Error::MemoryBudget { .. } | Error::BudgetSpent { .. } => ErrorKind::Budget,
            Error::Deadline { .. } | Error::Timeout { .. } | Error::NoAnswer { .. } => ErrorKind::Timeout,
            Error::ModelInUse { .. } => ErrorKind::Overloaded,
            Error::NotStored { .. }
            | Error::NoCatalogue { .. }
            | Error::NotOurs { .. }
            | Error::NameTaken { .. }
            | Error::RemoveLoaded { .. } => ErrorKind::InvalidRequest,
            Error::LoadFailed { .. } | Error::WriteModel { .. } | Error::Ledger { .. } => ErrorKind::Internal,
            Error::Engine { source, .. } => match source {
                Engine::Open { .. } | Engine::InvalidFile { .. } | Engine::UnsupportedModel { .. } => {
                    ErrorKind::InvalidModelFile
                }
                Engine::InvalidOption { .. }
                | Engine::EmptyPrompt
                | Engine::NoChatTemplate
                | Engine::Template { .. }
                | Engine::WriteState { .. }
                | Engine::RestoreState { .. } => ErrorKind::InvalidRequest,
                Engine::Cancelled => ErrorKind::Cancelled,
                Engine::ContextOverflow { .. } => ErrorKind::ContextOverflow,
                Engine::Overloaded { .. } => ErrorKind::Overloaded,
                _ => ErrorKind::Internal,
            },
        }
    }

    /// How long a server wants to be left alone before it is asked again, where it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.details().retry_after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// What programs may want of it beside its kind.
    pub fn details(&self) -> ErrorDetails {
        let nothing = ErrorDetails::default();
        match self {
            Error::Busy { retry_after, .. } => {
                ErrorDetails { retry_after: retry_after.map(|time| time.as_secs_f64()), ..nothing }
            }
            Error::LeftAlone { time, .. } => {
                ErrorDetails { retry_after: time.map(|time| time.as_secs_f64().ceil()), ..nothing }
            }
            Error::ContextOverflow { prompt_tokens, context_size, .. }
            | Error::ContextOverflowElsewhere { prompt_tokens, context_size, .. } => ErrorDetails {
                prompt_tokens: Some(*prompt_tokens as u64),
                context_size: Some(*context_size as u64),
                ..nothing
            },
            Error::ModelNotFound { near, .. } | Error::ProviderNotFound { near, .. } => {
                ErrorDetails { nearest: near.clone(), ..nothing }
            }
            Error::NoneAnswered { last, .. } => last.error.details(),
            Error::Detailed { error, details } => ErrorDetails::clone(details).or(error.details()),
            _ => nothing,
        }
    }

    /// The error with what is known beside it.
    pub fn with(self, details: ErrorDetails) -> Error {
        match details == ErrorDetails::default() {
            true => self,
            false => Error::Detailed { error: Box::new(self), details: Box::new(details) },
        }
    }

    /// An engine error, with the model it is about.
    pub(crate) fn engine(model: &str, source: perilune_engine::Error) -> Error {
        match source {
            perilune_engine::Error::ContextOverflow { prompt_tokens, context_size } => {
                Error::ContextOverflow { model: model.to_owned(), prompt_tokens, context_size }
            }
            source => Error::Engine { model: model.to_owned(), source },
        }
    }
}

/// What programs may want of an error beside its kind; what is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetails {
    /// Seconds after which it is worth asking again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<f64>,
    /// Tokens of a prompt that does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Tokens of context, prompt and answer together, that it does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_size: Option<u64>,
    /// The names near one that is not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<String>,
    /// What was decided about the request: which models were asked or not, and why each failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<RouteDecision>,
}

impl ErrorDetails {
    /// These, and `other`'s where they say nothing.
    fn or(self, other: ErrorDetails) -> ErrorDetails {
        ErrorDetails {
            retry_after: self.retry_after.or(other.retry_after),
            prompt_tokens: self.prompt_tokens.or(other.prompt_tokens),
            context_size: self.context_size.or(other.context_size),
            nearest: if self.nearest.is_empty() { other.nearest } else { self.nearest },
            route: if self.route.is_empty() { other.route } else { self.route },
        }
    }
}

/// A model that did not answer, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{model}`: {error}")]
pub struct Unanswered {
    /// Its specifier.
    pub model: String,
    /// What was said instead.
    pub error: Error,
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Error {
        Error::Config(Box::new(error))
    }
}

/// `; ask again in 20 s` or nothing.
fn again(retry_after: Option<Duration>) -> String {
    retry_after.map(|time| format!("; ask again in {} s", time.as_secs_f64())).unwrap_or_default()
}

/// `, is to be answered with 100` or nothing.
fn of_which_answer(answer_tokens: Option<usize>) -> String {
    answer_tokens.map(|tokens| format!(", is to be answered with {tokens}")).unwrap_or_default()
}

impl From<PullError> for Error {
    fn from(error: PullError) -> Error {
        Error::Pull(Box::new(error))
    }
}

/// The instances that hold models in memory, or how to mean one of them.
fn local_ones(local: &[String]) -> String {
    if local.is_empty() {
        return "`local/MODEL` means an instance that does".to_owned();
    }
    format!("local instances: {}", listed(local))
}

fn gigabytes(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes < 1e9 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.2} GB", bytes / 1e9),
    }
}

/// `, of which others have 3.1 GB: ...` or nothing.
fn taken(in_use: &[(String, u64, &'static str)]) -> String {
    if in_use.is_empty() {
        return String::new();
    }
    let sum: u64 = in_use.iter().map(|(_, bytes, _)| bytes).sum();
    let each: Vec<String> =
        in_use.iter().map(|(name, bytes, why)| format!("`{name}` {} ({why})", gigabytes(*bytes))).collect();
    format!(", of which {} are taken: {}", gigabytes(sum), each.join(", "))
}

/// `; could not be asked: ...` or nothing.
fn also(unreachable: &[String]) -> String {
    if unreachable.is_empty() {
        return String::new();
    }
    format!("; could not be asked: {}", unreachable.join("; "))
}

/// What went wrong, as one word: the same set for every provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// A key is missing or was refused.
    Authentication,
    /// Too many requests in a time; later ones pass.
    RateLimited,
    /// Too many requests at once; later ones pass.
    Overloaded,
    /// No such model.
    ModelNotFound,
    /// No such provider or backend.
    ProviderNotFound,
    /// The prompt does not fit the context.
    ContextOverflow,
    /// The request itself is wrong.
    InvalidRequest,
    /// No end within the time allowed.
    Timeout,
    /// The far side could not be reached.
    Network,
    /// The one who asked took it back.
    Cancelled,
    /// The far side refused the content.
    ContentFilter,
    /// A budget is spent.
    Budget,
    /// The configuration is wrong.
    InvalidConfig,
    /// A model file is damaged or of a kind that does not run here.
    InvalidModelFile,
    /// A fault of ours.
    #[default]
    Internal,
}

impl ErrorKind {
    /// The kind that a word stands for; one that is not known is a fault of whoever said it.
    pub fn of(word: &str) -> ErrorKind {
        let word: StrDeserializer<'_, value::Error> = word.into_deserializer();
        ErrorKind::deserialize(word).unwrap_or_default()
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Authentication => "authentication",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::Overloaded => "overloaded",
            ErrorKind::ModelNotFound => "model_not_found",
            ErrorKind::ProviderNotFound => "provider_not_found",
            ErrorKind::ContextOverflow => "context_overflow",
            ErrorKind::InvalidRequest => "invalid_request",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Network => "network",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::ContentFilter => "content_filter",
            ErrorKind::Budget => "budget",
            ErrorKind::InvalidConfig => "invalid_config",
            ErrorKind::InvalidModelFile => "invalid_model_file",
            ErrorKind::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_word() {
        for kind in [ErrorKind::RateLimited, ErrorKind::ContextOverflow, ErrorKind::Network, ErrorKind::Internal] {
            assert_eq!(ErrorKind::of(kind.as_str()), kind);
        }
        assert_eq!(ErrorKind::of("no such word"), ErrorKind::Internal);
    }
}
