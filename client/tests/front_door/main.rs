//! The `perilune` binary as a user meets it: what it prints, what it exits with, with a kernel of its own and with one elsewhere.

#![expect(clippy::unwrap_used, reason = "what a test relies on and does not get is its failure")]

mod command_line;
mod connection;
mod interrupt;
mod kernel;
mod kernelspec;
mod manual;
mod model;
mod perilune;
mod run;
mod scripts;
