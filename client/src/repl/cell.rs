//! One cell: its code goes to the kernel, and what it shows to the terminal.

use std::io::{self, IsTerminal};

use perilune_protocol::{ExecuteExtension, ExecuteReply, ExecuteRequest, Reply, Request};
use serde_json::Value;

use crate::arguments::Format;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::output::{Output, print};
use crate::pager;
use crate::route;
use crate::run::{exit_status, unexpected};
use crate::session::{Session, Via};

/// What a cell leaves behind.
#[derive(Debug, Default)]
pub struct Ran {
    /// The number it had, where the kernel says.
    pub count: Option<u32>,
    /// It failed, and the error was shown.
    pub failed: bool,
    /// It asks to leave, with this exit code.
    pub leaves: Option<u8>,
}

/// Runs a cell and shows what comes of it. A failure is the session's: the kernel is gone, or nobody reads the output.
pub async fn run(session: &mut Session, interrupts: &Interrupts, code: String) -> Result<Ran, Failure> {
    interrupts.forgive();
    let perilune =
        route::are_wanted().then(|| ExecuteExtension { route_decisions: true, ..ExecuteExtension::default() });
    let request = Request::Execute(ExecuteRequest { allow_stdin: true, perilune, ..ExecuteRequest::new(code) });
    let mut output = Output::new(Format::Text, true);
    let reply = session.request(Via::Shell, request, &mut |publication| output.show(publication)).await;
    output.finish()?;
    if session.interrupted() && io::stdin().is_terminal() {
        // The terminal has shown it as `^C`, in the line that the cursor is in.
        print("\n")?;
    }
    let ran = match reply {
        Ok(Reply::Execute(reply)) => ended(reply).await?,
        Ok(Reply::Error { error, .. }) => {
            let leaves = error.exit_code.map(exit_status);
            if leaves.is_none() {
                output.complain(&error)?;
            }
            Ran { count: error.execution_count, failed: true, leaves }
        }
        Ok(other) => return Err(unexpected(&other)),
        // It did not stop in time, which the session has told; whoever sits in front may try something else.
        Err(Failure::Interrupted) => Ran { failed: true, ..Ran::default() },
        Err(failure) => return Err(failure),
    };
    output.end_line()?;
    Ok(ran)
}

async fn ended(reply: ExecuteReply) -> Result<Ran, Failure> {
    let mut ran = Ran { count: Some(reply.execution_count), ..Ran::default() };
    for payload in &reply.payload {
        match payload["source"].as_str() {
            Some("page") => {
                if let Value::String(text) = &payload["data"]["text/plain"] {
                    pager::show(text).await?;
                }
            }
            Some("ask_exit") => {
                let code = reply.perilune.as_ref().and_then(|extension| extension.exit_code);
                ran.leaves = Some(exit_status(code.unwrap_or(0)));
            }
            _ => {}
        }
    }
    Ok(ran)
}
