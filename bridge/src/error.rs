//! Why a workspace could not start. What goes wrong in a cell is a [`Failure`](crate::Failure).

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A workspace was started outside a tokio runtime, whose timers and sockets its cells need.
    #[error("a workspace needs a tokio runtime; start it from within one")]
    NoRuntime,
    /// The operating system gave no thread.
    #[error("cannot start the interpreter thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The interpreter did not come up.
    #[error("cannot start the interpreter: {0}")]
    Startup(String),
}
