//! The kernel: sockets, dispatch, workspaces, and the place where messages and the types of `providers` and `bridge` meet.
//!
//! In reading order: `kernel` opens a kernel and puts it behind a transport; `shell` receives requests, `dispatch` wraps
//! each one in busy, handler, reply, idle; `shells` queues the notebook's requests for its shells, `notebook` runs those of
//! each in order, `script` gives a run a workspace of its own, both by way of `execute`; `magics` runs what a cell says to
//! the kernel rather than to Lua; `comms` hands a frontend's messages to their handlers; `editing` answers an editor's
//! questions beside the running cell; `history` keeps the cells, `usage` measures; `models` answers `model_request`,
//! `remote` asks it of another kernel, `borrowers` are those that ask it of this one; `iopub` and `stdin` own the two
//! channels that go the other way; `convert` holds every translation between crates; [`mod@bench`] measures a model;
//! [`settings`] tells the configuration; [`kernelspec`] and [`resident`] know where things lie on disk.
//!
//! It knows nothing of Lua's insides, of HTTP or of GGUF, and prints nothing to a terminal.

pub mod bench;
mod borrowers;
mod comms;
mod convert;
mod dispatch;
mod editing;
mod error;
mod execute;
mod history;
mod iopub;
mod kernel;
pub mod kernelspec;
mod magics;
mod models;
mod notebook;
mod remote;
pub mod resident;
mod running;
mod script;
pub mod settings;
mod shell;
mod shells;
mod stdin;
mod usage;

pub use error::Error;
pub use kernel::{Bound, Embedded, Interrupter, Kernel, Shutdown};
pub use perilune_bridge::{Documentation, documentation};
