//! Runs one `execute_request` in a workspace: what it prints goes to iopub, what it asks to stdin, how it ended into the reply.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use perilune_bridge::{
    Cell, CellIo, Completeness, Failure, InputError, Interrupted, Outcome, Output, Rich, Workspace, WorkspaceOptions,
};
use perilune_protocol::{
    ErrorOutput, ErrorReply, ExecuteInput, ExecuteReply, ExecuteReplyExtension, ExecuteRequest, ExecuteResult,
    InputRequest, Reply,
};
use perilune_protocol::{Publication, Stream, StreamName};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::convert;
use crate::dispatch::Asker;
use crate::kernel::Context;
use crate::magics::{self, Magics, Place};
use crate::notebook::MAIN;
use crate::running::Guard;

/// Printed text travels in pieces of at most this many bytes, so that a long one keeps to the queue's bound.
const PIECE_BYTES: usize = 256 * 1024;

/// Where a cell stands among its workspace's.
pub(crate) struct Numbering {
    /// The number of its shell.
    pub(crate) shell: u32,
    /// The execution count that input, result and reply state.
    pub(crate) count: u32,
    /// A cell of the notebook, rather than a script.
    pub(crate) notebook: bool,
    /// Whether the history keeps it.
    pub(crate) kept: bool,
}

/// Starts an interpreter without holding up the runtime's threads.
pub(crate) async fn start_workspace(options: WorkspaceOptions) -> Result<Workspace, perilune_bridge::Error> {
    match tokio::task::spawn_blocking(move || Workspace::start(options)).await {
        Ok(started) => started,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Runs the request's code and returns the reply.
pub(crate) async fn execute(
    context: &Arc<Context>,
    asker: &Asker,
    workspace: &Workspace,
    request: ExecuteRequest,
    numbering: Numbering,
    running: &Guard,
) -> Reply {
    running.begin();
    let execution_count = numbering.count;
    if !request.silent {
        let input = ExecuteInput { code: request.code.clone(), execution_count };
        context.iopub.publish(Some(&asker.header), Publication::ExecuteInput(input));
    }
    if numbering.kept {
        context.history.input(numbering.shell, execution_count, &request.code);
    }
    let io = Arc::new(RequestIo {
        silent: request.silent,
        allow_stdin: request.allow_stdin,
        route_decisions: request.perilune.as_ref().is_some_and(|run| run.route_decisions),
        ..RequestIo::new(context, asker, running)
    });
    let code = request.code;
    let script = request.perilune.as_ref().and_then(|run| run.script.as_ref());
    let cell = Cell {
        code: code.clone(),
        chunk_name: script.map_or_else(|| chunk_name(&numbering), |script| format!("@{script}")),
        keep_locals: numbering.notebook,
        user_expressions: request.user_expressions,
    };

    let outcome = match magics::parse(&cell.code).filter(|_| numbering.notebook) {
        Some(magics) => with_magics(context, workspace, cell, magics, &io, running).await,
        None => workspace.execute(cell, io.clone(), running.token.clone()).await,
    };
    let publish = |publication| {
        if !request.silent {
            context.iopub.publish(Some(&asker.header), publication);
        }
    };
    match outcome {
        Outcome::Ok { result, expressions } => {
            if let Some(text) = result.as_ref().filter(|_| numbering.kept).and_then(Rich::text) {
                context.history.output(numbering.shell, execution_count, text);
            }
            if let Some(Rich { data, metadata }) = result {
                publish(Publication::ExecuteResult(ExecuteResult { execution_count, data, metadata }));
            }
            let user_expressions = convert::expressions(expressions);
            let payload = io.pages();
            Reply::Execute(ExecuteReply { execution_count, payload, user_expressions, ..ExecuteReply::default() })
        }
        Outcome::Exit(0) if numbering.notebook => leave(execution_count),
        Outcome::Exit(code) if numbering.notebook => {
            let message = format!("os.exit({code}) ended the cell; the kernel goes on");
            let failure = Failure { name: "Exit".to_owned(), message, ..Failure::default() };
            publish(Publication::Error(error_output(&failure)));
            let error = ErrorReply { exit_code: Some(code), ..error_reply(&failure, execution_count) };
            Reply::error("execute_request", error)
        }
        Outcome::Exit(code) => {
            let perilune = Some(ExecuteReplyExtension { exit_code: Some(code) });
            Reply::Execute(ExecuteReply { execution_count, perilune, ..ExecuteReply::default() })
        }
        Outcome::Error(mut failure) => {
            if numbering.notebook {
                magics::explain(&mut failure, &code);
            }
            if context.stop.is_cancelled() && failure.kind.as_deref() == Some("interrupted") {
                failure.message = "the kernel was stopped".to_owned();
                failure.kind = Some("kernel_stopped".to_owned());
            }
            publish(Publication::Error(error_output(&failure)));
            failed(&failure, execution_count)
        }
    }
}

/// What errors call a cell.
fn chunk_name(numbering: &Numbering) -> String {
    match numbering {
        Numbering { shell: MAIN, count, .. } => format!("=cell {count}"),
        Numbering { shell, count, .. } => format!("=cell {count} of subshell {shell}"),
    }
}

/// Runs a cell's magics and then its code, if it has any that could run.
async fn with_magics(
    context: &Arc<Context>,
    workspace: &Workspace,
    mut cell: Cell,
    magics: Magics,
    io: &Arc<RequestIo>,
    running: &Guard,
) -> Outcome {
    cell.code = magics.code().to_owned();
    // As of every cell with a syntax error, nothing of this one runs.
    if perilune_bridge::is_complete(&cell.code) == Completeness::Complete {
        let place = Place { context, io, cancel: &running.token };
        if let Err(failure) = magics.run(&place).await {
            return Outcome::Error(failure);
        }
    }
    if cell.code.is_empty() && cell.user_expressions.is_empty() {
        return Outcome::Ok { result: None, expressions: BTreeMap::new() };
    }
    workspace.execute(cell, io.clone(), running.token.clone()).await
}

pub(crate) fn error_output(failure: &Failure) -> ErrorOutput {
    ErrorOutput { ename: failure.name.clone(), evalue: failure.message.clone(), traceback: convert::traceback(failure) }
}

fn failed(failure: &Failure, execution_count: u32) -> Reply {
    Reply::error("execute_request", error_reply(failure, execution_count))
}

fn error_reply(failure: &Failure, execution_count: u32) -> ErrorReply {
    ErrorReply {
        ename: failure.name.clone(),
        evalue: failure.message.clone(),
        traceback: convert::traceback(failure),
        kind: failure.kind.clone(),
        details: Box::new(convert::error_details(failure.details.as_ref().clone())),
        execution_count: Some(execution_count),
        exit_code: None,
    }
}

/// Lets a frontend with a prompt go; the kernel goes on for whoever else uses it.
pub(crate) fn leave(execution_count: u32) -> Reply {
    let perilune = Some(ExecuteReplyExtension { exit_code: Some(0) });
    let payload = vec![convert::ask_exit()];
    Reply::Execute(ExecuteReply { execution_count, payload, perilune, ..ExecuteReply::default() })
}

/// What a running cell prints and asks, on its way to the client that sent it.
pub(crate) struct RequestIo {
    context: Arc<Context>,
    asker: Asker,
    silent: bool,
    allow_stdin: bool,
    /// Whether the client wants to see what is decided about requests to models.
    route_decisions: bool,
    cancel: CancellationToken,
    /// What the frontend's pager is to show, sent with the reply.
    pages: Mutex<Vec<Value>>,
}

impl CellIo for RequestIo {
    fn write(&self, output: Output) -> Result<(), Interrupted> {
        // Who is silent shows nothing; a comm's other side is no spectator.
        if self.silent && !matches!(output, Output::Comm(_)) {
            return Ok(());
        }
        match output {
            Output::Comm(message) => {
                let (publication, attached) = convert::comm_publication(message);
                let written = self.context.iopub.write_with(&self.asker.header, publication, attached, &self.cancel);
                written.map_err(|_| Interrupted)
            }
            Output::Stdout(text) => self.write_text(StreamName::Stdout, text),
            Output::Stderr(text) => self.write_text(StreamName::Stderr, text),
            // The last state of a line that shows progress must not be lost; a cell that is to stop has few of them.
            output @ Output::Display { update: true, .. } if self.cancel.is_cancelled() => {
                if let Some(publication) = convert::publication(output) {
                    self.context.iopub.publish(Some(&self.asker.header), publication);
                }
                Err(Interrupted)
            }
            Output::Page(text) => {
                self.page(text);
                Ok(())
            }
            Output::Route(_) if !self.route_decisions => Ok(()),
            output => match convert::publication(output) {
                Some(publication) => self.publish(publication),
                None => Ok(()),
            },
        }
    }

    fn read_line(&self, prompt: String, password: bool) -> BoxFuture<'static, Result<Option<String>, InputError>> {
        if !self.allow_stdin {
            return async { Err(InputError::NotAllowed) }.boxed();
        }
        let (context, asker, cancel) = (self.context.clone(), self.asker.clone(), self.cancel.clone());
        async move { context.stdin.ask(&context, &asker, InputRequest { prompt, password }, &cancel).await }.boxed()
    }
}

impl RequestIo {
    /// That of a request which shows what it does and takes no input.
    pub(crate) fn new(context: &Arc<Context>, asker: &Asker, running: &Guard) -> RequestIo {
        RequestIo {
            context: context.clone(),
            asker: asker.clone(),
            silent: false,
            allow_stdin: false,
            route_decisions: false,
            cancel: running.token.clone(),
            pages: Mutex::default(),
        }
    }

    /// Shows what the kernel itself has to say, also of a cell that was interrupted.
    pub(crate) async fn show(&self, output: Output) {
        if self.silent || (matches!(output, Output::Route(_)) && !self.route_decisions) {
            return;
        }
        if let Output::Page(text) = output {
            return self.page(text);
        }
        let Some(publication) = convert::publication(output) else { return };
        // A kernel that is ending shows nothing more.
        let _ = self.context.iopub.send(&self.asker.header, publication).await;
    }

    fn page(&self, text: Rich) {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).push(convert::page(text));
    }

    fn pages(&self) -> Vec<Value> {
        mem::take(&mut self.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn write_text(&self, name: StreamName, text: String) -> Result<(), Interrupted> {
        if text.len() <= PIECE_BYTES {
            return if text.is_empty() { Ok(()) } else { self.publish(Publication::Stream(Stream { name, text })) };
        }
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
            self.publish(Publication::Stream(Stream { name, text: piece.to_owned() }))?;
            rest = behind;
        }
        Ok(())
    }

    fn publish(&self, publication: Publication) -> Result<(), Interrupted> {
        self.context.iopub.write(&self.asker.header, publication, &self.cancel).map_err(|_| Interrupted)
    }
}
