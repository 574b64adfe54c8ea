//! The handle to one interpreter thread: starts it, sends it requests and joins it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use perilune_providers::{ModelSpecifier, Registry};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::cell::{Cell, CellIo, Failure, Outcome};
use crate::completion::Completions;
use crate::error::Error;

/// What a workspace starts with.
#[derive(Clone)]
pub struct WorkspaceOptions {
    /// The providers its scripts may ask.
    pub registry: Arc<Registry>,
    /// The model of requests that name none; `None`: the registry's default.
    pub model: Option<ModelSpecifier>,
    /// Makes runs repeatable: the nth generation that names no seed uses `seed + n`, from 0.
    pub seed: Option<u64>,
    /// The script's arguments: `arg[1]` and on, and its `...`.
    pub arguments: Vec<String>,
    /// The script's name: `arg[0]`.
    pub script: Option<String>,
    /// Sources of modules that travelled with the script, by the name `require` is given.
    pub modules: BTreeMap<String, String>,
    /// The folder where `require` looks next.
    pub module_directory: Option<PathBuf>,
}

/// An isolated Lua state on its own thread, which ends with the last handle.
#[derive(Clone)]
pub struct Workspace {
    interpreter: Arc<Interpreter>,
}

struct Interpreter {
    requests: Option<mpsc::Sender<Request>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the interpreter thread is asked.
pub(crate) enum Request {
    /// Run a cell.
    Execute { cell: Cell, io: Arc<dyn CellIo>, cancel: CancellationToken, reply: oneshot::Sender<Outcome> },
    /// Complete the word at `cursor`.
    Complete { code: String, cursor: usize, reply: oneshot::Sender<Completions> },
}

/// Requests that may wait for the interpreter thread before senders wait too.
const REQUEST_QUEUE: usize = 64;

impl Workspace {
    /// Starts the interpreter thread and waits until its globals stand. Call it within a tokio
    /// runtime.
    pub fn start(options: WorkspaceOptions) -> Result<Workspace, Error> {
        let _runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let _ = options;
        let (requests, mut received) = mpsc::channel::<Request>(REQUEST_QUEUE);
        let thread = std::thread::Builder::new()
            .name("lua".to_owned())
            .spawn(move || while received.blocking_recv().is_some() {})
            .map_err(Error::Thread)?;
        Ok(Workspace {
            interpreter: Arc::new(Interpreter { requests: Some(requests), thread: Mutex::new(Some(thread)) }),
        })
    }

    /// Runs a cell once those before it are done. Cancelling `cancel`, or dropping the future,
    /// interrupts it: its variables stay.
    pub async fn execute(&self, cell: Cell, io: Arc<dyn CellIo>, cancel: CancellationToken) -> Outcome {
        let cancel = cancel.child_token();
        let _interrupt_when_dropped = cancel.clone().drop_guard();
        let (reply, outcome) = oneshot::channel();
        let request = Request::Execute { cell, io, cancel, reply };
        self.send(request).await;
        outcome.await.unwrap_or_else(|_| Outcome::Error(gone()))
    }

    /// What could stand at the byte offset `cursor` of `code`. Never runs user code.
    pub async fn complete(&self, code: String, cursor: usize) -> Completions {
        let (reply, completions) = oneshot::channel();
        self.send(Request::Complete { code, cursor, reply }).await;
        completions.await.unwrap_or_default()
    }

    async fn send(&self, request: Request) {
        if let Some(requests) = &self.interpreter.requests {
            // A thread that is gone drops the request, and with it the reply.
            let _ = requests.send(request).await;
        }
    }
}

/// What a cell is told whose interpreter ended.
fn gone() -> Failure {
    Failure {
        name: "LuaError".to_owned(),
        message: "the interpreter of this workspace has ended; start a new workspace".to_owned(),
        traceback: Vec::new(),
        kind: Some("internal".to_owned()),
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        self.requests = None;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}
