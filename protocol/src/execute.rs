//! `execute_request` and `execute_reply`, with Perilune's optional extension of both under the key `perilune`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lenient::{is_off, null_default, null_yes, yes};
use crate::output::MimeBundle;

/// Asks the kernel to run code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecuteRequest {
    /// The source.
    pub code: String,
    /// Run without broadcasting output and without counting.
    #[serde(default, deserialize_with = "null_default")]
    pub silent: bool,
    /// Whether the code belongs into the history; a silent request is not stored whatever this says.
    #[serde(default = "yes", deserialize_with = "null_yes")]
    pub store_history: bool,
    /// Expressions to evaluate afterwards, by name.
    #[serde(default, deserialize_with = "null_default")]
    pub user_expressions: BTreeMap<String, String>,
    /// Whether the client answers `input_request`; a client that does not say so does not.
    #[serde(default, deserialize_with = "null_default")]
    pub allow_stdin: bool,
    /// Whether requests queued behind this one are refused when it fails.
    #[serde(default = "yes", deserialize_with = "null_yes")]
    pub stop_on_error: bool,
    /// What only Perilune's own client asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perilune: Option<ExecuteExtension>,
}

impl ExecuteRequest {
    /// A request for `code` with the defaults of the specification and no stdin.
    pub fn new(code: impl Into<String>) -> ExecuteRequest {
        ExecuteRequest {
            code: code.into(),
            silent: false,
            store_history: true,
            user_expressions: BTreeMap::new(),
            allow_stdin: false,
            stop_on_error: true,
            perilune: None,
        }
    }
}

/// How `perilune run` wants its code run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecuteExtension {
    /// A Lua state of its own, dropped afterwards, rather than the notebook's.
    #[serde(default, deserialize_with = "null_default")]
    pub fresh_workspace: bool,
    /// The script's name for tracebacks and `arg[0]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// The script's arguments.
    #[serde(default, deserialize_with = "null_default")]
    pub arguments: Vec<String>,
    /// Sources of the modules that travelled with the script, by the name it requires them under.
    #[serde(default, deserialize_with = "null_default")]
    pub modules: BTreeMap<String, String>,
    /// Default model of the workspace, as a specifier or several with commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Publish what is decided about its requests to models, as `model_event`s.
    #[serde(default, skip_serializing_if = "is_off", deserialize_with = "null_default")]
    pub route_decisions: bool,
    /// The most tokens that its requests to models may take together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_tokens: Option<u64>,
    /// The most US dollars that they may cost, as far as prices are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_usd: Option<f64>,
    /// Default seed of the workspace's sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// The answer to an `execute_request` that did not fail.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecuteReply {
    /// The number of this execution.
    #[serde(default, deserialize_with = "null_default")]
    pub execution_count: u32,
    /// Pager contents and the like; deprecated, but frontends expect the list.
    #[serde(default, deserialize_with = "null_default")]
    pub payload: Vec<serde_json::Value>,
    /// What the request's expressions gave, by name.
    #[serde(default, deserialize_with = "null_default")]
    pub user_expressions: BTreeMap<String, ExpressionResult>,
    /// What only Perilune's own client reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perilune: Option<ExecuteReplyExtension>,
}

/// How a script ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecuteReplyExtension {
    /// The code given to `os.exit`, when the script called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

/// The value of one user expression, or why it has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum ExpressionResult {
    /// It has a value.
    Ok {
        /// The value, by MIME type.
        data: MimeBundle,
        /// Metadata by MIME type.
        #[serde(default, deserialize_with = "null_default")]
        metadata: MimeBundle,
    },
    /// It failed.
    Error {
        /// Name of the error.
        ename: String,
        /// Its message.
        evalue: String,
        /// Lines to print.
        #[serde(default, deserialize_with = "null_default")]
        traceback: Vec<String>,
    },
}
