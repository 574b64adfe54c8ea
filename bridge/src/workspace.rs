//! The handle to one interpreter thread: starts it, sends it requests and joins it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use perilune_providers::{ModelList, Registry, Tally};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::cell::{Cell, CellIo, Failure, Outcome, Rich};
use crate::comm::CommMessage;
use crate::editor::model_names::ModelNames;
use crate::editor::{Completions, Detail, Inquirer};
use crate::error::Error;
use crate::interpreter;

/// What a workspace starts with.
#[derive(Clone)]
pub struct WorkspaceOptions {
    /// The providers its scripts may ask.
    pub registry: Arc<Registry>,
    /// The model of requests that name none.
    pub model: ChosenModel,
    /// Who its models are asked for: requests of one session share what was computed of prompts that begin alike.
    pub session: String,
    /// Counts what its generations take.
    pub tally: Arc<Tally>,
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

/// The model of requests that name none, or several, which may change while a workspace runs; without one, the
/// registry's default.
#[derive(Clone, Debug, Default)]
pub struct ChosenModel(Arc<Mutex<Option<ModelList>>>);

impl ChosenModel {
    /// Starts with that model.
    pub fn new(model: Option<ModelList>) -> ChosenModel {
        ChosenModel(Arc::new(Mutex::new(model)))
    }

    /// The model, if one was chosen.
    pub fn get(&self) -> Option<ModelList> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Chooses another one.
    pub fn set(&self, model: ModelList) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(model);
    }
}

/// A shell of an isolated Lua state on its own thread, which ends with the last handle. The cells of
/// one shell run one after another, those of different shells side by side, over the same globals.
#[derive(Clone)]
pub struct Workspace {
    interpreter: Arc<Interpreter>,
    models: Arc<ModelNames>,
    shell: u64,
}

struct Interpreter {
    /// The shells there have been, the first one included.
    shells: AtomicU64,
    requests: Option<mpsc::Sender<Request>>,
    /// The thread, and a channel that closes when it ends.
    thread: Mutex<Option<(JoinHandle<()>, std::sync::mpsc::Receiver<Infallible>)>>,
}

/// What the interpreter thread is asked.
pub(crate) enum Request {
    Execute(Execute),
    Complete(Complete),
    Inspect(Inspect),
    /// The open comms, id to target.
    Comms(oneshot::Sender<BTreeMap<String, String>>),
}

/// Run something on a shell.
pub(crate) struct Execute {
    pub(crate) shell: u64,
    pub(crate) task: Task,
    pub(crate) io: Arc<dyn CellIo>,
    pub(crate) cancel: CancellationToken,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

/// What can run.
pub(crate) enum Task {
    Cell(Cell),
    /// Its handler.
    Comm(CommMessage),
}

/// Complete the word at the byte offset `cursor`.
pub(crate) struct Complete {
    pub(crate) code: String,
    pub(crate) cursor: usize,
    /// The model specifiers that are known, if a string is being written.
    pub(crate) models: Vec<String>,
    pub(crate) reply: oneshot::Sender<Completions>,
}

/// Say what is at the byte offset `cursor`.
pub(crate) struct Inspect {
    pub(crate) code: String,
    pub(crate) cursor: usize,
    pub(crate) detail: Detail,
    pub(crate) reply: oneshot::Sender<Option<Rich>>,
}

/// Requests that may wait for the interpreter thread before senders wait too.
pub(crate) const REQUEST_QUEUE: usize = 64;
/// Lua's C functions may nest 200 deep, each with a call into Rust between.
const STACK_BYTES: usize = 8 * 1024 * 1024;
/// How long the last handle waits for the thread: only a C function that computes for long, which
/// no hook reaches, makes it wait at all.
const END_WAIT: Duration = Duration::from_secs(2);

impl Workspace {
    /// Starts the interpreter thread and waits until its globals stand. Call it within a tokio
    /// runtime that has its timers and sockets enabled.
    pub fn start(options: WorkspaceOptions) -> Result<Workspace, Error> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let models = Arc::new(ModelNames::new(Arc::clone(&options.registry)));
        let (requests, received) = mpsc::channel(REQUEST_QUEUE);
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let (running, ended) = std::sync::mpsc::channel::<Infallible>();
        let thread = std::thread::Builder::new()
            .name("lua".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let _running = running;
                interpreter::run(options, runtime, received, &ready);
            })
            .map_err(Error::Thread)?;
        let shells = AtomicU64::new(1);
        let interpreter = Interpreter { shells, requests: Some(requests), thread: Mutex::new(Some((thread, ended))) };
        match started.recv() {
            Ok(Ok(())) => Ok(Workspace { interpreter: Arc::new(interpreter), models, shell: 0 }),
            Ok(Err(problem)) => Err(Error::Startup(problem)),
            Err(_) => Err(Error::Startup("the thread ended at once".to_owned())),
        }
    }

    /// Another shell over the same globals: its cells run while those of this one wait, and take
    /// turns with them while they compute.
    pub fn subshell(&self) -> Workspace {
        let shell = self.interpreter.shells.fetch_add(1, Ordering::Relaxed);
        Workspace { interpreter: Arc::clone(&self.interpreter), models: Arc::clone(&self.models), shell }
    }

    /// Runs a cell once those before it on this shell are done. Cancelling `cancel`, or dropping the future,
    /// interrupts it: its variables stay.
    pub async fn execute(&self, cell: Cell, io: Arc<dyn CellIo>, cancel: CancellationToken) -> Outcome {
        self.run(Task::Cell(cell), io, cancel).await
    }

    /// Has a comm's handler see a message, once what came before on this shell is done; else as
    /// [`Workspace::execute`].
    pub async fn deliver(&self, message: CommMessage, io: Arc<dyn CellIo>, cancel: CancellationToken) -> Outcome {
        self.run(Task::Comm(message), io, cancel).await
    }

    /// The open comms: id to the name of what each reaches on the other side.
    pub async fn comms(&self) -> BTreeMap<String, String> {
        let (reply, comms) = oneshot::channel();
        self.send(Request::Comms(reply)).await;
        comms.await.unwrap_or_default()
    }

    async fn run(&self, task: Task, io: Arc<dyn CellIo>, cancel: CancellationToken) -> Outcome {
        let cancel = cancel.child_token();
        let _interrupt_when_dropped = cancel.clone().drop_guard();
        let (reply, outcome) = oneshot::channel();
        self.send(Request::Execute(Execute { shell: self.shell, task, io, cancel, reply })).await;
        outcome.await.unwrap_or_else(|_| Outcome::Error(gone()))
    }

    /// A handle for an editor's questions, which does not keep the workspace alive.
    pub fn inquirer(&self) -> Inquirer {
        Inquirer::new(self.interpreter.requests.as_ref().map(mpsc::Sender::downgrade), Arc::clone(&self.models))
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
        kind: Some("internal".to_owned()),
        ..Failure::default()
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        self.requests = None;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((thread, ended)) = thread {
            match ended.recv_timeout(END_WAIT) {
                Err(RecvTimeoutError::Timeout) => {
                    tracing::warn!("a workspace is stuck in a C function; its thread is left behind");
                }
                _ => {
                    let _ = thread.join();
                }
            }
        }
    }
}
