//! Cells through the public API: results, kept locals, console, processes, modules, interrupts.

mod console;
mod errors;
mod interrupts;
mod locals;
mod notebook;
mod results;
