//! Lua: one interpreter thread per workspace, its cells and its globals.
//!
//! In reading order: [`Workspace`] is the handle to an interpreter thread; [`Cell`] goes in,
//! [`Outcome`] comes out, and what it prints or asks meanwhile goes through [`CellIo`];
//! `interpreter` runs cells as coroutines; `host` is what their globals share, `interrupt` the one
//! hook, `operation` how Lua waits for Rust, `leftovers` what ends with its cell, `prelude` the part
//! that is written in Lua; `locals` makes top-level locals last; then come the globals: `console`,
//! `process`, `modules`, `display` (what a value looks like), `json` (with `convert`), `models` and
//! `agents` (with `options`, `generation` and `live`); [`documentation`] is the one registry of what these
//! give to scripts; [`is_complete`] and `editor` answer whoever writes code. This crate has never heard of
//! Jupyter, of sockets or of a terminal.

mod agents;
mod cell;
mod completeness;
mod console;
mod convert;
mod display;
mod documentation;
mod editor;
mod error;
mod generation;
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
mod prelude;
mod process;
mod script_error;
mod syntax;
mod text;
mod workspace;

pub use cell::{Cell, CellIo, ExpressionResult, Failure, InputError, Interrupted, MimeBundle, Outcome, Output, Rich};
pub use completeness::{Completeness, is_complete};
pub use documentation::{Area, Documentation, Entry, EntryKind, Parameter, documentation};
pub use editor::{Completion, CompletionKind, Completions, Detail, Inquirer, Unanswered};
pub use error::Error;
pub use workspace::{ChosenModel, Workspace, WorkspaceOptions};
