//! `perilune run` and `perilune exec`: sends Lua code with what it needs, and shows what comes back.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use perilune_protocol::{ErrorReply, ExecuteExtension, ExecuteRequest, Reply, Request};
use serde::Serialize;

use crate::arguments::{self, Format};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::{Session, Via};
use crate::{modules, route, source};

/// The exit code of a run that the user interrupted.
const INTERRUPTED: u8 = 130;

/// What tracebacks call the code of `exec`, as the `lua` command does.
const COMMAND_LINE: &str = "(command line)";

/// Lua code to run, read and complete.
pub struct Program {
    code: String,
    extension: ExecuteExtension,
    shows_result: bool,
}

impl Program {
    /// The script of a `run`, with the modules that travel with it.
    pub fn script(run: arguments::Run) -> Result<Program, Failure> {
        let file = run.file();
        let code = source::script(file).map_err(Failure::Usage)?;
        let modules = modules::collect(&code, file.parent().unwrap_or(Path::new(""))).map_err(Failure::Usage)?;
        let extension = ExecuteExtension {
            fresh_workspace: true,
            script: Some(file.display().to_string()),
            arguments: run.arguments().to_vec(),
            modules,
            model: run.generation.models(),
            seed: run.generation.seed,
            budget_tokens: run.budget.budget_tokens,
            budget_usd: run.budget.budget_usd,
            route_decisions: route::are_wanted(),
        };
        Ok(Program { code, extension, shows_result: false })
    }

    /// The code of an `exec`.
    pub fn line(exec: arguments::Exec) -> Program {
        let extension = ExecuteExtension {
            fresh_workspace: true,
            script: Some(COMMAND_LINE.to_owned()),
            model: exec.generation.models(),
            seed: exec.generation.seed,
            budget_tokens: exec.budget.budget_tokens,
            budget_usd: exec.budget.budget_usd,
            route_decisions: route::are_wanted(),
            ..ExecuteExtension::default()
        };
        Program { code: exec.code, extension, shows_result: true }
    }
}

/// Runs the program in a workspace of its own, and returns the exit code it ended with.
pub async fn run(session: &mut Session, program: Program, format: Format) -> Result<ExitCode, Failure> {
    let request = ExecuteRequest {
        allow_stdin: true,
        store_history: false,
        perilune: Some(program.extension),
        ..ExecuteRequest::new(program.code)
    };
    let mut output = Output::new(format, program.shows_result);
    let started = Instant::now();
    let reply =
        session.request(Via::Shell, Request::Execute(request), &mut |publication| output.show(publication)).await?;
    output.finish()?;
    let duration_ms = started.elapsed().as_micros() as f64 / 1000.0;
    let ended = Ended::new(reply, session.interrupted())?;
    match format {
        Format::Text => {
            if let Some(error) = &ended.error {
                output.complain(error)?;
            }
        }
        Format::Json => {
            let Output { stdout, stderr, displays, result, .. } = &output;
            let report = Report { ended: &ended, stdout, stderr, displays, result: result.as_deref(), duration_ms };
            crate::output::print_json(&report)?;
        }
    }
    Ok(ExitCode::from(ended.exit_code))
}

/// What `--output json` prints of a run.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    ended: &'a Ended,
    stdout: &'a str,
    stderr: &'a str,
    displays: &'a [serde_json::Value],
    result: Option<&'a str>,
    duration_ms: f64,
}

/// How a run ended.
#[derive(Debug, Serialize)]
struct Ended {
    status: &'static str,
    exit_code: u8,
    error: Option<ErrorReply>,
}

impl Ended {
    fn new(reply: Reply, interrupted: bool) -> Result<Ended, Failure> {
        match reply {
            Reply::Execute(_) if interrupted => Ok(Ended { status: "error", exit_code: INTERRUPTED, error: None }),
            Reply::Execute(reply) => {
                let exit_code = exit_status(reply.perilune.and_then(|extension| extension.exit_code).unwrap_or(0));
                Ok(Ended { status: if exit_code == 0 { "ok" } else { "error" }, exit_code, error: None })
            }
            Reply::Error { error, .. } => {
                let exit_code = if interrupted { INTERRUPTED } else { 1 };
                Ok(Ended { status: "error", exit_code, error: Some(error) })
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// A reply of another type than the request's.
pub fn unexpected(reply: &Reply) -> Failure {
    let msg_type = perilune_protocol::Content::msg_type(reply);
    Failure::Connection(anyhow::anyhow!(
        "the kernel answered with `{msg_type}`, which nobody asked for; it may be of another version"
    ))
}

/// What an operating system makes of the number given to `os.exit`: its lowest eight bits.
pub fn exit_status(code: i32) -> u8 {
    code.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_low_byte() {
        assert_eq!([0, 1, 7, 256, -1].map(exit_status), [0, 1, 7, 0, 255]);
    }
}
