//! What was run before: `history`. Written by frontends in many ways, so everything but the way of looking may be left out.

use serde::{Deserialize, Serialize};

use crate::lenient::{null_default, null_yes, yes};

/// Asks for cells that were run before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRequest {
    /// Whether what the cells returned is wanted too.
    #[serde(default, deserialize_with = "null_default")]
    pub output: bool,
    /// Whether the cells are wanted as they were typed, rather than as they were run.
    #[serde(default = "yes", deserialize_with = "null_yes")]
    pub raw: bool,
    /// Which cells.
    #[serde(flatten)]
    pub access: HistoryAccess,
}

/// Which cells of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hist_access_type", rename_all = "lowercase")]
pub enum HistoryAccess {
    /// The last ones.
    Tail {
        /// How many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<i64>,
    },
    /// Some of one session.
    Range {
        /// The session; 0 is the current one, -1 the one before it.
        #[serde(default, deserialize_with = "null_default")]
        session: i64,
        /// The first line.
        #[serde(default, deserialize_with = "null_default")]
        start: i64,
        /// The line after the last; none is the session's end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop: Option<i64>,
    },
    /// Those that a pattern fits.
    Search {
        /// A glob over the whole cell: `*`, `?`, `[a-z]`; none is all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pattern: Option<String>,
        /// At most so many, the last ones.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        n: Option<i64>,
        /// Whether a cell that was run often is wanted once, as it was run last.
        #[serde(default, deserialize_with = "null_default")]
        unique: bool,
    },
}

/// The answer to `history_request`, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryReply {
    /// Session, line and cell of each.
    #[serde(default, deserialize_with = "null_default")]
    pub history: Vec<(i64, i64, HistoryEntry)>,
}

/// A cell of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HistoryEntry {
    /// What was run.
    Input(String),
    /// What was run and what it returned.
    WithOutput(String, Option<String>),
}
