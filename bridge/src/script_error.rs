//! What a global tells a script when it fails: a kind to branch on and a message to read. The
//! prelude makes the Lua error object of it.

use std::borrow::Cow;

/// An error on its way into a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScriptError {
    /// The machine-readable kind, in the words of `perilune_providers::ErrorKind`.
    pub(crate) kind: Cow<'static, str>,
    /// The message, without a place in the script.
    pub(crate) message: String,
}

impl ScriptError {
    /// An argument that a global cannot take.
    pub(crate) fn argument(message: impl Into<String>) -> ScriptError {
        ScriptError { kind: Cow::Borrowed("invalid_request"), message: message.into() }
    }

    /// The cell was cancelled while it waited.
    pub(crate) fn interrupted() -> ScriptError {
        ScriptError { kind: Cow::Borrowed("interrupted"), message: "interrupted".to_owned() }
    }
}

impl From<perilune_providers::Error> for ScriptError {
    fn from(error: perilune_providers::Error) -> ScriptError {
        ScriptError { kind: Cow::Borrowed(error.kind().as_str()), message: error.to_string() }
    }
}
