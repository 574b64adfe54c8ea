//! Stopping things: `interrupt` and `shutdown`. The reply to an interrupt is empty.

use serde::{Deserialize, Serialize};

use crate::lenient::{is_off, null_default};

/// Asks the kernel to stop what it computes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptRequest {
    /// What only Perilune's own client asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perilune: Option<InterruptExtension>,
}

/// Which computation to stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptExtension {
    /// The `msg_id` of the request to stop; without this extension it is the notebook's cell.
    pub request: String,
    /// Stop nothing, only say whether that request is under way: with an ordinary reply, or with an error of the kind `not_running`.
    #[serde(default, skip_serializing_if = "is_off", deserialize_with = "null_default")]
    pub only_ask: bool,
}

/// Asks the kernel to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownRequest {
    /// Whether the asker is going to start it again.
    #[serde(default, deserialize_with = "null_default")]
    pub restart: bool,
}

/// The answer to `shutdown_request`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutdownReply {
    /// Repeats the request's.
    #[serde(default, deserialize_with = "null_default")]
    pub restart: bool,
}
