//! Providers of language models: what answers chat and completion requests, and how it is found.
//!
//! In reading order: [`ModelSpecifier`] is the name of a model as a user writes it; [`Config`] says
//! which provider instances there are; [`Provider`] and [`LocalProvider`] say what every instance
//! can do; [`CandleProvider`] runs models in this process through the engine, `ollama` and `openai` ask servers by
//! way of `http`; [`ModelStore`] holds the model files that [`Puller`] fetched; [`Registry`] holds the instances, resolves a specifier to one
//! of them and answers a [`RoutedRequest`] with the first of several models that can; [`limited`]
//! ends what takes too long; [`bench()`] measures a model; [`Ledger`] keeps what they took and [`Tally`] counts it for one run;
//! [`Error`] is everything that can go wrong. Instances of type
//! `kernel` come from the crate above. This crate has never heard of Jupyter, Lua or a command line.

mod available;
mod bench;
mod budget;
mod candle;
mod collections;
mod config;
pub mod database;
mod deadline;
mod directories;
mod disk;
mod error;
mod http;
mod ledger;
mod meter;
mod model_list;
mod nearest;
mod ollama;
mod openai;
mod prices;
mod provider;
mod pull;
mod registry;
mod router;
mod specifier;
mod store;
mod tally;

pub use available::AvailableModel;
pub use bench::{BenchSubject, bench, synthetic_models};
pub use budget::Amount;
pub use candle::{CandleProvider, available_memory};
pub use config::{
    BudgetConfig, CandleConfig, Config, ConfigError, ConfigSources, ConfigWarning, DownloadsConfig, KernelAddress,
    KernelConfig, Limits, OllamaConfig, OpenAiConfig, Origin, Overrides, Preset, ProviderConfig, ProviderOptions,
    RoutingConfig, SCHEMA, Secret, Setting, Words,
};
pub use deadline::{Limit, limited, within};
pub use directories::Directories;
pub use disk::{DiskSpace, disk_space};
pub use error::{Error, ErrorDetails, ErrorKind, Unanswered};
pub use ledger::{CountedRequest, Ledger, Since, UsageBy, UsageQuery, UsageRow, UsageTable};
pub use model_list::ModelList;
pub use ollama::{Creation, OllamaClient, OllamaProvider, Progress, ProgressStream};
pub use perilune_engine::{
    Bench, BenchOptions, Biased, BudgetWarning, CacheType, ChatMessage, Cost, DroppedModel, Effort, Event, Facts,
    FinishReason, GenerateOptions, LogitBias, ModelInfo, NoPlace, Places, Prefill, Prompt, Role, RouteAction,
    RouteDecision, Sampling, StateInfo, Think, TokenLogprob, TokenLogprobs, Tool, ToolCall, Usage,
};
pub use prices::Price;
pub use provider::{
    Collection, EmbedRequest, Embeddings, EventStream, GenerateRequest, Health, HealthStatus, Holding, Keep,
    LoadedModel, LocalProvider, Location, ModelEntry, PlaceUsage, Provider, ProviderType, RemovedModel, StateRequest,
};
pub use pull::{
    KnownModel, PullError, PullEvent, PullProgress, PullRequest, PullStage, PullStream, Pulled, Puller,
    UnfinishedDownload, known_models,
};
pub use registry::{InstanceModels, InstanceStatus, InstanceStorage, OpenKernel, Registry, Resolved};
pub use router::{EmbedEvent, EmbedStream, RoutedEmbed, RoutedRequest};
pub use specifier::{ModelSpecifier, SpecifierError};
pub use store::{
    ModelStore, NewModel, Removed, Sha256Digest, StoreEntry, StoreError, StoreUsage, StoredModel, check_store_name,
};
pub use tally::{Spent, Tally};
