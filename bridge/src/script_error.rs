//! What a global tells a script when it fails: a kind to branch on and a message to read. The
//! prelude makes the Lua error object of it.

use perilune_providers::ErrorDetails;

/// An error on its way into a script.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScriptError {
    /// The machine-readable kind, in the words of `perilune_providers::ErrorKind`.
    pub(crate) kind: &'static str,
    /// The message, without a place in the script.
    pub(crate) message: String,
    /// What more is known, which become fields of the error object.
    pub(crate) details: Box<ErrorDetails>,
}

impl ScriptError {
    /// What went wrong on our side.
    pub(crate) fn internal(error: impl std::fmt::Display) -> ScriptError {
        ScriptError::new("internal", error.to_string())
    }

    /// An error of this kind, of which there is no more to say.
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> ScriptError {
        ScriptError { kind, message: message.into(), details: Box::default() }
    }

    /// An argument that a global cannot take.
    pub(crate) fn argument(message: impl Into<String>) -> ScriptError {
        ScriptError::new("invalid_request", message)
    }

    /// The cell was cancelled while it waited.
    pub(crate) fn interrupted() -> ScriptError {
        ScriptError::new("interrupted", "interrupted")
    }
}

impl From<perilune_providers::Error> for ScriptError {
    fn from(error: perilune_providers::Error) -> ScriptError {
        ScriptError { details: Box::new(error.details()), ..ScriptError::new(error.kind().as_str(), error.to_string()) }
    }
}
