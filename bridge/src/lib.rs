//! Lua: one interpreter thread per workspace, its cells and its globals.
//!
//! In reading order: [`Workspace`] is the handle to an interpreter thread; [`Cell`] goes in,
//! [`Outcome`] comes out, and what it prints or asks meanwhile goes through [`CellIo`];
//! `interpreter` is the thread, `schedule` says which cell's turn it is, `run` and `progress` are a
//! cell under way, which `compile` makes functions of; `host` is what their globals share, `interrupt`
//! what the one `hook` decides, `operation` how Lua waits for Rust, `parker` how the thread sleeps,
//! `leftovers` what ends with its cell, `prelude` the part that is written in Lua; `locals` makes
//! top-level locals last; then come the globals: `console`, `process`, `modules`, `display` (what a
//! value looks like), `json` (with `convert`), `models` and `agents` (with `options`, `generation`,
//! `live` and `pulls`), `comm`; [`documentation`] is the one registry of what these give to scripts;
//! [`is_complete`] and `editor` answer whoever writes code. This crate has never heard of Jupyter, of
//! sockets or of a terminal.

mod agents;
mod cell;
mod comm;
mod compile;
mod completeness;
mod console;
mod convert;
mod display;
mod documentation;
mod editor;
mod error;
mod generation;
mod hook;
mod host;
mod input;
mod interpreter;
mod interrupt;
mod json;
mod leftovers;
mod lexer;
mod live;
mod locals;
mod models;
mod modules;
mod operation;
mod options;
mod parker;
mod prelude;
mod process;
mod progress;
mod pulls;
mod run;
mod schedule;
mod script_error;
mod syntax;
mod text;
mod usage;
mod workspace;

pub use cell::{Cell, CellIo, ExpressionResult, Failure, InputError, Interrupted, MimeBundle, Outcome, Output, Rich};
pub use comm::{CommEvent, CommMessage};
pub use completeness::{Completeness, is_complete};
pub use documentation::{Area, Documentation, Entry, EntryKind, Parameter, documentation};
pub use editor::{Completion, CompletionKind, Completions, Detail, Inquirer, Unanswered};
pub use error::Error;
pub use workspace::{ChosenModel, Workspace, WorkspaceOptions};
