//! Everything that can go wrong in the engine, in words for the one who asked.

use std::path::PathBuf;
use std::sync::Arc;

use crate::places::NoPlace;

/// An engine error. Its text names the value, the place, and what would have worked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model file cannot be opened or mapped.
    #[error("cannot read model file `{}`: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// The file is not a GGUF file that holds together.
    #[error("`{file}` is not a usable gguf file: {problem}")]
    InvalidFile {
        /// The file, or `bundled model`.
        file: String,
        /// Field, offset and what was expected.
        problem: String,
    },
    /// The file is sound but needs something this engine does not have.
    #[error("`{file}` cannot run here: {problem}")]
    UnsupportedModel {
        /// The file, or `bundled model`.
        file: String,
        /// What is missing and what runs.
        problem: String,
    },
    /// An option is outside its range.
    #[error("`{name}` is `{value}`, expected {expected}")]
    InvalidOption {
        /// The option's name.
        name: &'static str,
        /// The value given.
        value: String,
        /// The range that works.
        expected: String,
    },
    /// The prompt does not fit the context.
    #[error(
        "the prompt has {prompt_tokens} tokens and the context holds {context_size} (one must be left to answer); shorten it, raise `context_size` or ask for `truncate`"
    )]
    ContextOverflow {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens the context holds, prompt and answer together.
        context_size: usize,
    },
    /// The prompt has no tokens.
    #[error("the prompt is empty, expected at least one token")]
    EmptyPrompt,
    /// The model file has no chat template.
    #[error("the model has no chat template; send a raw prompt instead")]
    NoChatTemplate,
    /// The chat template does not compile or refuses the conversation.
    #[error("chat template: {problem}")]
    Template {
        /// What the template said.
        problem: String,
    },
    /// Too many requests wait already, all together or of one session.
    #[error(
        "the engine is overloaded: {waiting} requests wait already, {own} of them of this session; try again later"
    )]
    Overloaded {
        /// Requests that wait.
        waiting: usize,
        /// Those of them of the session that asks.
        own: usize,
    },
    /// The system refuses the memory that weights need.
    #[error("the system has no memory for the model: {problem}; unload other models or choose a smaller one")]
    NoMemory {
        /// What the system said.
        problem: String,
    },
    /// The forward pass failed.
    #[error("the forward pass failed: {problem}")]
    Compute {
        /// What the kernel said.
        problem: String,
    },
    /// A state cannot be written.
    #[error("cannot write the state `{}`: {source}", path.display())]
    WriteState {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// A state cannot be restored: it is damaged, of another model, or too large.
    #[error("cannot restore the state `{}`: {problem}", path.display())]
    RestoreState {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// What was asked for was taken back before it was done.
    #[error("the request was cancelled")]
    Cancelled,
    /// The engine thread has ended.
    #[error("the engine has stopped; load the model again")]
    Stopped,
}

impl From<NoPlace> for Error {
    fn from(NoPlace { taken, own }: NoPlace) -> Error {
        Error::Overloaded { waiting: taken, own }
    }
}
