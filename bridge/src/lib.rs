//! Lua: one interpreter thread per workspace, its cells and its globals.
//!
//! In reading order: [`Workspace`] is the handle to an interpreter thread; [`Cell`] goes in,
//! [`Outcome`] comes out, and what it prints or asks meanwhile goes through [`CellIo`];
//! [`is_complete`] and [`Completions`] serve an editor. This crate has never heard of Jupyter,
//! of sockets or of a terminal.

mod agents;
mod cell;
mod completeness;
mod completion;
mod console;
mod convert;
mod error;
mod generation;
mod host;
mod input;
mod interpreter;
mod interrupt;
mod json;
mod lexer;
mod locals;
mod models;
mod modules;
mod operation;
mod options;
mod prelude;
mod process;
mod script_error;
mod text;
mod workspace;

pub use cell::{Cell, CellIo, ExpressionResult, Failure, InputError, Interrupted, MimeBundle, Outcome, Output};
pub use completeness::{Completeness, is_complete};
pub use completion::{Completion, CompletionKind, Completions};
pub use error::Error;
pub use workspace::{Workspace, WorkspaceOptions};
