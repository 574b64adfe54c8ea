//! Whether a piece of code can run as it stands, or an editor should ask for another line.

use serde::{Deserialize, Serialize};

/// The judgement of [`is_complete`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// It can run.
    Complete,
    /// It could become Lua if more followed.
    Incomplete {
        /// What the next line should begin with.
        indent: String,
    },
    /// Nothing that follows can make it Lua.
    Invalid,
    /// It cannot be told.
    Unknown,
}

/// Judges `code` as a cell would be compiled, without running it.
pub fn is_complete(code: &str) -> Completeness {
    let _ = code;
    Completeness::Unknown
}
