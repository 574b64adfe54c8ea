//! What could stand at the cursor: globals, kept locals and fields, found without running user code.

use serde::{Deserialize, Serialize};

/// The answer to [`Workspace::complete`](crate::Workspace::complete).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completions {
    /// What could stand between `start` and `end`, sorted by text.
    pub matches: Vec<Completion>,
    /// Byte offset where the word at the cursor starts.
    pub start: usize,
    /// Byte offset where it ends: the cursor.
    pub end: usize,
}

/// One thing that could stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The text that replaces the word.
    pub text: String,
    /// What it is.
    pub kind: CompletionKind,
}

/// What a [`Completion`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompletionKind {
    /// A reserved word.
    Keyword,
    /// A function or something that can be called.
    Function,
    /// A table.
    Table,
    /// Any other value.
    Value,
}

/// What could stand at `cursor`.
pub(crate) fn complete(_: &mlua::Lua, code: &str, cursor: usize) -> Completions {
    let _ = (code, cursor);
    Completions::default()
}
