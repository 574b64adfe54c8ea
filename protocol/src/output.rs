//! What a kernel tells everybody while it works: the contents of the iopub channel, save model events.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::lenient::null_default;

/// Values by MIME type, e.g. `text/plain`.
pub type MimeBundle = Map<String, Value>;

/// Busy or idle: brackets everything that a request causes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The state.
    pub execution_state: ExecutionState,
}

/// What a kernel is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutionState {
    /// It works on the parent request.
    Busy,
    /// It is done with the parent request.
    Idle,
    /// It has just started.
    Starting,
    /// A state that is not in the specification.
    #[serde(other)]
    Unknown,
}

/// Printed text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Which stream.
    pub name: StreamName,
    /// The text, in any portion: line ends are in it.
    pub text: String,
}

/// Standard output or standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamName {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The code about to run, for other clients' eyes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecuteInput {
    /// The source.
    pub code: String,
    /// The number of this execution.
    #[serde(default, deserialize_with = "null_default")]
    pub execution_count: u32,
}

/// The value of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecuteResult {
    /// The number of this execution.
    #[serde(default, deserialize_with = "null_default")]
    pub execution_count: u32,
    /// The value, by MIME type.
    pub data: MimeBundle,
    /// Metadata by MIME type.
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: MimeBundle,
}

/// Something to show, also in `update_display_data`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DisplayData {
    /// What to show, by MIME type.
    pub data: MimeBundle,
    /// Metadata by MIME type.
    #[serde(default, deserialize_with = "null_default")]
    pub metadata: MimeBundle,
    /// Not stored in a notebook: `display_id`, by which it can be updated.
    #[serde(default, deserialize_with = "null_default")]
    pub transient: Map<String, Value>,
}

/// A cell's error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorOutput {
    /// Name of the error.
    pub ename: String,
    /// Its message.
    pub evalue: String,
    /// Lines to print.
    #[serde(default, deserialize_with = "null_default")]
    pub traceback: Vec<String>,
}

/// Asks frontends to clear a cell's output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearOutput {
    /// Wait for the next output before clearing.
    #[serde(default, deserialize_with = "null_default")]
    pub wait: bool,
}

/// Says to a new subscriber that its subscription is live (JEP 65).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IopubWelcome {
    /// The topic subscribed to; empty is everything.
    #[serde(default, deserialize_with = "null_default")]
    pub subscription: String,
}
