//! Cells through the public API: results, kept locals, console, processes, modules, interrupts.

mod agents;
mod comms;
mod completion;
mod console;
mod display;
mod documentation;
mod errors;
mod inspection;
mod interrupts;
mod json;
mod locals;
mod models;
mod notebook;
mod results;
mod sandbox;
mod subshells;
mod usage;
