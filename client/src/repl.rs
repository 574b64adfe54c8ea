//! `perilune repl`: Lua at a prompt. What is typed goes to a notebook's kernel in the messages that notebooks send.
//!
//! In reading order: this file opens a kernel and decides where code comes from; [`terminal`] edits it, [`plain`] reads it from
//! anything else; [`cell`] runs it. Where the session goes on, a cell's error is shown; where nobody sits in front, it ends it.

mod cell;
mod plain;
mod terminal;

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use crate::arguments::{self, Format, Global};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::output;
use crate::session::{Session, open_kernel};

/// Ctrl-C that a running cell may ignore before one ends the process: the first asks the cell to stop, the second warns.
pub const BEARABLE: u32 = 2;

/// Runs what is typed or piped in until there is nothing more.
pub async fn run(repl: arguments::Repl, global: &Global) -> Result<ExitCode, Failure> {
    if global.output == Format::Json {
        let what =
            "`--output json` is for one answer and a prompt has many; `perilune exec` and `perilune run` print JSON";
        return Err(Failure::Usage(anyhow!(what)));
    }
    let interrupts = Interrupts::listen(BEARABLE).context("cannot listen for signals").map_err(Failure::Refused)?;
    let mut session = open(repl.generation, global.connect.as_deref(), &interrupts).await?;
    let ended = match is_editable() {
        true => terminal::run(&mut session, &interrupts, global.connect.as_deref()).await,
        false => plain::run(&mut session, &interrupts).await,
    };
    session.close().await;
    ended
}

/// Whether there is a terminal to edit lines on: keys come from stdin, and the editor draws on stderr.
pub fn is_editable() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal() && !output::is_dumb()
}

async fn open(
    generation: arguments::Generation,
    connect: Option<&Path>,
    interrupts: &Interrupts,
) -> Result<Session, Failure> {
    let (model, seed) = (generation.models(), generation.seed);
    let Some(path) = connect else {
        let kernel = open_kernel().and_then(|kernel| Ok(kernel.with_generation(model.as_deref(), seed)?));
        return Ok(Session::embed(kernel.map_err(Failure::Usage)?, interrupts));
    };
    if model.is_some() || seed.is_some() {
        let what = "`--model` and `--seed` are for a kernel of one's own; with `--connect` the kernel's others would get them too";
        return Err(Failure::Usage(anyhow!(what)));
    }
    Ok(Session::connect(path, interrupts).await?.0)
}
