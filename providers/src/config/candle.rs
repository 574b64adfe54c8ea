//! The options of a `candle` provider.

use std::path::PathBuf;

use perilune_engine::CacheType;
use serde::Serialize;

use super::error::ConfigError;
use super::layer::Table;
use super::sources::ConfigSources;
use super::{kernel, openai};
use crate::provider::Collection;

/// Every key that means something for this type.
pub(super) const KEYS: &[&str] = &[
    "context_size",
    "cpu_threads",
    "default_model",
    "device",
    "enabled",
    "keep_alive_seconds",
    "kv_cache_mib",
    "kv_cache_type",
    "max_concurrent",
    "memory_budget_mib",
    "model_directory",
    "model_paths",
    "shared_models",
    "timeout_seconds",
    "type",
];

/// The most threads, requests and tokens that are taken for something other than a slip.
const MOST_THREADS: usize = 1024;
const MOST_CONCURRENT: usize = 1024;
/// One token of a prompt and one of its answer.
const LEAST_CONTEXT: usize = 2;
const MOST_CONTEXT: usize = 16 * 1024 * 1024;
const MOST_CACHE_MIB: usize = 16 * 1024 * 1024;
/// 16 TiB, and a year.
const MOST_BUDGET_MIB: usize = 16 * 1024 * 1024;
const LONGEST_KEPT: usize = 365 * 24 * 3600;

/// How models run in this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CandleConfig {
    /// Where GGUF files are looked for, besides the bundled model.
    pub model_directory: Option<PathBuf>,
    /// Whether the user chose `model_directory`; the default one need not exist.
    pub model_directory_chosen: bool,
    /// Where models lie that were pulled.
    pub store: Option<PathBuf>,
    /// What else GGUF files are looked for in, and whose it is; read in place.
    pub collections: Vec<(Collection, PathBuf)>,
    /// Where it is kept what the headers of model files tell.
    #[serde(skip)]
    pub headers_file: Option<PathBuf>,
    /// Threads that compute; `None`: the processors this process may use.
    pub cpu_threads: Option<usize>,
    /// The most tokens one request may hold, prompt and answer together; never more than the model
    /// was trained on, which is also what `None` means.
    pub context_size: Option<usize>,
    /// Requests that run at once on one model; the others wait.
    pub max_concurrent: usize,
    /// MiB of keys and values that a model keeps in memory for requests which begin as others of their session did; those
    /// of requests under way count, but are never refused. `None`: what a full context needs, at most 1024.
    pub kv_cache_mib: Option<usize>,
    /// In which form keys and values are kept.
    pub kv_cache_type: CacheType,
    /// MiB that loaded models may take together, as reckoned before each is loaded. `None`: three quarters of the memory
    /// that this process may use.
    pub memory_budget_mib: Option<usize>,
    /// Seconds after the last request after which a model leaves memory; `None`: when its place is needed.
    pub keep_alive_seconds: Option<usize>,
}

impl CandleConfig {
    pub(super) fn from_table(table: &mut Table, sources: &ConfigSources) -> Result<CandleConfig, ConfigError> {
        for others in [openai::KEYS, kernel::KEYS] {
            table.without(
                others,
                KEYS,
                "does not apply to a `candle` provider, which runs models in this process; leave it out",
            )?;
        }
        if let Some((device, origin)) = table.located_string("device")?
            && device != "cpu"
        {
            let problem = match device.as_str() {
                "cuda" | "metal" => format!(
                    "is `{device}`, which this build does not have; it runs on `cpu` only, which is the default"
                ),
                _ => "must be `cpu`, which is the default".to_owned(),
            };
            return Err(table.refuse("device", origin, problem));
        }
        let model_directory = table.path("model_directory", "a folder", &sources.directories)?.map(|(path, _)| path);
        let own = table.paths("model_paths", &sources.directories)?.into_iter().map(|path| (Collection::Path, path));
        let shared = table.boolean("shared_models")?.unwrap_or(true);
        let others = sources.collections.iter().filter(|_| shared).cloned();
        let config = CandleConfig {
            collections: own.chain(others).collect(),
            headers_file: sources.directories.headers(),
            model_directory_chosen: model_directory.is_some(),
            model_directory: model_directory.or_else(|| sources.directories.models()),
            store: sources.directories.store(),
            cpu_threads: table.count("cpu_threads", 1..=MOST_THREADS)?,
            context_size: table.count("context_size", LEAST_CONTEXT..=MOST_CONTEXT)?,
            max_concurrent: table
                .count("max_concurrent", 1..=MOST_CONCURRENT)?
                .unwrap_or(perilune_engine::EngineOptions::default().max_concurrent),
            kv_cache_mib: table.count("kv_cache_mib", 0..=MOST_CACHE_MIB)?,
            kv_cache_type: cache_type(table)?,
            memory_budget_mib: table.count("memory_budget_mib", 1..=MOST_BUDGET_MIB)?,
            keep_alive_seconds: table.count("keep_alive_seconds", 0..=LONGEST_KEPT)?,
        };
        table.finish(KEYS)?;
        Ok(config)
    }
}

fn cache_type(table: &mut Table) -> Result<CacheType, ConfigError> {
    let Some((word, origin)) = table.located_string("kv_cache_type")? else {
        return Ok(CacheType::default());
    };
    let known = [CacheType::F16, CacheType::Q8_0];
    known.into_iter().find(|known| known.as_str() == word).ok_or_else(|| {
        let problem = "must be `f16`, which is the default, or `q8_0`, which takes about half the memory".to_owned();
        table.refuse("kv_cache_type", origin, problem)
    })
}
