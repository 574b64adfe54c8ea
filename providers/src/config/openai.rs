//! The options of an `openai` provider: a server that speaks OpenAI's dialect of HTTP, wherever it is.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::error::{ConfigError, Origin};
use super::layer::Table;
use super::sources::ConfigSources;
use super::{candle, check, kernel};
use crate::nearest::{nearest, suggestion};

/// Every key that means something for this type.
pub(super) const KEYS: &[&str] = &[
    "api_key",
    "api_key_env",
    "base_url",
    "ca_file",
    "default_model",
    "enabled",
    "idle_timeout_seconds",
    "preset",
    "timeout_seconds",
    "type",
];

/// The longest time without a byte, if nobody says otherwise: long prompts take minutes on a busy server.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// How a server is reached and what is peculiar about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OpenAiConfig {
    /// Scheme, host, port and path; `None` where no layer that may choose one did.
    pub base_url: Option<String>,
    /// What kind of server it is.
    pub preset: Preset,
    /// The key itself.
    pub api_key: Option<Secret>,
    /// The variable of the environment that holds the key.
    pub api_key_env: Option<String>,
    /// Certificates that sign the server's, in PEM, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The longest time without a byte, before and within an answer.
    pub idle_limit: Duration,
}

/// A key, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The key.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(set)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(set)")
    }
}

/// What differs among servers that speak the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Preset {
    /// The word the configuration uses.
    pub name: &'static str,
    /// Where it is, if it is always there.
    pub base_url: Option<&'static str>,
    /// The variable that its own documentation puts the key in; a server on this machine needs none.
    pub api_key_env: Option<&'static str>,
    /// Its names of parameters that not all call alike.
    pub words: Words,
}

/// What not all servers do alike: names of parameters, and known faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Words {
    /// The longest answer, in tokens.
    pub max_tokens: &'static str,
    /// The seed.
    pub seed: &'static str,
    /// The penalty by which logits are divided.
    pub repeat_penalty: &'static str,
    /// Whether a schema comes as `json_schema`, as OpenAI wants it, or beside `json_object`.
    pub json_schema: bool,
    /// Whether several texts may be embedded by one request.
    pub many_texts: bool,
    /// Whether a refusal comes as a refusal, and not as an answer that ends before it begins.
    pub refusals: bool,
    /// Whether thinking and tool calls come as such, and not as the text that the model wrote.
    pub structured: bool,
    /// Options that its documentation does not have, by our names: it refuses them, or leaves them out without a word.
    pub lacks: &'static [&'static str],
}

const WORDS: Words = Words {
    max_tokens: "max_tokens",
    seed: "seed",
    repeat_penalty: "repeat_penalty",
    json_schema: true,
    many_texts: true,
    refusals: true,
    structured: true,
    lacks: &[],
};

/// A server that nothing special is known of.
const PLAIN: Preset = Preset { name: "none", base_url: None, api_key_env: None, words: WORDS };

/// The presets, from the servers' own documentation.
const PRESETS: [Preset; 9] = [
    Preset {
        name: "openai",
        base_url: Some("https://api.openai.com/v1"),
        api_key_env: Some("OPENAI_API_KEY"),
        words: Words {
            max_tokens: "max_completion_tokens",
            lacks: &["top_k", "min_p", "typical_p", "repeat_penalty"],
            ..WORDS
        },
    },
    Preset {
        name: "openrouter",
        base_url: Some("https://openrouter.ai/api/v1"),
        api_key_env: Some("OPENROUTER_API_KEY"),
        words: Words { repeat_penalty: "repetition_penalty", lacks: &["typical_p"], ..WORDS },
    },
    Preset {
        name: "groq",
        base_url: Some("https://api.groq.com/openai/v1"),
        api_key_env: Some("GROQ_API_KEY"),
        words: Words {
            lacks: &[
                "top_k",
                "min_p",
                "typical_p",
                "repeat_penalty",
                "frequency_penalty",
                "presence_penalty",
                "logit_bias",
                "logprobs",
            ],
            ..WORDS
        },
    },
    Preset {
        name: "mistral",
        base_url: Some("https://api.mistral.ai/v1"),
        api_key_env: Some("MISTRAL_API_KEY"),
        words: Words {
            seed: "random_seed",
            lacks: &["top_k", "min_p", "typical_p", "repeat_penalty", "logit_bias", "logprobs"],
            ..WORDS
        },
    },
    Preset {
        name: "deepseek",
        base_url: Some("https://api.deepseek.com/v1"),
        api_key_env: Some("DEEPSEEK_API_KEY"),
        words: Words { lacks: &["top_k", "min_p", "typical_p", "repeat_penalty", "logit_bias", "seed"], ..WORDS },
    },
    Preset {
        name: "vllm",
        base_url: Some("http://127.0.0.1:8000/v1"),
        words: Words { repeat_penalty: "repetition_penalty", lacks: &["typical_p"], ..WORDS },
        ..PLAIN
    },
    Preset { name: "llama-server", base_url: Some("http://127.0.0.1:8080/v1"), ..PLAIN },
    Preset {
        name: "llama-cpp-python",
        base_url: Some("http://127.0.0.1:8000/v1"),
        // 0.3.36: of what it computed of several texts it takes the wrong parts, a stream that is refused is empty, and with a model's
        // own chat template its calls come as text.
        words: Words {
            json_schema: false,
            many_texts: false,
            refusals: false,
            structured: false,
            lacks: &["typical_p"],
            ..WORDS
        },
        ..PLAIN
    },
    Preset {
        name: "lm-studio",
        base_url: Some("http://127.0.0.1:1234/v1"),
        words: Words { lacks: &["typical_p"], ..WORDS },
        ..PLAIN
    },
];

impl OpenAiConfig {
    /// `confined`: a file that may not say where it is did.
    pub(super) fn from_table(
        table: &mut Table,
        sources: &ConfigSources,
        confined: bool,
    ) -> Result<OpenAiConfig, ConfigError> {
        table.without(
            candle::KEYS,
            KEYS,
            "does not apply to an `openai` provider, whose server decides that; leave it out",
        )?;
        table.without(
            kernel::KEYS,
            KEYS,
            "does not apply to an `openai` provider, which is reached at its `base_url`; leave it out",
        )?;
        let preset = match table.located_string("preset")? {
            Some((word, origin)) => preset(&word, origin, table)?,
            None => PLAIN,
        };
        let base_url = match table.located_string("base_url")? {
            Some((text, origin)) => {
                Some(check::base_url(text, origin, table, "`https://api.openai.com/v1` or `http://127.0.0.1:8000/v1`")?)
            }
            None => preset.base_url.map(str::to_owned),
        };
        let api_key = match table.located_string("api_key")? {
            Some((key, origin)) => Some(Secret(check::key(key, origin, table)?)),
            None => None,
        };
        let api_key_env = match table.located_string("api_key_env")? {
            Some((name, origin)) => {
                Some(check::variable(name, origin, table, "`OPENAI_API_KEY`; the key itself goes into `api_key`")?)
            }
            None => preset.api_key_env.map(str::to_owned),
        };
        let config = OpenAiConfig {
            base_url,
            preset,
            api_key,
            api_key_env,
            ca_file: table.path("ca_file", "a file of certificates", &sources.directories)?.map(|(path, _)| path),
            idle_limit: table.seconds("idle_timeout_seconds")?.unwrap_or(IDLE_LIMIT),
        };
        table.finish(KEYS)?;
        if config.base_url.is_none() && !confined {
            let problem = format!(
                "must be there where no `preset` says it: an address such as `http://127.0.0.1:8000/v1`, or `preset` as one of {}",
                presets()
            );
            return Err(table.refuse("base_url", table.origin(), problem));
        }
        Ok(config)
    }
}

fn preset(word: &str, origin: Origin, table: &Table) -> Result<Preset, ConfigError> {
    PRESETS.into_iter().find(|preset| preset.name == word).ok_or_else(|| {
        let near = suggestion(&nearest(word, PRESETS.iter().map(|preset| preset.name)));
        table.refuse("preset", origin, format!("must be one of {}{near}", presets()))
    })
}

/// Their names, for errors.
fn presets() -> String {
    PRESETS.map(|preset| format!("`{}`", preset.name)).join(", ")
}
