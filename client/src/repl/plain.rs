//! Code that nobody edits: from a pipe, a file, or a terminal that can only print. What is complete is run at once.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::Error;
use perilune_protocol::{Completeness, IsCompleteRequest, Reply, Request};

use super::cell;
use crate::failure::Failure;
use crate::input;
use crate::interrupts::Interrupts;
use crate::output::print;
use crate::session::{Session, Via};

/// Runs the standard input. An error ends it with exit code 1, unless somebody sits in front.
pub async fn run(session: &mut Session, interrupts: &Interrupts) -> Result<ExitCode, Failure> {
    let prompts = io::stdin().is_terminal();
    let (mut code, mut count, mut more) = (String::new(), 1, true);
    while more {
        if prompts {
            print(&if code.is_empty() { format!("[{count}]> ") } else { "| ".to_owned() })?;
        }
        let line = next_line(interrupts).await?;
        more = !line.eof;
        code.push_str(&line.value);
        if code.trim().is_empty() {
            code.clear();
            continue;
        }
        code.push('\n');
        if more && goes_on(session, &code).await? {
            continue;
        }
        let ran = cell::run(session, interrupts, std::mem::take(&mut code)).await?;
        count = ran.count.map_or(count, |ran| ran + 1);
        if let Some(code) = ran.leaves {
            return Ok(ExitCode::from(code));
        }
        if ran.failed && !prompts {
            return Ok(ExitCode::from(if session.interrupted() { 130 } else { 1 }));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn next_line(interrupts: &Interrupts) -> Result<perilune_protocol::InputReply, Failure> {
    interrupts.forgive();
    let mut interrupted = interrupts.clone();
    tokio::select! {
        line = input::next_line() => {
            line.map_err(|error| Failure::Refused(Error::from(error).context("cannot read the standard input")))
        }
        () = interrupted.wait() => Err(Failure::Interrupted),
    }
}

/// Whether the code wants another line.
async fn goes_on(session: &mut Session, code: &str) -> Result<bool, Failure> {
    let request = Request::IsComplete(IsCompleteRequest { code: code.to_owned() });
    let reply = session.request(Via::Control, request, &mut |_| Ok(())).await?;
    Ok(matches!(reply, Reply::IsComplete(reply) if reply.status == Completeness::Incomplete))
}
