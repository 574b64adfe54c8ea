//! The configuration: which provider instances there are, and which model is meant by default.
//!
//! TOML in layers, later ones first: environment, the project's `perilune.toml`, the user's
//! `config.toml`, defaults. A key that is set in a later layer replaces the earlier one's; tables
//! are merged key by key. Without any file there is one instance, `candle`.

mod budget;
mod candle;
mod check;
mod downloads;
mod effective;
mod error;
mod kernel;
mod layer;
mod ollama;
mod openai;
mod routing;
mod sources;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::model_list::ModelList;
use crate::nearest::{listed, nearest};
use crate::prices::Price;
use crate::provider::ProviderType;
use layer::{Layer, Located, Table};

pub use budget::{BudgetConfig, Limits};
pub use candle::CandleConfig;
pub use downloads::DownloadsConfig;
pub use effective::{SCHEMA, Setting};
pub use error::{ConfigError, ConfigWarning, Origin};
pub use kernel::{KernelAddress, KernelConfig};
pub use ollama::OllamaConfig;
pub use openai::{OpenAiConfig, Preset, Secret, Words};
pub use routing::RoutingConfig;
pub use sources::{ConfigSources, Overrides};

/// Everything the user decided, checked.
///
/// Every key there is, with what it is when left out:
///
/// ```toml
/// default_model = "local/moonlet@candle"  # a model specifier, or several with commas: the first that can answer
/// default_backend = "candle"              # none; asked first for `local/MODEL` without `@backend`
/// trusted_folders = []                    # only in the user's file: projects that may choose everything
///
/// [downloads]                             # only in the user's file: how `model pull` fetches files
/// allow_loopback = false                  # whether an address may be this machine's own, also without encryption
/// connections = 4                         # that bring one file
/// most_gib = 256                          # the largest file that is taken from an address
/// stall_seconds = 30                      # without a byte, after which the connection is made anew
///
/// [providers.candle]                      # the instance's name; there may be several of one type
/// type = "candle"                         # the table's own name, if that is a type
/// enabled = true
/// default_model = "moonlet"               # meant when this is the default backend and no model is named
/// timeout_seconds = 600                   # no limit; for one request, loading included
/// model_directory = "~/models"            # `models` in the data folder; relative to this file
/// model_paths = ["/srv/models"]           # more folders of GGUF files; none
/// shared_models = true                    # also what the Hugging Face cache, Ollama and LM Studio have here
/// device = "cpu"
/// cpu_threads = 2                         # the processors this process may use
/// context_size = 2048                     # tokens; what the model was trained on, which is the most
/// max_concurrent = 8                      # requests that run at once on one model
/// memory_budget_mib = 8192                # for all models together; three quarters of the memory there is
/// keep_alive_seconds = 300                # a model that idle leaves memory; it stays until its place is needed
/// kv_cache_mib = 1024                     # kept of earlier prompts, for those that begin alike; a full context, if less
/// kv_cache_type = "f16"                   # or `q8_0`: keys and values in half the memory, answers that differ a little
///
/// [providers.gpu-box]
/// type = "kernel"                         # another kernel, whose models are borrowed
/// connection_file = "~/gpu-box.json"      # its connection file, or `resident`: this user's resident kernel
/// timeout_seconds = 600                   # and `enabled`, `default_model`: as above
///
/// [providers.openrouter]
/// type = "openai"                         # a server that speaks OpenAI's dialect of HTTP
/// preset = "openrouter"                   # none; what is known of a kind of server, its address among it
/// base_url = "https://openrouter.ai/api/v1" # the preset's; scheme, host, port and path
/// api_key_env = "OPENROUTER_API_KEY"      # the preset's; the variable that holds the key
/// api_key = "..."                         # none; the key itself
/// ca_file = "~/company.pem"               # `CURL_CA_BUNDLE`, else the system's certificates; those that sign the server's
/// idle_timeout_seconds = 300              # the longest time without a byte
/// timeout_seconds = 600                   # and `enabled`, `default_model`: as above
///
/// [providers.ollama]                      # an Ollama server; and `enabled`, `default_model`, `timeout_seconds`: as above
/// ca_file = "~/company.pem"               # as above; `idle_timeout_seconds` is 600 unless it is said
/// base_url = "http://127.0.0.1:11434"     # what `OLLAMA_HOST` says to Ollama's own client
/// api_key_env = "OLLAMA_API_KEY"          # no key; the variable that holds one, for a server that wants it
/// context_size = 8192                     # Ollama's own default; another one than a loaded model has loads it again
/// keep_alive_seconds = 300                # Ollama's own default
///
/// [routing]                               # of instances that are not in this process
/// retries = 2                             # how often a request asks a model again that cannot answer now
/// first_wait_seconds = 0.5                # before the first of them; twice as long before each other, less by up to half
/// longest_wait_seconds = 30               # also of what a server asks for; where it asks for more, it is not asked again
/// breaker_failures = 5                    # in a row, after which an instance is left alone
/// breaker_seconds = 30                    # for so long, until one request may try
///
/// [budget]                                # only in the user's file
/// run_tokens = 100000                     # no limit; of one run or notebook, prompts and answers together
/// run_usd = 1.5                           # no limit; as far as prices are known
/// day_tokens = 1000000                    # no limit; of all kernels of this user, but for what other kernels lend
/// day_usd = 5                             # no limit
/// warn_at = 0.8                           # the share from which on there is a warning
///
/// [prices]                                # only in the user's file; US dollars per million tokens, by specifier
/// "box/gpt-oss" = { input = 0.1, cached_input = 0.05, output = 0.4 }
/// ```
///
/// The user's file is `config.toml` in `PERILUNE_HOME`, or in `perilune/` of the XDG configuration
/// folder. The project's is the nearest `perilune.toml` at or above the working directory, up to
/// the root of its repository or the home; until the user trusts its folder it may not choose
/// `base_url`, `preset`, `api_key`, `api_key_env`, `ca_file`, `connection_file`, `model_directory` and `model_paths`. `PERILUNE_MODEL` and `PERILUNE_BACKEND` replace
/// the two defaults for one process.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Config {
    /// The model that is meant when none is named.
    pub default_model: Option<ModelList>,
    /// The instance asked first for a `local/` model without `@backend`.
    pub default_backend: Option<String>,
    /// How model files are fetched.
    pub downloads: DownloadsConfig,
    /// Where they are kept.
    pub store: Option<PathBuf>,
    /// The instances by name, disabled ones included.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// What is done about an instance that does not answer.
    pub routing: RoutingConfig,
    /// How much may be spent.
    pub budget: BudgetConfig,
    /// What models cost by the user's word, by specifier.
    pub prices: BTreeMap<String, Price>,
    /// What was ignored and why; callers show them.
    pub warnings: Vec<ConfigWarning>,
    /// The files that were read, earlier layers first.
    pub files: Vec<PathBuf>,
}

/// One `[providers.<name>]` table.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ProviderConfig {
    /// Whether the registry opens it.
    pub enabled: bool,
    /// The model meant when this instance is the default backend and no model is named.
    pub default_model: Option<String>,
    /// The longest one request may take, loading included; `None`: no limit.
    pub timeout: Option<Duration>,
    /// What only its type has.
    pub options: ProviderOptions,
}

/// The options of each type of provider.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProviderOptions {
    /// GGUF models run in this process.
    Candle(CandleConfig),
    /// Models of another kernel.
    Kernel(KernelConfig),
    /// Models of a server that speaks OpenAI's dialect.
    #[serde(rename = "openai")]
    OpenAi(OpenAiConfig),
    /// Models of an Ollama server.
    Ollama(OllamaConfig),
}

impl ProviderOptions {
    /// The type these are the options of.
    pub fn provider_type(&self) -> ProviderType {
        match self {
            ProviderOptions::Candle(_) => ProviderType::Candle,
            ProviderOptions::Kernel(_) => ProviderType::Kernel,
            ProviderOptions::OpenAi(_) => ProviderType::OpenAi,
            ProviderOptions::Ollama(_) => ProviderType::Ollama,
        }
    }
}

impl Default for Config {
    /// One instance, `candle`, with the bundled model and no folder of models.
    fn default() -> Config {
        Config::from_layers(Vec::new(), &ConfigSources::default()).expect("the defaults hold together")
    }
}

impl Config {
    /// Reads every layer. Missing files are normal; a file that cannot be read or does not hold
    /// together is an error that names it, the line and what would have worked.
    pub fn load(sources: &ConfigSources) -> Result<Config, ConfigError> {
        let read = read_layers(sources)?;
        let config = Config::from_layers(read.layers, sources)?;
        Ok(Config { files: read.files, warnings: read.warnings, ..config })
    }

    /// Reads one file, which must be there, as if it were the user's, over the defaults and without any other layer.
    pub fn load_file(path: &Path) -> Result<Config, ConfigError> {
        let missing =
            || ConfigError::Read { path: path.to_owned(), source: Arc::new(std::io::ErrorKind::NotFound.into()) };
        let config = Config::from_toml(&sources::read(path)?.ok_or_else(missing)?, path)?;
        Ok(Config { files: vec![path.to_owned()], ..config })
    }

    /// Reads one text as if it were the user's file `origin`, over the defaults and without any
    /// other layer.
    pub fn from_toml(text: &str, origin: impl Into<PathBuf>) -> Result<Config, ConfigError> {
        let origin = origin.into();
        let sources = ConfigSources::default();
        let mut layer = Layer::parse(text, &origin)?;
        layer.take_trusted_folders(&sources.directories)?;
        Config::from_layers(vec![layer], &sources)
    }

    fn from_layers(layers: Vec<Layer>, sources: &ConfigSources) -> Result<Config, ConfigError> {
        let mut merged = Layer::defaults();
        for layer in layers {
            merged.put(layer);
        }
        let mut top = Table::new("the top level", merged.top);
        let default_model = top.models("default_model")?;
        let default_backend = top.located_string("default_backend")?;
        top.finish(layer::TOP_LEVEL)?;
        let mut table = |name: &str| Table::new(&format!("[{name}]"), merged.tables.remove(name).unwrap_or_default());
        let downloads = DownloadsConfig::from_table(table("downloads"))?;
        let routing = RoutingConfig::from_table(table("routing"))?;
        let budget = BudgetConfig::from_table(table("budget"))?;
        let prices = table("prices").prices()?;

        let mut providers = BTreeMap::new();
        for (name, keys) in merged.providers {
            let provider = ProviderConfig::from_keys(&name, keys, sources, merged.confined.contains(&name))?;
            providers.insert(name, provider);
        }
        if let Some((name, origin)) = &default_backend {
            check_backend(name, origin, &providers)?;
        }
        Ok(Config {
            default_model,
            default_backend: default_backend.map(|(name, _)| name),
            downloads,
            store: sources.directories.store(),
            providers,
            routing,
            budget,
            prices,
            warnings: Vec::new(),
            files: Vec::new(),
        })
    }
}

/// What the files and the environment say, before anything of it is checked.
struct Layers {
    layers: Vec<Layer>,
    files: Vec<PathBuf>,
    warnings: Vec<ConfigWarning>,
    /// As the user's file has them; they are not among the layers.
    trusted_folders: Option<Located>,
}

fn read_layers(sources: &ConfigSources) -> Result<Layers, ConfigError> {
    let mut read = Layers { layers: Vec::new(), files: Vec::new(), warnings: Vec::new(), trusted_folders: None };
    let mut trusted = Vec::new();
    let user_file = sources.directories.config_file();
    if let Some(path) = &user_file
        && let Some(text) = sources::read(path)?
    {
        let mut layer = Layer::parse(&text, path)?;
        read.trusted_folders = layer.top.get("trusted_folders").cloned();
        trusted = layer.take_trusted_folders(&sources.directories)?;
        read.files.push(path.clone());
        read.layers.push(layer);
    }
    if let Some(path) = sources.project_file()
        && !read.files.contains(&path)
        && let Some(text) = sources::read(&path)?
    {
        let mut layer = Layer::parse(&text, &path)?;
        read.warnings = layer.confine_to_project(&path, &trusted, user_file.as_deref());
        read.files.push(path);
        read.layers.push(layer);
    }
    read.layers.push(sources.environment.layer());
    Ok(read)
}

/// The default backend is an instance that is there and enabled.
fn check_backend(name: &str, origin: &Origin, providers: &BTreeMap<String, ProviderConfig>) -> Result<(), ConfigError> {
    if providers.get(name).is_some_and(|provider| provider.enabled) {
        return Ok(());
    }
    let configured: Vec<String> =
        providers.iter().filter(|(_, provider)| provider.enabled).map(|(name, _)| name.clone()).collect();
    Err(ConfigError::UnknownBackend {
        origin: origin.clone(),
        name: name.to_owned(),
        near: nearest(name, configured.iter().map(String::as_str)),
        configured,
    })
}

impl ProviderConfig {
    fn from_keys(
        name: &str,
        keys: BTreeMap<String, Located>,
        sources: &ConfigSources,
        confined: bool,
    ) -> Result<ProviderConfig, ConfigError> {
        let mut table = Table::new(&format!("[providers.{name}]"), keys);
        check_name(name, &table)?;
        let provider_type = provider_type(name, &mut table)?;
        let enabled = table.boolean("enabled")?.unwrap_or(true);
        let default_model = table.model("default_model")?;
        let timeout = table.seconds("timeout_seconds")?;
        let options = match provider_type {
            ProviderType::Candle => ProviderOptions::Candle(CandleConfig::from_table(&mut table, sources)?),
            ProviderType::Kernel => ProviderOptions::Kernel(KernelConfig::from_table(&mut table, sources)?),
            ProviderType::OpenAi => ProviderOptions::OpenAi(OpenAiConfig::from_table(&mut table, sources, confined)?),
            ProviderType::Ollama => ProviderOptions::Ollama(OllamaConfig::from_table(&mut table, sources)?),
        };
        Ok(ProviderConfig { enabled, default_model, timeout, options })
    }
}

/// An instance's name is one segment of a specifier, and not the word that means any of them.
fn check_name(name: &str, table: &Table) -> Result<(), ConfigError> {
    let problem = if name == "local" {
        "`local` means any local instance"
    } else if name.is_empty() {
        "it is empty"
    } else if name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/' || c == '@') {
        "a name has no blanks, `/` or `@`"
    } else {
        return Ok(());
    };
    Err(ConfigError::InstanceName { origin: table.origin(), name: name.to_owned(), problem })
}

/// The `type` key; an instance that bears a type's name needs none.
fn provider_type(name: &str, table: &mut Table) -> Result<ProviderType, ConfigError> {
    let known = ProviderType::ALL.map(ProviderType::as_str);
    let find = |word: &str| ProviderType::ALL.into_iter().find(|t| t.as_str() == word);
    match table.located_string("type")? {
        Some((word, origin)) => find(&word).ok_or_else(|| ConfigError::UnknownType {
            origin,
            near: nearest(&word, known),
            word,
            known: listed(&known),
        }),
        None => find(name).ok_or_else(|| ConfigError::NoType {
            origin: table.origin(),
            name: name.to_owned(),
            known: listed(&known),
        }),
    }
}
