//! The options of an `ollama` provider: a server that holds models of its own.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::error::{ConfigError, Origin};
use super::layer::Table;
use super::sources::ConfigSources;
use super::{candle, check, kernel, openai};
use crate::ollama::host;

/// Every key that means something for this type.
pub(super) const KEYS: &[&str] = &[
    "api_key_env",
    "base_url",
    "ca_file",
    "context_size",
    "default_model",
    "enabled",
    "idle_timeout_seconds",
    "keep_alive_seconds",
    "timeout_seconds",
    "type",
];

/// The most tokens that are taken for something other than a slip, and the longest that a model is kept: a year.
const MOST_CONTEXT: usize = 16 * 1024 * 1024;
const LONGEST_KEPT: usize = 365 * 24 * 3600;

/// Ollama itself gives up a load that makes no progress for five minutes.
const IDLE_LIMIT: Duration = Duration::from_secs(600);

/// How an Ollama is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OllamaConfig {
    /// Scheme, host, port and path.
    pub base_url: String,
    /// The variable of the environment that holds a key, for a server behind one that asks for it.
    pub api_key_env: Option<String>,
    /// The file of the certificates that sign the server's, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The longest time without a byte, before and within an answer; a load and a long prompt are such a time.
    pub idle_limit: Duration,
    /// Tokens one request may hold, prompt and answer together; `None`: what the server or the model says.
    pub context_size: Option<usize>,
    /// Seconds after the last request after which a model leaves memory; `None`: what the server says.
    pub keep_alive_seconds: Option<usize>,
}

impl OllamaConfig {
    pub(super) fn from_table(table: &mut Table, sources: &ConfigSources) -> Result<OllamaConfig, ConfigError> {
        table.without(
            candle::KEYS,
            KEYS,
            "does not apply to an `ollama` provider, whose server decides that; its own variables begin with `OLLAMA_`",
        )?;
        table.without(
            kernel::KEYS,
            KEYS,
            "does not apply to an `ollama` provider, which is reached at its `base_url`; leave it out",
        )?;
        table.without(
            openai::KEYS,
            KEYS,
            "does not apply to an `ollama` provider; for an Ollama as a server of OpenAI's dialect write `type = \"openai\"`",
        )?;
        let api_key_env = table.located_string("api_key_env")?;
        let api_key_env =
            api_key_env.map(|(name, origin)| check::variable(name, origin, table, "`OLLAMA_API_KEY`")).transpose()?;
        let config = OllamaConfig {
            base_url: base_url(table, sources)?,
            api_key_env,
            ca_file: table.path("ca_file", "a file of certificates", &sources.directories)?.map(|(path, _)| path),
            idle_limit: table.seconds("idle_timeout_seconds")?.unwrap_or(IDLE_LIMIT),
            context_size: table.count("context_size", 1..=MOST_CONTEXT)?,
            keep_alive_seconds: table.count("keep_alive_seconds", 0..=LONGEST_KEPT)?,
        };
        table.finish(KEYS)?;
        Ok(config)
    }
}

/// What is configured, else what Ollama's own variable says, else where Ollama listens by itself.
fn base_url(table: &mut Table, sources: &ConfigSources) -> Result<String, ConfigError> {
    let (text, origin) = match (table.located_string("base_url")?, &sources.ollama_host) {
        (Some(written), _) => written,
        (None, Some(value)) => (host::base_url(value), Origin::Environment("OLLAMA_HOST")),
        (None, None) => return Ok(host::DEFAULT.to_owned()),
    };
    check::base_url(text, origin, table, "`http://127.0.0.1:11434` or `https://example.com/ollama`")
}
