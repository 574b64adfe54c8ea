//! What goes into a cell's run and what comes out of it: plain values, so that the interpreter
//! may one day run in another process. Knows nothing of Lua.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use perilune_providers::{ErrorDetails, RouteDecision};
use serde::{Deserialize, Serialize};

use crate::comm::CommMessage;

/// A piece of Lua code to run in a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The code. `return <code>` is tried first, so that `1 + 1` has a result.
    pub code: String,
    /// The Lua chunk name that messages and tracebacks show: `=cell 3`, `@hello.lua`.
    pub chunk_name: String,
    /// Whether top-level locals stay visible in later cells: yes for a notebook, no for a script.
    pub keep_locals: bool,
    /// Expressions to evaluate once the code has run without an error, by name.
    #[serde(default)]
    pub user_expressions: BTreeMap<String, String>,
}

/// Representations of one value by MIME type.
pub type MimeBundle = serde_json::Map<String, serde_json::Value>;

/// A value in all its representations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rich {
    /// The representations, `text/plain` always among them.
    pub data: MimeBundle,
    /// What a frontend should know about them, by MIME type.
    pub metadata: MimeBundle,
}

impl Rich {
    /// A value that is nothing but text.
    pub fn plain(text: impl Into<String>) -> Rich {
        let data = MimeBundle::from_iter([("text/plain".to_owned(), text.into().into())]);
        Rich { data, metadata: MimeBundle::new() }
    }

    /// The `text/plain` representation.
    pub fn text(&self) -> Option<&str> {
        self.data.get("text/plain")?.as_str()
    }
}

/// Something a cell shows while it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Text for the standard output.
    Stdout(String),
    /// Text for the standard error.
    Stderr(String),
    /// A rich value.
    Display {
        /// The value.
        value: Rich,
        /// The name by which it can be replaced later.
        display_id: Option<String>,
        /// Whether it replaces what was shown under `display_id`, rather than being shown anew.
        update: bool,
        /// Whether it will be replaced soon: what shows it once may wait for that which stays.
        live: bool,
    },
    /// What the cell showed so far goes away.
    ClearOutput {
        /// Only once something else is shown.
        wait: bool,
    },
    /// A text to read, such as documentation, for the frontend's pager.
    Page(Rich),
    /// A message over a comm.
    Comm(CommMessage),
    /// What was decided about a request to a model, for who wants to see that.
    Route(RouteDecision),
}

/// The other end of a running cell: who sees its output and answers its questions.
pub trait CellIo: Send + Sync {
    /// Hands over one piece of output, in order. May block the interpreter thread until there is
    /// room for it; says [`Interrupted`] when the cell was cancelled meanwhile.
    fn write(&self, output: Output) -> Result<(), Interrupted>;

    /// Asks for a line of input, which comes without its newline; `None` is the end of the input.
    fn read_line(&self, prompt: String, password: bool) -> BoxFuture<'static, Result<Option<String>, InputError>>;
}

/// The cell was cancelled while it waited to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Why there is no line of input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The client that sent the cell takes no questions.
    #[error("this client does not answer input requests; run the cell where input is allowed")]
    NotAllowed,
    /// The cell was cancelled while it waited.
    #[error("interrupted")]
    Interrupted,
    /// The answer was lost.
    #[error("no input: {0}")]
    Failed(String),
}

/// How a cell ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran to its end.
    Ok {
        /// The value it returned; `None` if it returned nothing or nil.
        result: Option<Rich>,
        /// The user expressions' values, by name.
        expressions: BTreeMap<String, ExpressionResult>,
    },
    /// It failed, or was interrupted.
    Error(Failure),
    /// It called `os.exit` with this code.
    Exit(i32),
}

/// The value of one user expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpressionResult {
    /// What it is.
    Ok(Rich),
    /// Why it has none.
    Error(Failure),
}

/// An error that a cell did not catch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// `LuaError`, `SyntaxError`, `ModelError`, `InputError`, `StdinNotAllowed` or `Interrupted`.
    pub name: String,
    /// The message with its place: `hello.lua:3: attempt to call a nil value (global 'f')`.
    pub message: String,
    /// Where it happened, innermost first, one line of text each: `hello.lua:3: in function 'f'`.
    pub traceback: Vec<String>,
    /// The error's machine-readable kind, if it has one: `model_not_found`, `interrupted`.
    pub kind: Option<String>,
    /// What more is known of a failed call of a model.
    #[serde(default)]
    pub details: Box<ErrorDetails>,
}
